-- Tell the readers of a run that its worker has gone silent; once, until it is heard of again.
-- arg run_id: which
-- arg silent_ms (number): a worker whose lease ends sooner has gone silent
-- arg pause_ms (number): after the first death of a worker
-- arg notice_ms (number): what is to be added until another has the run
-- Returns {1 if they were told, else 0}
local key = run_key(run_id)
local run = redis.call('HMGET', key, 'status', 'waits_for', 'deaths', 'owner')
local lease = redis.call('ZSCORE', leased_key, queue_name(run_id))
local left = lease and tonumber(lease) - now_ms()
if run[1] ~= 'running' or run[2] == 'takeover' or not lease or left > silent_ms then
  return {0}
end
local pause = run[4] and pause_ms * 4 ^ tonumber(run[3] or '0') or 0
local within = math.ceil((math.max(left, 0) + pause + notice_ms) / 1000)
be_of_this_reign()
redis.call('HSET', key, 'waits_for', 'takeover')
append('{"type":"CUSTOM","name":"run_interrupted","value":{"runId":"' .. run_id ..
  '","resumesWithin_s":' .. string.format('%d', within) .. '}}')
write_log()
return {1}
