-- The agent context at one position of the log, or one of its older versions. Comes after joining.lua.
-- ARGV 8 version, or '' for the current one
-- Returns {'not_found'} or {'ok', epoch, offset, version, memory, workflow, tool_calls, active run
--   JSON, {its name, interrupt, …}, what the caller does not see (joining.lua)} with false for what is not
--   there, or {'no_version'}
if not position() or not role_of(subject) then
  return {'not_found'}
end
if ARGV[8] ~= '' then
  local of = redis.call('HGET', KEYS[7], 'same:' .. ARGV[8]) or ARGV[8] -- kept.lua
  local old = redis.call('HGET', KEYS[7], of)
  local hidden = not_seen(redis.call('HGET', KEYS[5], subject) or '')
  if hidden and ARGV[8] ~= '0' and tonumber(ARGV[8]) < tonumber(string.match(hidden, '^%d+%.%d+%.(%d+)')) then
    return {'no_version'}
  end
  if not old and of ~= '0' then
    return {'no_version'}
  end
  return {'ok', epoch, offset, ARGV[8], old}
end
local now = redis.call('HMGET', KEYS[6], 'version', 'memory', 'workflow')
return {'ok', epoch, offset, now[1], now[2], now[3], tool_calls(), active_run(),
  pending_interrupts(), not_seen(redis.call('HGET', KEYS[5], subject) or '')}
