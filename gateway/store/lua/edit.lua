-- Edit or delete a message: its author, or, to delete it, an owner.
-- ARGV 9 message id, 10 message JSON as it was read, 11 message JSON as it is to be ('' to delete),
--      12 '1' if the caller wrote it
-- Compare-and-set on the text, so that two edits never merge.
-- Returns {'ok'}, {'changed'} if it is not what was read, {'forbidden'} or {'not_found'}
local role = role_of(subject)
local known = redis.call('HGET', KEYS[4], ARGV[9])
if not role or not known then
  return {'not_found'}
end
if ARGV[12] ~= '1' and not (ARGV[11] == '' and role == 'owner') then
  return {'forbidden'}
end
local index = tonumber(string.match(known, '^%d+')) - 1
local present = redis.call('LINDEX', KEYS[3], index)
if present == '' and ARGV[11] == '' then
  return {'ok'}
end
if present ~= ARGV[10] then
  return {'changed'}
end
redis.call('LSET', KEYS[3], index, ARGV[11])
if ARGV[11] == '' then
  append('{"type":"MESSAGE_DELETED","messageId":"' .. ARGV[9] .. '"}')
else
  append('{"type":"MESSAGE_UPDATED","message":' .. ARGV[11] .. '}')
end
write_log()
return {'ok'}
