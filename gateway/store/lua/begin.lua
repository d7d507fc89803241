-- Begin an attempt at a claimed run: from here on only its owner may append.
-- ARGV 10 run id, 11 owner, 12 lease in ms
-- Returns {'gone'} if it has ended, or {'begun', attempt, agent, message_id, input, text so far,
--   deadline ms, {open tool call ids}, now ms}
local run_id = ARGV[10]
local key = run_key(run_id)
local run = redis.call('HMGET', key, 'status', 'agent', 'message_id', 'input', 'timeout', 'deadline')
if not run[1] or TERMINAL[run[1]] then
  redis.call('ZREM', KEYS[9], queue_name(run_id))
  return {'gone'}
end
local now = now_ms()
local deadline = run[6] or (now + tonumber(run[5]))
local attempt = redis.call('HINCRBY', key, 'attempt', 1)
redis.call('HSET', key, 'status', 'running', 'owner', ARGV[11], 'batch', 0, 'deadline', deadline)
redis.call('ZADD', KEYS[9], now + tonumber(ARGV[12]), queue_name(run_id))
if attempt == 1 then
  redis.call('HSET', key, 'started', 1)
  append('{"type":"RUN_STARTED","threadId":"' .. conversation_id .. '","runId":"' .. run_id .. '"}')
end
return {'begun', attempt, run[2], run[3], run[4], redis.call('GET', key .. ':text'), deadline,
  redis.call('HKEYS', key .. ':tools'), now}
