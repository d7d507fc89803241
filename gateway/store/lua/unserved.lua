-- The runs of a shard that nobody works on, as far as can be seen.
-- key line_key: zset (runs.lua)
-- key leased_key: zset (runs.lua)
-- key turns_key: hash, tenant = the subject of it that had a run last; '' = the tenant that had
-- key ready_key: list, where earlier versions put what is to be claimed
-- key absent_key: one that never is (keys.py, absent): the keys of runs are made here
-- arg clock_offset_ms (number): of tests, else 0
-- arg silent_ms (number): a worker whose lease ends sooner has gone silent
-- args agents: that a worker has
-- Returns {{the names of runs whose worker has gone silent, and whose readers do not know}, {name and
--   agent of runs that no worker can take, …}}
local LOOK_AT = 1000 -- lines, at most
local OF_A_TENANT = 250 -- of them, so that one does not hide all others
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + clock_offset_ms
local head = string.match(line_key, '^(.-):runs:line$')
local agents = {}
for i = agents_at, #ARGV do -- bound: agents
  agents[ARGV[i]] = true
end

local function run_of(name)
  local tenant, conversation, run_id = string.match(name, '^([^:]+):([^:]+):([^:]+)$')
  return redis.call('HMGET', head .. ':' .. tenant .. ':c:' .. conversation .. ':run:' .. run_id,
    'agent', 'status', 'waits_for')
end

local silent, without_agent = {}, {}
local soon = string.format('%.0f', now + silent_ms)
local leased = redis.call('ZRANGEBYSCORE', leased_key, '-inf', soon, 'WITHSCORES', 'LIMIT', 0, LOOK_AT) -- bound: 1000 (LOOK_AT)
for i = 1, #leased, 2 do -- bound: 1000 (LOOK_AT)
  local run = run_of(leased[i])
  if run[1] and agents[run[1]] then
    if run[2] == 'running' and run[3] ~= 'takeover' then
      silent[#silent + 1] = leased[i]
    end
  elseif run[1] and tonumber(leased[i + 1]) <= now then
    without_agent[#without_agent + 1] = leased[i]
    without_agent[#without_agent + 1] = run[1]
  end
end
local low, looked_at = '-', 0
while looked_at < LOOK_AT do -- bound: 1000 (LOOK_AT)
  local lines = redis.call('ZRANGEBYLEX', line_key, low, '+', 'LIMIT', 0, 1) -- bound: 1000 (LOOK_AT)
  if not lines[1] then
    break
  end
  local tenant = string.match(lines[1], '^[^:]+')
  low = '(' .. tenant .. ';'
  lines = redis.call('ZRANGEBYLEX', line_key, '[' .. tenant .. ':', low, 'LIMIT', 0, OF_A_TENANT) -- bound: 1000 (LOOK_AT)
  for _, line in ipairs(lines) do -- bound: 1000 (LOOK_AT)
    local name = tenant .. ':' .. string.match(line, '^[^:]+:[^:]*:[^:]+:(.+)$')
    local run = run_of(name)
    if run[1] and not agents[run[1]] then
      without_agent[#without_agent + 1] = name
      without_agent[#without_agent + 1] = run[1]
    end
  end
  looked_at = looked_at + #lines
end
return {silent, without_agent}
