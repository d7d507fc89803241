-- One message by its id, if the caller sees it. Comes after seen.lua.
-- ARGV 8 message id
-- Returns {'not_found'} or {'ok', message JSON ('' if deleted)}
local known = redis.call('HGET', KEYS[4], ARGV[8])
if not role_of(subject) or not known then
  return {'not_found'}
end
local number = tonumber(string.match(known, '^%d+'))
if number < first_visible(subject) then
  return {'not_found'}
end
return {'ok', redis.call('LINDEX', KEYS[3], number - 1)}
