-- Tell the readers of a run that its worker has gone silent; once, until it is heard of again.
-- ARGV 8 run id, 9 a worker whose lease ends sooner than in so many ms has gone silent, 10 pause after
--      the first death of a worker in ms, 11 what is to be added until another has the run, in ms
-- Returns {1 if they were told, else 0}
local key = run_key(ARGV[8])
local run = redis.call('HMGET', key, 'status', 'waits_for', 'deaths', 'owner')
local lease = redis.call('ZSCORE', KEYS[9], queue_name(ARGV[8]))
local left = lease and tonumber(lease) - now_ms()
if run[1] ~= 'running' or run[2] == 'takeover' or not lease or left > tonumber(ARGV[9]) then
  return {0}
end
local pause = run[4] and tonumber(ARGV[10]) * 4 ^ tonumber(run[3] or '0') or 0
local within = math.ceil((math.max(left, 0) + pause + tonumber(ARGV[11])) / 1000)
be_of_this_reign()
redis.call('HSET', key, 'waits_for', 'takeover')
append('{"type":"CUSTOM","name":"run_interrupted","value":{"runId":"' .. ARGV[8] ..
  '","resumesWithin_s":' .. string.format('%d', within) .. '}}')
write_log()
return {1}
