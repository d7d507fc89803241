-- Say which agents a worker has, and learn which agents any worker has.
-- KEYS 1 agents (zset, an agent's name by until when a worker is known to have it, in ms)
-- ARGV 1 for how many ms this is good, then the agents of the worker (none: only to learn)
-- Returns {the agents that a worker has}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 2, #ARGV do -- bound: agents
  redis.call('ZADD', KEYS[1], 'GT', string.format('%.0f', now + tonumber(ARGV[1])), ARGV[i])
end
if #ARGV > 1 then
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now) -- bound: agents
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return redis.call('ZRANGEBYSCORE', KEYS[1], now, '+inf') -- bound: agents
