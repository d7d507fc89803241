-- Tell the others something that is not kept: typing.
-- ARGV 8 what the channel carries
-- Returns {'not_found'} or {'ok'}
if not role_of(subject) then
  return {'not_found'}
end
redis.pcall('PUBLISH', KEYS[1] .. ':live', ARGV[8])
return {'ok'}
