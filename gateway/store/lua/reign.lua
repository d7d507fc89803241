-- Under whose reign the server that runs a script writes; comes before prelude.lua.

-- How long a look is believed: less than a server needs to lose its reign, take over another's data
-- and get a new one. That takes two elections, of several messages between servers each, and a full
-- copy of the data between them.
local BELIEVED_MS = 100
local time_ms -- of this script, once it was asked for

-- The server's own time, whatever tests do to the clock.
local function server_ms()
  if not time_ms then
    local time = redis.call('TIME')
    time_ms = time[1] * 1000 + math.floor(time[2] / 1000)
  end
  return time_ms
end

-- The reign under which this script writes: 8 hexadecimal digits. What a link has seen, while that may
-- be believed; else of this server, with its role, which costs some 25 µs. A reign is one uninterrupted
-- time of one master: a restart changes its run id, a promotion its replication id.
--   seen: the reign; until_ms: until when, by this server's clock
local function reign(seen, until_ms)
  local left = until_ms - server_ms()
  if left >= 0 and left <= BELIEVED_MS then -- more: the clock was set back
    return seen
  end
  local info = redis.call('INFO', 'server', 'replication')
  local run, replication = string.match(info, '\nrun_id:(%x+)'), string.match(info, '\nmaster_replid:(%x+)')
  return string.sub(redis.sha1hex(run .. replication), 1, 8), string.match(info, '\nrole:(%a+)')
end
