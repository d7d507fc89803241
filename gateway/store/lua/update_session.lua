-- Change a session, if the caller still holds it.
-- KEYS 1 session
-- ARGV 1 generation, 2 'confirm' (the client uses the new token: the one before it is dead),
--      'attach' (pairs of conversation and position), 'ack' (the same, for attached ones only) or
--      'detach' (conversations), 3… its arguments
-- Returns 1, or 0 if the session was taken over, revoked, or is gone
local state = redis.call('HMGET', KEYS[1], 'generation', 'revoked')
if state[1] ~= ARGV[1] or state[2] then
  return 0
end
if ARGV[2] == 'confirm' then
  redis.call('HDEL', KEYS[1], 'prev')
elseif ARGV[2] == 'detach' then
  for i = 3, #ARGV do -- bound: 1000 (cursors)
    redis.call('HDEL', KEYS[1], 'c:' .. ARGV[i])
  end
else
  for i = 3, #ARGV, 2 do -- bound: 1000 (cursors)
    local field = 'c:' .. ARGV[i]
    if ARGV[2] == 'attach' or redis.call('HEXISTS', KEYS[1], field) == 1 then
      redis.call('HSET', KEYS[1], field, ARGV[i + 1])
    end
  end
end
return 1
