-- Store an invite.
-- KEYS 1 invite
-- ARGV 1 uses, 2 role, 3 ttl in ms
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], 'uses', ARGV[1], 'role', ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return 1
