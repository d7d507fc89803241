-- Which sockets hold a subject's sessions, as far as is known: the newest 100 at most.
-- KEYS 1 online (connect.lua), 2 a key that never is (keys.py, absent): those of sessions are made here
-- ARGV 1 clock offset in ms, 2 how the key of a session begins
-- Returns {replica, connection, …}
local MOST = 100
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[1]))
local found = {}
for _, id in ipairs(redis.call('ZREVRANGEBYSCORE', KEYS[1], '+inf', now, 'LIMIT', 0, MOST)) do -- bound: 100 (MOST)
  local holder = redis.call('HMGET', ARGV[2] .. id, 'replica', 'connection')
  if holder[1] and holder[2] then
    found[#found + 1] = holder[1]
    found[#found + 1] = holder[2]
  end
end
return found
