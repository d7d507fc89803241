-- Edit or delete a message: its author, as long as they may write, or, to delete it, an owner.
-- ARGV 8 message id, 9 message JSON as it was read, 10 message JSON as it is to be ('' to delete),
--      11 '1' if the caller wrote it
-- Compare-and-set on the text, so that two edits never merge.
-- Returns {'ok'}, {'changed'} if it is not what was read, {'forbidden'} or {'not_found'}
local role = role_of(subject)
local known = redis.call('HGET', KEYS[4], ARGV[8])
if not role or not known then
  return {'not_found'}
end
local is_author = ARGV[11] == '1'
local what = ARGV[10] ~= '' and 'edit_message' or is_author and 'delete_message' or
  'delete_message_of_others'
if not may(role, what) or (what == 'edit_message' and not is_author) then
  return {'forbidden'}
end
local index = tonumber(string.match(known, '^%d+')) - 1
local present = redis.call('LINDEX', KEYS[3], index)
if present == '' and ARGV[10] == '' then
  write_log()
  return {'ok'}
end
if present ~= ARGV[9] then
  return {'changed'}
end
be_of_this_reign()
redis.call('LSET', KEYS[3], index, ARGV[10])
if ARGV[10] == '' then
  append('{"type":"MESSAGE_DELETED","messageId":"' .. ARGV[8] .. '"}')
else
  append('{"type":"MESSAGE_UPDATED","message":' .. ARGV[10] .. '}')
end
write_log()
return {'ok'}
