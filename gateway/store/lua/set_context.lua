-- Write a new version of the agent context, if nobody did since it was read.
-- ARGV 8 base version, 9 memory JSON, 10 workflow JSON, 11 tool calls JSON ('' leaves them),
--      12 the event CONTEXT_UPDATED up to its version, 13 the rest, 14 how many versions are kept,
--      15 the version's record, 16 a hash of the request
-- A repeat of the last write (its reply was lost) is told by the hash and answered the same.
-- Returns {'not_found'}, {'forbidden'}, {'moved', version} or {'ok', version}
local role = role_of(subject)
if not role or not position() then
  return {'not_found'}
end
if not may(role, 'update_agent_context') then
  return {'forbidden'}
end
local version = tonumber(redis.call('HGET', KEYS[6], 'version') or '0')
if version ~= tonumber(ARGV[8]) then
  if version == tonumber(ARGV[8]) + 1 and redis.call('HGET', KEYS[6], 'request') == ARGV[16] then
    write_log()
    return {'ok', version}
  end
  return {'moved', version}
end
be_of_this_reign()
version = version + 1
redis.call('HSET', KEYS[6], 'version', version, 'memory', ARGV[9], 'workflow', ARGV[10],
  'request', ARGV[16])
if ARGV[11] ~= '' then
  redis.call('HSET', KEYS[6], 'tool_calls', ARGV[11])
end
keep_version(version, ARGV[15], subject, tonumber(ARGV[14]))
append(ARGV[12] .. version .. ARGV[13])
write_log()
return {'ok', version}
