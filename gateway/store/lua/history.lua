-- A page of messages, and the position it is true at. Deleted ones are passed over. Comes after
-- seen.lua and pages.lua.
-- KEYS 8 deleted (deleted.lua)
-- ARGV 8 'before', 'after' or 'newest', 9 the seq, 10 limit, 11 bytes of a page, at most; it has one
--      message at least
-- Returns {'not_found'} or {'ok', epoch, offset, the seq from which to go on (as 9), false if there is no
--   more, {{message JSON, …}, …}}, the oldest first
if not position() or not role_of(subject) then
  return {'not_found'}
end
local limit, number, forward = tonumber(ARGV[10]), tonumber(ARGV[9]), ARGV[8] == 'after'
local step = forward and 1 or -1
local least = first_visible(subject)
local at = forward and math.max(number + 1, least) or ARGV[8] == 'before' and number - 1 or math.huge
local found, stopped_at, has_more = messages_from(KEYS[8], at, step, limit, tonumber(ARGV[11]), least)
return {'ok', epoch, offset, has_more and stopped_at - step, found}
