-- End a run by the attempt that owns it.
-- arg run_id: which
-- arg owner: of the attempt
-- arg status: terminal
-- arg event: terminal, JSON
-- arg message_status: of its message
-- arg kept (number): how many context versions
-- arg batch: number of the attempt's last
-- arg max_bytes (number): of the questions of the conversation
-- args questions: interrupt id, until when it can be answered in ms, "<its id for the agent>|<interrupt JSON>"
-- Returns 'ok', also if this attempt had ended it before and the reply was lost, or 'lost', also if
--      Redis lost a batch (a failover), or {'too_much', bytes of the questions that others wait for}: nothing
--      was done, there is no room for what it asks.
local key = run_key(run_id)
if redis.call('HGET', key, 'ended_by') == owner then
  write_log()
  return 'ok'
end
if not is_owner(run_id, owner) or redis.call('HGET', key, 'batch') ~= batch then
  return 'lost'
end
local asked = 0
for i = questions_at, #ARGV, questions_each do -- bound: run
  asked = asked + #ARGV[i + 2]
end
if asked > 0 then
  local waiting = make_room(max_bytes - asked)
  if waiting + asked > max_bytes then
    return {'too_much', waiting}
  end
end
be_of_this_reign()
redis.call('HSET', key, 'ended_by', owner)
local agent = redis.call('HGET', key, 'agent')
end_run(run_id, status, event, message_status, kept)
for i = questions_at, #ARGV, questions_each do -- bound: run
  redis.call('HSET', interrupts_key, run_id .. '|' .. ARGV[i],
    ARGV[i + 1] .. '|' .. run_id .. '|' .. agent .. '|' .. ARGV[i + 2])
  local kept_ms = math.max(0, ARGV[i + 1] - now_ms()) + RUN_KEPT_MS -- then a late answer is told so
  redis.call('PEXPIRE', interrupts_key, math.max(redis.call('PTTL', interrupts_key), kept_ms))
end
write_log()
return 'ok'
