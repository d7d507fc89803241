-- A page of messages, and the position it is true at.
-- ARGV 10 'before', 'after' or 'newest', 11 the seq, 12 limit
-- Returns {'not_found'} or {'ok', epoch, offset, has_more, {message JSON, …}}
if redis.call('EXISTS', KEYS[1]) == 0 or not role_of(subject) then
  return {'not_found'}
end
local epoch, offset = position()
local total = redis.call('LLEN', KEYS[3])
local limit, seq = tonumber(ARGV[12]), tonumber(ARGV[11])
local first, last, has_more
if ARGV[10] == 'after' then
  first = seq + 1
  last = math.min(total, first + limit - 1)
  has_more = last < total
else
  last = ARGV[10] == 'before' and math.min(total, seq - 1) or total
  first = math.max(1, last - limit + 1)
  has_more = first > 1
end
if last < first then
  return {'ok', epoch, offset, 0, {}}
end
return {'ok', epoch, offset, has_more and 1 or 0, redis.call('LRANGE', KEYS[3], first - 1, last - 1)}
