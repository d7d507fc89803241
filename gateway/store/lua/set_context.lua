-- Write a new version of the agent context, if nobody did since it was read.
-- arg base_version (number): that was read
-- arg memory: JSON
-- arg workflow: JSON
-- arg tool_calls: JSON, '' leaves them
-- arg event_head: the event CONTEXT_UPDATED up to its version
-- arg event_tail: the rest
-- arg kept (number): how many versions
-- arg record: the version's
-- arg request: a hash of it
-- A repeat of the last write (its reply was lost) is told by the hash and answered the same.
-- Returns {'not_found'}, {'forbidden'}, {'moved', version} or {'ok', version}
local role = role_of(subject)
if not role or not position() then
  return {'not_found'}
end
if not may(role, 'update_agent_context') then
  return {'forbidden'}
end
local version = tonumber(redis.call('HGET', context_key, 'version') or '0')
if version ~= base_version then
  if version == base_version + 1 and redis.call('HGET', context_key, 'request') == request then
    write_log()
    return {'ok', version}
  end
  return {'moved', version}
end
be_of_this_reign()
version = version + 1
redis.call('HSET', context_key, 'version', version, 'memory', memory, 'workflow', workflow,
  'request', request)
if tool_calls ~= '' then
  redis.call('HSET', context_key, 'tool_calls', tool_calls)
end
keep_version(version, record, subject, kept)
append(event_head .. version .. event_tail)
write_log()
return {'ok', version}
