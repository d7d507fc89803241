-- End a run by the attempt that owns it.
-- ARGV 10 run id, 11 owner, 12 status, 13 terminal event JSON, 14 status of its message,
--      15 how many context versions are kept, 16 for how long its interrupts can be answered, in ms,
--      then pairs of interrupt id and interrupt JSON
-- Returns 'ok', also if this attempt had ended it before and the reply was lost, or 'lost'.
local run_id, owner = ARGV[10], ARGV[11]
local key = run_key(run_id)
if redis.call('HGET', key, 'ended_by') == owner then
  return 'ok'
end
if not is_owner(run_id, owner) then
  return 'lost'
end
redis.call('HSET', key, 'ended_by', owner)
local agent = redis.call('HGET', key, 'agent')
end_run(run_id, ARGV[12], ARGV[13], ARGV[14], tonumber(ARGV[15]))
if #ARGV > 16 then
  local deadline = now_ms() + tonumber(ARGV[16])
  for i = 17, #ARGV, 2 do
    redis.call('HSET', KEYS[12], ARGV[i],
      string.format('%.0f', deadline) .. '|' .. run_id .. '|' .. agent .. '|' .. ARGV[i + 1])
  end
  redis.call('PEXPIRE', KEYS[12], math.max(redis.call('PTTL', KEYS[12]), tonumber(ARGV[16])))
end
return 'ok'
