-- End the leases of workers that are known to have died, of some of those that there are.
-- KEYS as of claim.lua
-- ARGV 1 at which lease to begin (0, or what was returned), then the ids of the workers, each an owner's
--      name up to its dot
-- Returns {how many leases were ended, at which to go on, 0 if these were the last}
local LOOK_AT = 1000 -- leases, at most
local head = string.match(KEYS[1], '^(.-):runs:line$')
local dead, ended = {}, 0
for i = 2, #ARGV do -- bound: workers
  dead[ARGV[i]] = true
end
local from = tonumber(ARGV[1])
local names = redis.call('ZRANGE', KEYS[2], from, from + LOOK_AT - 1) -- bound: 1000 (LOOK_AT)
for _, name in ipairs(names) do -- bound: 1000 (LOOK_AT)
  local tenant, conversation, run_id = string.match(name, '^([^:]+):([^:]+):([^:]+)$')
  local owner = redis.call('HGET', head .. ':' .. tenant .. ':c:' .. conversation .. ':run:' .. run_id,
    'owner')
  if owner and dead[string.match(owner, '^[^.]*')] then
    redis.call('ZADD', KEYS[2], 0, name) -- it is first now, and those behind it stay where they are
    ended = ended + 1
  end
end
return {ended, #names == LOOK_AT and from + LOOK_AT or 0}
