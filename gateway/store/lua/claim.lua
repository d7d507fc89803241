-- Take a run that nobody works on: one whose lease has ended, else the next that is ready.
-- KEYS 1 ready, 2 leased
-- ARGV 1 clock offset in ms, 2 lease in ms
-- Returns {the run's name ("<tenant>:<conversation>:<run>"), when the lease ends in ms}, or false if
-- there is none. Nothing has begun yet: begin.lua does that, and only while this lease is the newest;
-- if the claimer dies before, the lease ends.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[1])
local name = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 1)[1]
  or redis.call('LPOP', KEYS[1])
if not name then
  return false
end
local until_ms = string.format('%.0f', now + tonumber(ARGV[2]))
redis.call('ZADD', KEYS[2], until_ms, name)
return {name, until_ms}
