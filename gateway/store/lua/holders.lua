-- Which sockets hold a subject's sessions, as far as is known: the newest 100 at most.
-- key online_key: of the subject (connect.lua)
-- key absent_key: one that never is (keys.py, absent): those of sessions are made here
-- arg clock_offset_ms (number): of tests, else 0
-- arg session_head: how the key of a session begins
-- Returns {replica, connection, …}
local MOST = 100
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + clock_offset_ms)
local found = {}
for _, id in ipairs(redis.call('ZREVRANGEBYSCORE', online_key, '+inf', now, 'LIMIT', 0, MOST)) do -- bound: 100 (MOST)
  local holder = redis.call('HMGET', session_head .. id, 'replica', 'connection')
  if holder[1] and holder[2] then
    found[#found + 1] = holder[1]
    found[#found + 1] = holder[2]
  end
end
return found
