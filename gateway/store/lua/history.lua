-- A page of messages, and the position it is true at. Deleted ones are passed over. Comes after
-- seen.lua and pages.lua.
-- arg way: 'before', 'after' or 'newest'
-- arg from_seq (number): before or after which
-- arg limit (number): how many, at most
-- arg max_bytes (number): of a page, which has one message at least
-- Returns {'not_found'} or {'ok', epoch, offset, the seq from which to go on (as from_seq), false if there is no
--   more, {{message JSON, …}, …}}, the oldest first
if not position() or not role_of(subject) then
  return {'not_found'}
end
local forward = way == 'after'
local step = forward and 1 or -1
local least = first_visible(subject)
local at = forward and math.max(from_seq + 1, least) or way == 'before' and from_seq - 1 or math.huge
local found, stopped_at, has_more = messages_from(at, step, limit, max_bytes, least)
return {'ok', epoch, offset, has_more and stopped_at - step, found}
