-- Tell the others something that is not kept: typing, presence.
-- ARGV 10 what the channel carries
-- Returns {'not_found'} or {'ok'}
if not role_of(subject) then
  return {'not_found'}
end
redis.call('PUBLISH', channel, ARGV[10])
return {'ok'}
