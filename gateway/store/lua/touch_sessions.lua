-- Vouch for the sessions of one shard whose sockets are open on this replica.
-- KEYS pairs of session and online
-- ARGV 1 clock offset in ms, 2 session_ttl in ms, then threes of generation, session id and how many
--      ms ago the client was last heard
-- Returns now in ms, exactly, then the 1-based numbers of those that are not this replica's any more.
local time = redis.call('TIME')
local exact = time[1] * 1000 + time[2] / 1000 + tonumber(ARGV[1])
local now = math.floor(exact)
local now_text, until_text = string.format('%.0f', now), string.format('%.0f', now + ARGV[2])
local reply = {string.format('%.3f', exact)}
for i = 1, #KEYS / 2 do -- bound: 500 (TOUCHED_AT_ONCE)
  local session, online, at = KEYS[2 * i - 1], KEYS[2 * i], 3 * i
  local state = redis.call('HMGET', session, 'generation', 'revoked')
  if state[1] ~= ARGV[at] or state[2] then
    reply[#reply + 1] = i
  else
    local seen_at = string.format('%.0f', now - ARGV[at + 2])
    redis.call('HSET', session, 'seen_at', seen_at, 'alive_at', now_text)
    redis.call('PEXPIRE', session, ARGV[2])
    redis.call('ZADD', online, until_text, ARGV[at + 1])
    redis.call('PEXPIRE', online, ARGV[2])
  end
end
return reply
