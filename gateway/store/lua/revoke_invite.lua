-- Revoke an invite, whoever made it.
-- KEYS 8 invites (lua/invites.lua)
-- ARGV 8 hash of the code
-- Returns {'not_found'}, {'forbidden'} or {'ok', 0|1 whether there was one}
local role = role_of(subject)
if not role or not position() then
  return {'not_found'}
end
if not may(role, 'revoke_invite') then
  return {'forbidden'}
end
local was_there = redis.call('HDEL', KEYS[8], ARGV[8])
if was_there == 0 then
  write_log()
end
return {'ok', was_there}
