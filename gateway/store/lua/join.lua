-- Become a participant: of an open conversation, or with an invite.
-- KEYS 8 the invite, if any (hash: uses, role, used:<subject>)
-- ARGV 8 subject JSON
-- Returns {'joined'|'member', epoch, offset} or {'not_found'}
if not position() then
  return {'not_found'}
end
if role_of(subject) then
  write_log()
  return {'member', epoch, offset}
end
local role
if KEYS[8] then
  local invite = redis.call('HMGET', KEYS[8], 'uses', 'role')
  if invite[1] and tonumber(invite[1]) > 0 then
    redis.call('HINCRBY', KEYS[8], 'uses', -1)
    role = invite[2]
  end
elseif redis.call('HGET', KEYS[1], 'visibility') == 'open' then
  role = 'member'
end
if not role then
  return {'not_found'}
end
append_joined(subject, ARGV[8], role, now_ms())
write_log()
return {'joined', epoch, offset}
