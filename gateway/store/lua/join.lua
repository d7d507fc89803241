-- Become a participant: of an open conversation, or with an invite.
-- KEYS 8 invites (lua/invites.lua), 9 banned (set of subjects)
-- ARGV 8 subject JSON, 9 hash of the invite's code, '' for none
-- Returns {'joined'|'member', epoch, offset} or {'not_found'}
if not position() then
  return {'not_found'}
end
if role_of(subject) then
  write_log()
  return {'member', epoch, offset}
end
be_of_this_reign()
if redis.call('SISMEMBER', KEYS[9], subject) == 1 then
  return {'not_found'}
end
local role
if ARGV[9] ~= '' then
  local value = redis.call('HGET', KEYS[8], ARGV[9])
  local invite = value and {ARGV[9], string.match(value, '^(%d+)|(%d+)|(%a+)|(%d+)|(.*)$')}
  if invite and is_good(invite) then
    role = invite[4]
    redis.call('HSET', KEYS[8], ARGV[9], string.format('%s|%.0f|%s|%s|%s', invite[2], invite[3] - 1, role,
      invite[5], invite[6]))
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
