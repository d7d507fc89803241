-- Take a run that nobody works on, and tell whose runs wait.
-- key line_key: zset (runs.lua)
-- key leased_key: zset (runs.lua)
-- key turns_key: hash, tenant = the subject of it that had a run last; '' = the tenant that had
-- key ready_key: list, where earlier versions put what is to be claimed
-- key absent_key: one that never is (keys.py, absent): the keys of runs are made here
-- arg clock_offset_ms (number): of tests, else 0
-- arg lease_ms (number): how long the claim is good
-- arg max_deaths (number): deaths of workers that end a run
-- arg pause_ms (number): after the first of them
-- arg of_tenant: of whom to take a run, '' to take none
-- arg of_subject: of that tenant
-- arg full_count (number): how many of the names that follow are full
-- args names: "<tenant>" or "<tenant>:<subject>" of each who may have no more here; then the agents that
--   the claimer has
-- A run of an agent that it does not have is left to others, unless all that is left is to end it:
-- its time is up.
-- A lease that ends while its run has an owner is the death of a worker. It is counted, and the run is
-- put off, four times as long each time: it may be what kills them. Otherwise it is in the line again.
-- Returns {the run's name ("<tenant>:<conversation>:<run>") or '', when its lease ends in ms, in how many ms
-- to look again if one was put off, else 0, 1 if there may be more, tenant, subject, …}: those who are next,
-- the one whose turn it is first, full ones too, which take nobody else's place. Nothing has begun yet: begin.lua does that, and only while
-- this lease is the newest; if the claimer dies before, the lease ends.
local LOOK_AT = 500 -- runs, at most, and 100 of them of one subject
local BRING = 100 -- at most, of leases that have ended and of what earlier versions left
local TENANTS, SUBJECTS = 16, 4 -- that are told, at most, and of each tenant
local TERMINAL = {success = true, interrupt = true, cancelled = true, failed = true}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + clock_offset_ms
local head = string.match(line_key, '^(.-):runs:line$')
local full, agents = {}, {}
for i = names_at, names_at + full_count - 1 do -- bound: full
  full[ARGV[i]] = true
end
for i = names_at + full_count, #ARGV do -- bound: agents
  agents[ARGV[i]] = true
end
local put_off -- for how long, in ms, the one that was put off for the shortest time
local looked_at, has_more = 0, 0
local last_tenant, last_who -- of those looked at

local function key_of(tenant, conversation, run_id)
  return head .. ':' .. tenant .. ':c:' .. conversation .. ':run:' .. run_id
end

-- Whether a worker died with this run, and the run is to rest now.
local function is_put_off(name, key, is_due)
  if redis.call('HDEL', key, 'owner') == 0 then
    return false
  end
  local deaths = redis.call('HINCRBY', key, 'deaths', 1)
  if is_due or deaths >= max_deaths then
    return false -- it will only be ended
  end
  local pause = pause_ms * 4 ^ (deaths - 1)
  redis.call('ZADD', leased_key, string.format('%.0f', now + pause), name)
  put_off = math.min(put_off or pause, pause)
  return true
end

-- Put runs into the line: those on leases that have ended, and those that earlier versions made ready.
local function bring(names, are_leased)
  for _, name in ipairs(names) do -- bound: 100 (BRING)
    local tenant, conversation, run_id = string.match(name, '^([^:]+):([^:]+):([^:]+)$')
    local key = key_of(tenant, conversation, run_id)
    local run = redis.call('HMGET', key, 'by', 'since', 'deadline')
    local is_due = run[3] and tonumber(run[3]) <= now
    if not are_leased or not is_put_off(name, key, is_due) then
      redis.call('ZREM', leased_key, name)
      redis.call('ZADD', line_key, 0, tenant .. ':' .. (run[1] or '') .. ':' .. (run[2] or '0') .. ':' ..
        conversation .. ':' .. run_id)
    end
  end
