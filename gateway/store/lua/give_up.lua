-- End a run that no worker will take, unless one has it now.
-- ARGV 8 run id, 9 terminal event JSON, 10 how many context versions are kept
-- Returns {1 if it was ended, else 0}
local status = redis.call('HGET', run_key(ARGV[8]), 'status')
local lease = redis.call('ZSCORE', KEYS[9], queue_name(ARGV[8]))
if not status or TERMINAL[status] or (lease and tonumber(lease) > now_ms()) then
  return {0}
end
end_run(ARGV[8], 'failed', ARGV[9], 'failed', tonumber(ARGV[10]))
write_log()
return {1}
