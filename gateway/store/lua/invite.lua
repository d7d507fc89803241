-- Store an invite.
-- KEYS 8 invites (lua/invites.lua)
-- ARGV 8 hash of the code, 9 uses, 10 role, 11 ttl in ms
-- Returns {'not_found'}, {'forbidden'}, {'full'} or {'ok'}
local role = role_of(subject)
if not role or not position() then
  return {'not_found'}
end
if not may(role, 'create_invite') then
  return {'forbidden'}
end
if redis.call('HEXISTS', KEYS[8], ARGV[8]) == 1 then
  write_log()
  return {'ok'}
end
if count_good() >= MAX_INVITES then
  return {'full'}
end
local now = now_ms()
redis.call('HSET', KEYS[8], ARGV[8], string.format('%.0f|%s|%s|%.0f|%s', now + ARGV[11], ARGV[9], ARGV[10],
  now, subject))
local kept_ms = math.max(redis.call('PTTL', KEYS[8]), ARGV[11] + REMEMBERED_MS)
redis.call('PEXPIRE', KEYS[8], string.format('%.0f', kept_ms))
return {'ok'}
