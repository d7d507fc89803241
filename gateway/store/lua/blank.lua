-- Go on taking the text of a message that was edited or deleted out of the log. Comes after blanking.lua.
-- ARGV 8 message id
-- Returns {'not_found'} or {'ok', 1 if there is still more}
local known = redis.call('HGET', KEYS[4], ARGV[8])
if not known or not position() then
  return {'not_found'}
end
local parts = parts_of(known)
local first, last = string.match(parts[6], '^(%d+)-(%d+)$')
local present = redis.call('LINDEX', KEYS[3], tonumber(parts[1]) - 1)
if not first or (present ~= '' and first == last) then
  return {'ok', 0}
end
local is_deleted = present == ''
local rest = sweep(ARGV[8], tonumber(first), tonumber(last), is_deleted and '' or updated_event(present))
keep_range(ARGV[8], parts, rest or (not is_deleted and last) or nil, last)
return {'ok', rest and 1 or 0}
