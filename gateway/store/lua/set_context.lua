-- Write a new version of the agent context, if nobody did since it was read.
-- ARGV 9 base version, 10 memory JSON, 11 workflow JSON, 12 tool calls JSON ('' leaves them),
--      13 the event CONTEXT_UPDATED up to its version, 14 the rest, 15 how many versions are kept,
--      16 the version's record, 17 a hash of the request
-- versions holds <version> = record and by:<version> = "<at>:<by>".
-- A repeat of the last write (its reply was lost) is told by the hash and answered the same.
-- Returns {'not_found'}, {'forbidden'}, {'moved', version} or {'ok', version}
local role = role_of(subject)
if not role or not position() then
  return {'not_found'}
end
if role == 'observer' then
  return {'forbidden'}
end
local version = tonumber(redis.call('HGET', KEYS[6], 'version') or '0')
if version ~= tonumber(ARGV[9]) then
  if version == tonumber(ARGV[9]) + 1 and redis.call('HGET', KEYS[6], 'request') == ARGV[17] then
    return {'ok', version}
  end
  return {'moved', version}
end
version = version + 1
redis.call('HSET', KEYS[6], 'version', version, 'memory', ARGV[10], 'workflow', ARGV[11],
  'request', ARGV[17])
if ARGV[12] ~= '' then
  redis.call('HSET', KEYS[6], 'tool_calls', ARGV[12])
end
redis.call('HSET', KEYS[7], version, ARGV[16], 'by:' .. version, seconds(now_ms()) .. ':' .. subject)
local oldest = version - tonumber(ARGV[15])
redis.call('HDEL', KEYS[7], oldest, 'by:' .. oldest)
append(ARGV[13] .. version .. ARGV[14])
write_log()
return {'ok', version}