end

-- The first run in the line of a tenant's subject that can be taken here, with its name.
local function first_of(tenant, who)
  local of, low = tenant .. ':' .. who, '[' .. tenant .. ':' .. who .. ':'
  local lines = redis.call('ZRANGEBYLEX', line_key, low, '(' .. of .. ';', 'LIMIT', 0, LOOK_AT / 5) -- bound: 500 (LOOK_AT)
  for _, line in ipairs(lines) do -- bound: 500 (LOOK_AT)
    if looked_at >= LOOK_AT then
      has_more = 1
      return
    end
    looked_at, last_tenant, last_who = looked_at + 1, tenant, who
    local conversation, run_id = string.match(line, '^[^:]+:[^:]*:[^:]+:([^:]+):([^:]+)$')
    local run = redis.call('HMGET', key_of(tenant, conversation, run_id), 'agent', 'deadline', 'status')
    if not run[1] or TERMINAL[run[3]] then
      redis.call('ZREM', line_key, line) -- an earlier version ended it
    elseif agents[run[1]] or (run[2] and tonumber(run[2]) <= now) then
      return line, tenant .. ':' .. conversation .. ':' .. run_id
    end
  end
end

-- Once round a part of the line, from behind the one who had the last turn, by what `pattern` finds in the
-- first line of each; no more than `most` for whom `is_next` is true, and so many who are full.
local function round(of, last, pattern, most, is_next)
  local seen, found = {}, {[true] = 0, [false] = 0} -- the latter by whether they are full
  local high = of == '' and '+' or '(' .. string.sub(of, 1, -2) .. ';'
  for _, low in ipairs({'(' .. of .. last .. ';', '[' .. of}) do -- bound: 500 (LOOK_AT)
    while true do -- bound: 500 (LOOK_AT)
      local line = redis.call('ZRANGEBYLEX', line_key, low, high, 'LIMIT', 0, 1)[1] -- bound: 500 (LOOK_AT)
      local name = line and string.match(line, pattern, #of + 1)
      if not name or seen[name] then
        break
      end
      if found[false] >= most or looked_at >= LOOK_AT then
        has_more = 1
        return
      end
      seen[name] = true
      local is_full = full[of .. name] == true
      if found[is_full] >= most then
        has_more = 1
      elseif is_next(name) then
        found[is_full] = found[is_full] + 1
      end
      low = '(' .. of .. name .. ';'
    end
  end
end

bring(redis.call('ZRANGEBYSCORE', leased_key, '-inf', now, 'LIMIT', 0, BRING), true) -- bound: 100 (BRING)
bring(redis.call('LPOP', ready_key, BRING) or {}, false)

local reply = {'', '', 0, 0}
if of_tenant ~= '' then
  local line, name = first_of(of_tenant, of_subject)
  if line then
    redis.call('ZREM', line_key, line)
    reply[1], reply[2] = name, string.format('%.0f', now + lease_ms)
    redis.call('ZADD', leased_key, reply[2], name)
    redis.call('HSET', turns_key, '', of_tenant, of_tenant, of_subject)
  end
end
if redis.call('EXISTS', line_key) == 0 then
  redis.call('DEL', turns_key)
end
looked_at = 0
round('', redis.call('HGET', turns_key, '') or '', '^([^:]+)', TENANTS, function(tenant)
  local found = false
  round(tenant .. ':', redis.call('HGET', turns_key, tenant) or '', '^([^:]*)', SUBJECTS, function(who)
    if not first_of(tenant, who) then
      return false
    end
    reply[#reply + 1], reply[#reply + 2], found = tenant, who, true
    return true
  end)
  return found
end)
if not reply[5] and has_more == 1 and last_tenant then
  redis.call('HSET', turns_key, '', last_tenant, last_tenant, last_who) -- go on behind them the next time
end
reply[3], reply[4] = math.ceil(put_off or 0), has_more
return reply
