-- The agent context at one position of the log, or one of its older versions. Comes after joining.lua.
-- arg version: '' for the current one
-- Returns {'not_found'} or {'ok', epoch, offset, version, memory, workflow, tool_calls, active run
--   JSON, {its name, interrupt, …}, what the caller does not see (joining.lua)} with false for what is not
--   there, or {'no_version'}
if not position() or not role_of(subject) then
  return {'not_found'}
end
if version ~= '' then
  local of = redis.call('HGET', versions_key, 'same:' .. version) or version -- kept.lua
  local old = redis.call('HGET', versions_key, of)
  local hidden = not_seen(redis.call('HGET', members_key, subject) or '')
  if hidden and version ~= '0' and tonumber(version) < tonumber(string.match(hidden, '^%d+%.%d+%.(%d+)')) then
    return {'no_version'}
  end
  if not old and of ~= '0' then
    return {'no_version'}
  end
  return {'ok', epoch, offset, version, old}
end
local now = redis.call('HMGET', context_key, 'version', 'memory', 'workflow')
return {'ok', epoch, offset, now[1], now[2], now[3], tool_calls(), active_run(),
  pending_interrupts(), not_seen(redis.call('HGET', members_key, subject) or '')}
