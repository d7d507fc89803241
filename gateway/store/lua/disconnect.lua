-- A socket of this replica closed: from now on the client is away.
-- key session_key: the session
-- key online_key: of its subject (connect.lua)
-- arg clock_offset_ms (number): of tests, else 0
-- arg session_ttl_ms: how long a session is kept
-- arg generation: in which this replica has it
-- arg session_id: which
-- Returns 1 if that was the subject's last connected device, else 0.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + clock_offset_ms
if redis.call('HGET', session_key, 'generation') ~= generation then
  return 0
end
redis.call('HSET', session_key, 'seen_at', now, 'alive_at', now)
redis.call('HDEL', session_key, 'replica', 'connection') -- whoever resumes replaces nobody
redis.call('PEXPIRE', session_key, session_ttl_ms)
redis.call('ZREM', online_key, session_id)
redis.call('ZREMRANGEBYSCORE', online_key, '-inf', now) -- bound: sessions
return redis.call('ZCARD', online_key) == 0 and 1 or 0
