-- Revoke an invite, whoever made it.
-- arg code_hash: of its code
-- Returns {'not_found'}, {'forbidden'} or {'ok', 0|1 whether there was one}
local role = role_of(subject)
if not role or not position() then
  return {'not_found'}
end
if not may(role, 'revoke_invite') then
  return {'forbidden'}
end
local was_there = redis.call('HDEL', invites_key, code_hash)
if was_there == 0 then
  write_log()
end
return {'ok', was_there}
