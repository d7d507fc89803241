-- Note what a run waits for that no worker has begun, or has any more.
-- arg run_id: which
-- arg what: agent (no worker has it) or worker (those that have it are busy)
-- Returns {1 if that is news, else 0}
local key = run_key(run_id)
local run = redis.call('HMGET', key, 'status', 'waits_for')
if not run[1] or TERMINAL[run[1]] or (run[2] or 'worker') == what then
  return {0}
end
if what == 'worker' and run[2] ~= 'agent' then
  return {0} -- a worker has it by now
end
redis.call('HSET', key, 'waits_for', what)
return {1}
