-- What a list of conversations says of one: to who takes part, or was invited to.
-- key invited_key: hash (members.lua)
-- Returns {'not_found'}, {'ok', epoch, offset, title, created_at, visibility, metadata, role} or, to
--   the invited, {'invited', title, created_at, visibility, role, who invited}
local role = role_of(subject)
if not position() then
  return {'not_found'}
end
if role then
  local state = redis.call('HMGET', conversation_key, 'title', 'created_at', 'visibility', 'metadata')
  return {'ok', epoch, offset, state[1], state[2], state[3], state[4], role}
end
local invited = redis.call('HGET', invited_key, subject)
if not invited then
  return {'not_found'}
end
local state = redis.call('HMGET', conversation_key, 'title', 'created_at', 'visibility')
local offered, by = string.match(invited, '^(%a+):%d+:(.*)$')
return {'invited', state[1], state[2], state[3], offered, by}
