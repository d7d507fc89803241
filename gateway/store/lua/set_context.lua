-- Write a new version of the agent context, if nobody did since it was read.
-- ARGV 10 base version, 11 memory JSON, 12 workflow JSON, 13 tool calls JSON ('' leaves them),
--      14 the event CONTEXT_UPDATED up to its version, 15 the rest, 16 how many versions are kept,
--      17 the version's record, 18 a hash of the request
-- versions holds <version> = record and by:<version> = "<at>:<by>".
-- A repeat of the last write (its reply was lost) is told by the hash and answered the same.
-- Returns {'not_found'}, {'forbidden'}, {'moved', version} or {'ok', version}
local role = role_of(subject)
if redis.call('EXISTS', KEYS[1]) == 0 or not role then
  return {'not_found'}
end
if role == 'observer' then
  return {'forbidden'}
end
local version = tonumber(redis.call('HGET', KEYS[6], 'version') or '0')
if version ~= tonumber(ARGV[10]) then
  if version == tonumber(ARGV[10]) + 1 and redis.call('HGET', KEYS[6], 'request') == ARGV[18] then
    return {'ok', version}
  end
  return {'moved', version}
end
version = version + 1
redis.call('HSET', KEYS[6], 'version', version, 'memory', ARGV[11], 'workflow', ARGV[12],
  'request', ARGV[18])
if ARGV[13] ~= '' then
  redis.call('HSET', KEYS[6], 'tool_calls', ARGV[13])
end
redis.call('HSET', KEYS[7], version, ARGV[17], 'by:' .. version, seconds(now_ms()) .. ':' .. subject)
local oldest = version - tonumber(ARGV[16])
redis.call('HDEL', KEYS[7], oldest, 'by:' .. oldest)
append(ARGV[14] .. version .. ARGV[15])
return {'ok', version}
