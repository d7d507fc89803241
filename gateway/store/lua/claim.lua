-- Take a run that nobody works on: one whose lease has ended, else the next that is ready.
-- KEYS 1 ready, 2 leased, 3 a key that never is (keys.py, absent): the keys of runs are made here
-- ARGV 1 clock offset in ms, 2 lease in ms, then the agents that the claimer has
-- A run of an agent that it does not have is left to others, unless all that is left is to end it:
-- its time is up, or it is gone.
-- Returns {the run's name ("<tenant>:<conversation>:<run>"), when the lease ends in ms}, or false if
-- there is none. Nothing has begun yet: begin.lua does that, and only while this lease is the newest;
-- if the claimer dies before, the lease ends.
local LOOK_AT = 1000 -- lines, at most: runs that nobody here can execute hold up so many others
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[1])
local head = string.match(KEYS[1], '^(.-):runs:ready$')
local agents = {}
for i = 3, #ARGV do
  agents[ARGV[i]] = true
end

local function first_for_us(names)
  for _, name in ipairs(names) do
    local tenant, conversation, run_id = string.match(name, '^([^:]+):([^:]+):([^:]+)$')
    local key = head .. ':' .. tenant .. ':c:' .. conversation .. ':run:' .. run_id
    local run = redis.call('HMGET', key, 'agent', 'deadline')
    if not run[1] or agents[run[1]] or (run[2] and tonumber(run[2]) <= now) then
      return name
    end
  end
end

local name = first_for_us(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, LOOK_AT))
if not name then
  name = first_for_us(redis.call('LRANGE', KEYS[1], 0, LOOK_AT - 1))
  if not name then
    return false
  end
  redis.call('LREM', KEYS[1], 1, name)
end
local until_ms = string.format('%.0f', now + tonumber(ARGV[2]))
redis.call('ZADD', KEYS[2], until_ms, name)
return {name, until_ms}
