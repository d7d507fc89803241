-- A socket of this replica closed: from now on the client is away.
-- KEYS 1 session, 2 online
-- ARGV 1 clock offset in ms, 2 session_ttl in ms, 3 generation, 4 session id
-- Returns 1 if that was the subject's last connected device, else 0.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[1])
if redis.call('HGET', KEYS[1], 'generation') ~= ARGV[3] then
  return 0
end
redis.call('HSET', KEYS[1], 'seen_at', now, 'alive_at', now)
redis.call('HDEL', KEYS[1], 'replica', 'connection') -- whoever resumes replaces nobody
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('ZREM', KEYS[2], ARGV[4])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now) -- bound: sessions
return redis.call('ZCARD', KEYS[2]) == 0 and 1 or 0
