-- Who and what a conversation is.
-- Returns {'not_found'} or {'ok', epoch, offset, title, created_at, visibility, metadata, role,
--   {subject, role:joined_at ms, …}, active run JSON or false}
local role = role_of(subject)
if not role or not position() then
  return {'not_found'}
end
local state = redis.call('HMGET', KEYS[1], 'title', 'created_at', 'visibility', 'metadata')
return {'ok', epoch, offset, state[1], state[2], state[3], state[4], role,
  redis.call('HGETALL', KEYS[5]), active_run()}
