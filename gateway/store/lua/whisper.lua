-- Tell the others something that is not kept: typing.
-- ARGV 8 what the channel carries, 9 the message's type (gateway/protocol/roles.py)
-- Returns {'not_found'}, {'forbidden'} or {'ok'}
local role = role_of(subject)
if not role then
  return {'not_found'}
end
if not may(role, ARGV[9]) then
  return {'forbidden'}
end
redis.pcall('PUBLISH', KEYS[1] .. ':live', ARGV[8])
return {'ok'}
