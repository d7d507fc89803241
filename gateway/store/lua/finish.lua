-- End a run by the attempt that owns it.
-- ARGV 8 run id, 9 owner, 10 status, 11 terminal event JSON, 12 status of its message,
--      13 how many context versions are kept, 14 number of the attempt's last batch, 15 how many bytes the
--      questions of the conversation may have, then threes of interrupt id, until when it can be answered
--      in ms, "<its id for the agent>|<interrupt JSON>"
-- Returns 'ok', also if this attempt had ended it before and the reply was lost, or 'lost', also if
--      Redis lost a batch (a failover), or {'too_much', bytes of the questions that others wait for}: nothing
--      was done, there is no room for what it asks.
local run_id, owner = ARGV[8], ARGV[9]
local key = run_key(run_id)
if redis.call('HGET', key, 'ended_by') == owner then
  write_log()
  return 'ok'
end
if not is_owner(run_id, owner) or redis.call('HGET', key, 'batch') ~= ARGV[14] then
  return 'lost'
end
local asked = 0
for i = 16, #ARGV, 3 do -- bound: run
  asked = asked + #ARGV[i + 2]
end
if asked > 0 then
  local waiting = make_room(ARGV[15] - asked)
  if waiting + asked > tonumber(ARGV[15]) then
    return {'too_much', waiting}
  end
end
be_of_this_reign()
redis.call('HSET', key, 'ended_by', owner)
local agent = redis.call('HGET', key, 'agent')
end_run(run_id, ARGV[10], ARGV[11], ARGV[12], tonumber(ARGV[13]))
for i = 16, #ARGV, 3 do -- bound: run
  redis.call('HSET', KEYS[12], run_id .. '|' .. ARGV[i],
    ARGV[i + 1] .. '|' .. run_id .. '|' .. agent .. '|' .. ARGV[i + 2])
  local kept_ms = math.max(0, ARGV[i + 1] - now_ms()) + RUN_KEPT_MS -- then a late answer is told so
  redis.call('PEXPIRE', KEYS[12], math.max(redis.call('PTTL', KEYS[12]), kept_ms))
end
write_log()
return 'ok'
