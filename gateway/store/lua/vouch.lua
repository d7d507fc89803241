-- Say which agents a worker has, and learn which agents any worker has.
-- key agents_key: zset, an agent's name by until when a worker is known to have it, in ms
-- arg good_ms (number): for how long this is good
-- args agents: of the worker (none: only to learn)
-- Returns {the agents that a worker has}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = agents_at, #ARGV do -- bound: agents
  redis.call('ZADD', agents_key, 'GT', string.format('%.0f', now + good_ms), ARGV[i])
end
if #ARGV >= agents_at then
  redis.call('ZREMRANGEBYSCORE', agents_key, '-inf', now) -- bound: agents
  redis.call('PEXPIRE', agents_key, good_ms)
end
return redis.call('ZRANGEBYSCORE', agents_key, now, '+inf') -- bound: agents
