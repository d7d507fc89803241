-- Take a run that nobody works on: one whose lease has ended, else the next that is ready.
-- KEYS 1 ready, 2 leased, 3 a key that never is (keys.py, absent): the keys of runs are made here
-- ARGV 1 clock offset in ms, 2 lease in ms, 3 deaths of workers that end a run, 4 pause after the first
--      of them in ms, then the agents that the claimer has
-- A run of an agent that it does not have is left to others, unless all that is left is to end it:
-- its time is up, or it is gone.
-- A lease that ends while its run has an owner is the death of a worker. It is counted, and the run is
-- put off, four times as long each time: it may be what kills them.
-- Returns {the run's name ("<tenant>:<conversation>:<run>"), when the lease ends in ms}, {'', in how many
-- ms to look again} if one was put off, or false if there is none. Nothing has begun yet: begin.lua does
-- that, and only while this lease is the newest; if the claimer dies before, the lease ends.
local LOOK_AT = 1000 -- lines, at most: runs that nobody here can execute hold up so many others
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[1])
local head = string.match(KEYS[1], '^(.-):runs:ready$')
local agents = {}
for i = 5, #ARGV do
  agents[ARGV[i]] = true
end
local put_off -- for how long, in ms, the one that was put off for the shortest time

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

local function first_for_us(names, are_leased)
  for _, name in ipairs(names) do
    local tenant, conversation, run_id = string.match(name, '^([^:]+):([^:]+):([^:]+)$')
    local key = head .. ':' .. tenant .. ':c:' .. conversation .. ':run:' .. run_id
    local run = redis.call('HMGET', key, 'agent', 'deadline')
    local is_due = not run[1] or (run[2] and tonumber(run[2]) <= now)
    if is_due or agents[run[1]] then
      if not are_leased or not is_put_off(name, key, is_due) then
        return name
      end
    end
  end
end

local expired = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, LOOK_AT)
local name = first_for_us(expired, true)
if not name then
  name = first_for_us(redis.call('LRANGE', KEYS[1], 0, LOOK_AT - 1), false)
  if not name then
    return put_off and {'', math.ceil(put_off)}
  end
  redis.call('LREM', KEYS[1], 1, name)
end
local until_ms = string.format('%.0f', now + tonumber(ARGV[2]))
redis.call('ZADD', KEYS[2], until_ms, name)
return {name, until_ms}
