-- Tell the others something that is not kept: typing.
-- arg payload: what the channel carries
-- arg what: the message's type (gateway/protocol/roles.py)
-- Returns {'not_found'}, {'forbidden'} or {'ok'}
local role = role_of(subject)
if not role then
  return {'not_found'}
end
if not may(role, what) then
  return {'forbidden'}
end
redis.pcall('PUBLISH', conversation_key .. ':live', payload)
return {'ok'}
