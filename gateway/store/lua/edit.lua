-- Edit or delete a message: its author, or, to delete it, an owner.
-- ARGV 10 message id, 11 message JSON as it was read, 12 message JSON as it is to be ('' to delete),
--      13 '1' if the caller wrote it
-- Compare-and-set on the text, so that two edits never merge.
-- Returns {'ok'}, {'changed'} if it is not what was read, {'forbidden'} or {'not_found'}
local role = role_of(subject)
local known = redis.call('HGET', KEYS[4], ARGV[10])
if not role or not known then
  return {'not_found'}
end
if ARGV[13] ~= '1' and not (ARGV[12] == '' and role == 'owner') then
  return {'forbidden'}
end
local index = tonumber(string.match(known, '^%d+')) - 1
local present = redis.call('LINDEX', KEYS[3], index)
if present == '' and ARGV[12] == '' then
  return {'ok'}
end
if present ~= ARGV[11] then
  return {'changed'}
end
redis.call('LSET', KEYS[3], index, ARGV[12])
if ARGV[12] == '' then
  append('{"type":"MESSAGE_DELETED","messageId":"' .. ARGV[10] .. '"}')
else
  append('{"type":"MESSAGE_UPDATED","message":' .. ARGV[12] .. '}')
end
return {'ok'}
