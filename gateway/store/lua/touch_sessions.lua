-- Vouch for the sessions of one shard whose sockets are open on this replica.
-- keys of_sessions: session, online
-- arg clock_offset_ms (number): of tests, else 0
-- arg session_ttl_ms: how long a session is kept
-- args touched: generation, session id, how many ms ago the client was last heard
-- Returns now in ms, exactly, then the 1-based numbers of those that are not this replica's any more.
local time = redis.call('TIME')
local exact = time[1] * 1000 + time[2] / 1000 + clock_offset_ms
local now = math.floor(exact)
local now_text, until_text = string.format('%.0f', now), string.format('%.0f', now + session_ttl_ms)
local reply = {string.format('%.3f', exact)}
for i = 1, #KEYS / 2 do -- bound: 500 (TOUCHED_AT_ONCE)
  local session, online, at = KEYS[2 * i - 1], KEYS[2 * i], touched_at + touched_each * (i - 1)
  local state = redis.call('HMGET', session, 'generation', 'revoked')
  if state[1] ~= ARGV[at] or state[2] then
    reply[#reply + 1] = i
  else
    local seen_at = string.format('%.0f', now - ARGV[at + 2])
    redis.call('HSET', session, 'seen_at', seen_at, 'alive_at', now_text)
    redis.call('PEXPIRE', session, session_ttl_ms)
    redis.call('ZADD', online, until_text, ARGV[at + 1])
    redis.call('PEXPIRE', online, session_ttl_ms)
  end
end
return reply
