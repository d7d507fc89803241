-- Store an invite.
-- arg code_hash: of its code
-- arg uses: how often it can be used
-- arg given_role: of who uses it
-- arg ttl_ms (number): how long it is good
-- Returns {'not_found'}, {'forbidden'}, {'full'} or {'ok'}
local role = role_of(subject)
if not role or not position() then
  return {'not_found'}
end
if not may(role, 'create_invite') then
  return {'forbidden'}
end
if redis.call('HEXISTS', invites_key, code_hash) == 1 then
  write_log()
  return {'ok'}
end
if count_good() >= MAX_INVITES then
  return {'full'}
end
local now = now_ms()
redis.call('HSET', invites_key, code_hash, string.format('%.0f|%s|%s|%.0f|%s', now + ttl_ms, uses, given_role,
  now, subject))
local kept_ms = math.max(redis.call('PTTL', invites_key), ttl_ms + REMEMBERED_MS)
redis.call('PEXPIRE', invites_key, string.format('%.0f', kept_ms))
return {'ok'}
