-- End the leases of workers that are known to have died, of some of those that there are.
-- key line_key: zset (runs.lua)
-- key leased_key: zset (runs.lua)
-- key turns_key: hash, tenant = the subject of it that had a run last; '' = the tenant that had
-- key ready_key: list, where earlier versions put what is to be claimed
-- key absent_key: one that never is (keys.py, absent): the keys of runs are made here
-- arg first (number): at which lease to begin, 0 or what was returned
-- args workers: each by its id; an owner's name up to its dot
-- Returns {how many leases were ended, at which to go on, 0 if these were the last}
local LOOK_AT = 1000 -- leases, at most
local head = string.match(line_key, '^(.-):runs:line$')
local dead, ended = {}, 0
for i = workers_at, #ARGV do -- bound: workers
  dead[ARGV[i]] = true
end
local names = redis.call('ZRANGE', leased_key, first, first + LOOK_AT - 1) -- bound: 1000 (LOOK_AT)
for _, name in ipairs(names) do -- bound: 1000 (LOOK_AT)
  local tenant, conversation, run_id = string.match(name, '^([^:]+):([^:]+):([^:]+)$')
  local owner = redis.call('HGET', head .. ':' .. tenant .. ':c:' .. conversation .. ':run:' .. run_id,
    'owner')
  if owner and dead[string.match(owner, '^[^.]*')] then
    redis.call('ZADD', leased_key, 0, name) -- it is first now, and those behind it stay where they are
    ended = ended + 1
  end
end
return {ended, #names == LOOK_AT and first + LOOK_AT or 0}
