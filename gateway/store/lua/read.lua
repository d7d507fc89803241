-- Where readers of one conversation stand, and what they lack, at one position of the log.
-- ARGV 8 and 9 the epoch and offset of the cursor that lies lowest ('' for none), 10 the offset of
--      the one that lies highest, all of that epoch; 11 how many events to return at most, 12 how
--      many messages a snapshot holds, 13 '1' if nobody lacks events (a snapshot they may), then the
--      readers' subjects, each once
-- Of large events fewer are returned: about MOST_BYTES of them, and one at least.
-- Returns {'not_found'}, or {epoch, offset, {1 or 0 for each subject: takes part}, offset before the
--   first event, {event JSON, …}, snapshot or false, epochs}, the events those after the lowest cursor
--   that the log reaches back to. `epochs` are those that ended, from the cursors' own on, as
--   prelude.lua writes them; '' if theirs is the present one. A snapshot is for cursors of an epoch
--   that is not known, beyond its end, or before the events: {seq, {message JSON, …}, {version, memory,
--   workflow, tool_calls}, active run JSON or false, {its name, interrupt, …}}
local MOST_BYTES, FEW, MANY = 262144, 8, 64

-- The entries from the `back`th from the end on, at most `most`: read a few, then as many at once as
-- the bytes of those before suggest. A log of large events would else make a page of 16 MB.
local function entries(back, most)
  local some, bytes, count = {}, 0, FEW
  while #some < most and bytes < MOST_BYTES do
    local from = #some - back
    local found = redis.call('LRANGE', KEYS[2], from, math.min(-1, from + math.min(count, most - #some) - 1))
    for _, entry in ipairs(found) do
      if bytes >= MOST_BYTES then
        break
      end
      bytes = bytes + #entry
      some[#some + 1] = entry
    end
    if #some >= back or #found == 0 then
      break
    end
    count = math.max(1, math.min(MANY, math.floor((MOST_BYTES - bytes) * #some / (bytes + 1))))
  end
  return some
end

if not position() then
  return {'not_found'}
end
local takes_part, somebody = {}, false
if #ARGV == 14 then
  somebody = role_of(ARGV[14])
  takes_part[1] = somebody and 1 or 0
else
  local members = redis.call('HMGET', KEYS[5], unpack(ARGV, 14))
  for i = 1, #members do
    local is_member = members[i] or ARGV[13 + i] == ''
    takes_part[i] = is_member and 1 or 0
    somebody = somebody or is_member
  end
end
local reply = {epoch, offset, takes_part, offset, {}, false, ''}
if ARGV[8] == '' or not somebody then
  return reply
end

-- Up to where the cursors' epoch is this log's; false if it is not known.
local good_to = ARGV[8] == epoch and offset
if not good_to and not string.find(ARGV[8], '[,:]') then
  local kept = redis.call('HGET', KEYS[1], 'epochs') or ''
  local at = string.find(',' .. kept, ',' .. ARGV[8] .. ':', 1, true) -- it may hold '-'
  if at then
    reply[7] = string.sub(kept, at)
    good_to = tonumber(string.match(reply[7], '^:(%d+)', #ARGV[8] + 1))
  end
end

local lowest, highest = tonumber(ARGV[9]), tonumber(ARGV[10])
if good_to and lowest <= good_to then
  local first, lacking = lowest, offset - lowest
  local most = tonumber(ARGV[11])
  if ARGV[13] == '1' then
    lacking = 0
  elseif lacking > 0 then
    -- Not more than there is: a log that is shorter gives what it has from its beginning.
    first = math.max(lowest, offset - redis.call('LLEN', KEYS[2]))
    reply[4], reply[5] = first, entries(offset - first, most)
  end
  if highest <= good_to and first == lowest then
    return reply
  end
end

local messages = redis.call('LRANGE', KEYS[3], -tonumber(ARGV[12]), -1)
local context = redis.call('HMGET', KEYS[6], 'version', 'memory', 'workflow')
context[4] = tool_calls()
reply[6] = {seq, messages, context, active_run(), pending_interrupts()}
return reply
