-- Edit or delete a message: its author, as long as they may write, or, to delete it, an owner. What it
-- said goes out of the log as well. Comes after seen.lua, deleted.lua, blanking.lua.
-- arg message_id: which
-- arg before: message JSON as it was read
-- arg after: message JSON as it is to be, '' to delete
-- arg is_author (flag): the caller wrote it
-- Compare-and-set on the text, so that two edits never merge.
-- Returns {'ok', 1 if there is more to take out of the log (blank.lua)}, {'changed'} if it is not what was read, {'forbidden'} or {'not_found'}
local role = role_of(subject)
local known = redis.call('HGET', ids_key, message_id)
if not role or not known then
  return {'not_found'}
end
local what = after ~= '' and 'edit_message' or is_author and 'delete_message' or
  'delete_message_of_others'
if not may(role, what) or (what == 'edit_message' and not is_author) then
  return {'forbidden'}
end
local parts = parts_of(known)
local number = tonumber(parts[1])
position()
if number < first_visible(subject) then
  return {'not_found'}
end
local present, now = redis.call('LINDEX', history_key, number - 1), after
if present == '' and now == '' then
  write_log()
  return {'ok', parts[6] ~= '' and 1 or 0}
end
if present ~= before then
  return {'changed'}
end
be_of_this_reign()
redis.call('LSET', history_key, number - 1, now)
local is_deleted = now == ''
local event = is_deleted and deleted_event(message_id) or updated_event(now)
local first, last = text_range(message_id, parts, present)
blank_created(message_id, tonumber(parts[2]), is_deleted and event or now)
local rest = sweep(message_id, first, last, '')
local _, at = append(event)
if is_deleted then
  local _, note = deleted_runs()
  note(number, number)
  keep_range(message_id, parts, rest, last)
else
  keep_range(message_id, parts, rest or at, at)
end
write_log()
return {'ok', rest and 1 or 0}
