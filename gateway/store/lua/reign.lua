-- Under whose reign the server that runs a script writes; comes before prelude.lua.

-- How long a look is believed: less than a server needs to lose its reign, take over another's data
-- and get a new one. That takes two elections, of several messages between servers each, and a full
-- copy of the data between them.
local BELIEVED_MS = 100
local time -- of this script, once it was asked for

-- The server's own time, whatever tests do to the clock.
local function server_ms()
  time = time or redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The reign of this server: one uninterrupted time of one master. A restart changes its run id, a
-- promotion its replication id. Returns 8 hexadecimal digits and the server's role. Costs some 25 µs.
local function reign_of_server()
  local info = redis.call('INFO', 'server', 'replication')
  local run, replication = string.match(info, '\nrun_id:(%x+)'), string.match(info, '\nmaster_replid:(%x+)')
  return string.sub(redis.sha1hex(run .. replication), 1, 8), string.match(info, '\nrole:(%a+)')
end

-- Under whose reign this script writes: what the link saw, while that may be believed.
--   seen: the reign; until_ms: until when, by this server's clock
local function reign(seen, until_ms)
  local left = until_ms - server_ms()
  if left < 0 or left > BELIEVED_MS then -- or the clock was set back
    return (reign_of_server())
  end
  return seen
end
