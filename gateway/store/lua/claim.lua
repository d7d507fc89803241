-- Take a run that nobody works on, and tell whose runs wait.
-- KEYS 1 line (zset, runs.lua), 2 leased, 3 turns (hash, tenant = the subject of it that had a run last; '' =
--      the tenant that had), 4 ready (list, where earlier versions put what is to be claimed),
--      5 a key that never is (keys.py, absent): the keys of runs are made here
-- ARGV 1 clock offset in ms, 2 lease in ms, 3 deaths of workers that end a run, 4 pause after the first
--      of them in ms, 5 and 6 tenant and subject of whom to take a run ('' and '' to take none), 7 how
--      many are full, then "<tenant>" or "<tenant>:<subject>" of each: they may have no more here; then the
--      agents that the claimer has
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
local now = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[1])
local head = string.match(KEYS[1], '^(.-):runs:line$')
local full, agents = {}, {}
for i = 8, 7 + tonumber(ARGV[7]) do -- bound: full
  full[ARGV[i]] = true
end
for i = 8 + tonumber(ARGV[7]), #ARGV do -- bound: agents
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
  if is_due or deaths >= tonumber(ARGV[3]) then
    return false -- it will only be ended
  end
  local pause = tonumber(ARGV[4]) * 4 ^ (deaths - 1)
  redis.call('ZADD', KEYS[2], string.format('%.0f', now + pause), name)
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
      redis.call('ZREM', KEYS[2], name)
      redis.call('ZADD', KEYS[1], 0, tenant .. ':' .. (run[1] or '') .. ':' .. (run[2] or '0') .. ':' ..
        conversation .. ':' .. run_id)
    end
  end
end

-- The first run in the line of a tenant's subject that can be taken here, with its name.
local function first_of(tenant, who)
  local of, low = tenant .. ':' .. who, '[' .. tenant .. ':' .. who .. ':'
  local lines = redis.call('ZRANGEBYLEX', KEYS[1], low, '(' .. of .. ';', 'LIMIT', 0, LOOK_AT / 5) -- bound: 500 (LOOK_AT)
  for _, line in ipairs(lines) do -- bound: 500 (LOOK_AT)
    if looked_at >= LOOK_AT then
      has_more = 1
      return
    end
    looked_at, last_tenant, last_who = looked_at + 1, tenant, who
    local conversation, run_id = string.match(line, '^[^:]+:[^:]*:[^:]+:([^:]+):([^:]+)$')
    local run = redis.call('HMGET', key_of(tenant, conversation, run_id), 'agent', 'deadline', 'status')
    if not run[1] or TERMINAL[run[3]] then
      redis.call('ZREM', KEYS[1], line) -- an earlier version ended it
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
      local line = redis.call('ZRANGEBYLEX', KEYS[1], low, high, 'LIMIT', 0, 1)[1] -- bound: 500 (LOOK_AT)
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

bring(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, BRING), true) -- bound: 100 (BRING)
bring(redis.call('LPOP', KEYS[4], BRING) or {}, false)

local reply = {'', '', 0, 0}
if ARGV[5] ~= '' then
  local line, name = first_of(ARGV[5], ARGV[6])
  if line then
    redis.call('ZREM', KEYS[1], line)
    reply[1], reply[2] = name, string.format('%.0f', now + tonumber(ARGV[2]))
    redis.call('ZADD', KEYS[2], reply[2], name)
    redis.call('HSET', KEYS[3], '', ARGV[5], ARGV[5], ARGV[6])
  end
end
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('DEL', KEYS[3])
end
looked_at = 0
round('', redis.call('HGET', KEYS[3], '') or '', '^([^:]+)', TENANTS, function(tenant)
  local found = false
  round(tenant .. ':', redis.call('HGET', KEYS[3], tenant) or '', '^([^:]*)', SUBJECTS, function(who)
    if not first_of(tenant, who) then
      return false
    end
    reply[#reply + 1], reply[#reply + 2], found = tenant, who, true
    return true
  end)
  return found
end)
if not reply[5] and has_more == 1 and last_tenant then
  redis.call('HSET', KEYS[3], '', last_tenant, last_tenant, last_who) -- go on behind them the next time
end
reply[3], reply[4] = math.ceil(put_off or 0), has_more
return reply
