-- Change a session, if the caller still holds it.
-- key session_key: the session
-- arg generation: in which the caller holds it
-- arg what: 'confirm' (the client uses the new token: the one before it is dead), 'attach' (pairs of
--   conversation and position), 'ack' (the same, for attached ones only) or 'detach' (conversations)
-- args words: of these
-- Returns 1, or 0 if the session was taken over, revoked, or is gone
local state = redis.call('HMGET', session_key, 'generation', 'revoked')
if state[1] ~= generation or state[2] then
  return 0
end
if what == 'confirm' then
  redis.call('HDEL', session_key, 'prev')
elseif what == 'detach' then
  for i = words_at, #ARGV do -- bound: 1000 (cursors)
    redis.call('HDEL', session_key, 'c:' .. ARGV[i])
  end
else
  for i = words_at, #ARGV, 2 do -- bound: 1000 (cursors)
    local field = 'c:' .. ARGV[i]
    if what == 'attach' or redis.call('HEXISTS', session_key, field) == 1 then
      redis.call('HSET', session_key, field, ARGV[i + 1])
    end
  end
end
return 1
