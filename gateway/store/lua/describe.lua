-- Who and what a conversation is.
-- key invited_key: hash (members.lua)
-- Returns {'not_found'} or {'ok', epoch, offset, title, created_at, visibility, metadata, role,
--   {subject, role:joined_at ms, …}, active run JSON or false, for owners {subject, who was invited, …},
--   history or false}
local role = role_of(subject)
if not role or not position() then
  return {'not_found'}
end
local state = redis.call('HMGET', conversation_key, 'title', 'created_at', 'visibility', 'metadata', 'history')
return {'ok', epoch, offset, state[1], state[2], state[3], state[4], role,
  redis.call('HGETALL', members_key), active_run(), -- bound: members
  may(role, 'add_participant') and redis.call('HGETALL', invited_key) or {}, state[5]} -- bound: members
