-- A page of messages, and the position it is true at. Deleted ones are passed over: a page is short
-- or empty only where the conversation ends.
-- ARGV 8 'before', 'after' or 'newest', 9 the seq, 10 limit
-- Returns {'not_found'} or {'ok', epoch, offset, has_more, {message JSON, …}}, the oldest first
if not position() or not role_of(subject) then
  return {'not_found'}
end
local total = redis.call('LLEN', KEYS[3])
local limit, seq, forward = tonumber(ARGV[10]), tonumber(ARGV[9]), ARGV[8] == 'after'
local at = total
if forward then
  at = seq + 1
elseif ARGV[8] == 'before' then
  at = math.min(total, seq - 1)
end

local found = {}
while #found < limit and at >= 1 and at <= total do
  local first, last = at, math.min(total, at + limit - 1)
  if not forward then
    first, last = math.max(1, at - limit + 1), at
  end
  local some = redis.call('LRANGE', KEYS[3], first - 1, last - 1)
  for i = 1, #some do
    local index = forward and i or #some + 1 - i
    at = forward and first + index or first + index - 2
    if some[index] ~= '' then
      found[#found + 1] = some[index]
      if #found == limit then
        break
      end
    end
  end
end
local has_more = at >= 1 and at <= total and 1 or 0
if not forward then
  for i = 1, math.floor(#found / 2) do
    found[i], found[#found + 1 - i] = found[#found + 1 - i], found[i]
  end
end
return {'ok', epoch, offset, has_more, found}
