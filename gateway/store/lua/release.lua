-- End the leases of workers that are known to have died.
-- KEYS as of claim.lua
-- ARGV 1 the ids of the workers, each an owner's name up to its dot
-- Returns how many leases were ended
local head = string.match(KEYS[1], '^(.-):runs:line$')
local dead, ended = {}, 0
for i = 1, #ARGV do
  dead[ARGV[i]] = true
end
for _, name in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  local tenant, conversation, run_id = string.match(name, '^([^:]+):([^:]+):([^:]+)$')
  local owner = redis.call('HGET', head .. ':' .. tenant .. ':c:' .. conversation .. ':run:' .. run_id,
    'owner')
  if owner and dead[string.match(owner, '^[^.]*')] then
    redis.call('ZADD', KEYS[2], 0, name)
    ended = ended + 1
  end
end
return ended
