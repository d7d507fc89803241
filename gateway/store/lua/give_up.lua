-- End a run that no worker will take, unless one has it now.
-- arg run_id: which
-- arg event: terminal, JSON
-- arg kept (number): how many context versions
-- Returns {1 if it was ended, else 0}
local status = redis.call('HGET', run_key(run_id), 'status')
local lease = redis.call('ZSCORE', leased_key, queue_name(run_id))
if not status or TERMINAL[status] or (lease and tonumber(lease) > now_ms()) then
  return {0}
end
end_run(run_id, 'failed', event, 'failed', kept)
write_log()
return {1}
