-- One message by its id, if the caller sees it. Comes after seen.lua.
-- arg message_id: which
-- Returns {'not_found'} or {'ok', message JSON ('' if deleted)}
local known = redis.call('HGET', ids_key, message_id)
if not role_of(subject) or not known then
  return {'not_found'}
end
local number = tonumber(string.match(known, '^%d+'))
if number < first_visible(subject) then
  return {'not_found'}
end
return {'ok', redis.call('LINDEX', history_key, number - 1)}
