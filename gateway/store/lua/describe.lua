-- Who and what a conversation is.
-- KEYS 9 invited (lua/members.lua)
-- Returns {'not_found'} or {'ok', epoch, offset, title, created_at, visibility, metadata, role,
--   {subject, role:joined_at ms, …}, active run JSON or false, for owners {subject, who was invited, …},
--   history or false}
local role = role_of(subject)
if not role or not position() then
  return {'not_found'}
end
local state = redis.call('HMGET', KEYS[1], 'title', 'created_at', 'visibility', 'metadata', 'history')
return {'ok', epoch, offset, state[1], state[2], state[3], state[4], role,
  redis.call('HGETALL', KEYS[5]), active_run(), -- bound: members
  may(role, 'add_participant') and redis.call('HGETALL', KEYS[9]) or {}, state[5]} -- bound: members
