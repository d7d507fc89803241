-- Go on taking the text of a message that was edited or deleted out of the log. Comes after blanking.lua.
-- arg message_id: which
-- Returns {'not_found'} or {'ok', 1 if there is still more}
local known = redis.call('HGET', ids_key, message_id)
if not known or not position() then
  return {'not_found'}
end
local parts = parts_of(known)
local first, last = string.match(parts[6], '^(%d+)-(%d+)$')
local present = redis.call('LINDEX', history_key, tonumber(parts[1]) - 1)
if not first or (present ~= '' and first == last) then
  return {'ok', 0}
end
local is_deleted = present == ''
local rest = sweep(message_id, tonumber(first), tonumber(last), is_deleted and '' or updated_event(present))
keep_range(message_id, parts, rest or (not is_deleted and last) or nil, last)
return {'ok', rest and 1 or 0}
