-- Note what a run waits for that no worker has begun, or has any more.
-- ARGV 8 run id, 9 what: agent (no worker has it) or worker (those that have it are busy)
-- Returns {1 if that is news, else 0}
local key = run_key(ARGV[8])
local run = redis.call('HMGET', key, 'status', 'waits_for')
if not run[1] or TERMINAL[run[1]] or (run[2] or 'worker') == ARGV[9] then
  return {0}
end
if ARGV[9] == 'worker' and run[2] ~= 'agent' then
  return {0} -- a worker has it by now
end
redis.call('HSET', key, 'waits_for', ARGV[9])
return {1}
