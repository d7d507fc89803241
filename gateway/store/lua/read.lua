-- Where a reader stands, and what they lack, at one position of the log.
-- ARGV 10 and 11 the epoch and offset of the reader's cursor ('' for none), 12 how many events to
--      return at once, 13 how many messages a snapshot holds
-- Returns {'not_found'}, or
--   {'fresh', epoch, offset}
--   {'tail', epoch, offset, {event offset, event JSON, …}}
--   {'snapshot', epoch, offset, seq, {message JSON, …}, {version, memory, workflow, tool_calls},
--     active run JSON or false, {its name, interrupt, …}}
if redis.call('EXISTS', KEYS[1]) == 0 or not role_of(subject) then
  return {'not_found'}
end
local epoch, offset = position()
local cursor_epoch, cursor = ARGV[10], tonumber(ARGV[11])
if cursor_epoch == '' then
  return {'fresh', epoch, offset}
end

if cursor_epoch == epoch and cursor <= offset then
  if cursor == offset then
    return {'tail', epoch, offset, {}}
  end
  local entries = redis.call('XRANGE', KEYS[2], (cursor + 1) .. '-0', '+', 'COUNT', ARGV[12])
  if entries[1] and entries[1][1] == (cursor + 1) .. '-0' then
    local found = {}
    for _, entry in ipairs(entries) do
      found[#found + 1] = tonumber(string.match(entry[1], '^%d+'))
      found[#found + 1] = entry[2][2]
    end
    return {'tail', epoch, offset, found}
  end
end

local seq = tonumber(redis.call('HGET', KEYS[1], 'seq'))
local messages = redis.call('LRANGE', KEYS[3], -tonumber(ARGV[13]), -1)
local context = redis.call('HMGET', KEYS[6], 'version', 'memory', 'workflow', 'tool_calls')
return {'snapshot', epoch, offset, seq, messages, context, active_run(),
  pending_interrupts()}
