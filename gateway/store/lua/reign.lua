-- Under whose reign the server that runs a script writes; comes before prelude.lua.

-- The reign of this server: one uninterrupted time of one master. A restart changes its run id, a
-- promotion its replication id. Returns 8 hexadecimal digits and the server's role. Costs some 25 µs.
local function reign_of_server()
  local info = redis.call('INFO', 'server', 'replication')
  local run, replication = string.match(info, '\nrun_id:(%x+)'), string.match(info, '\nmaster_replid:(%x+)')
  return string.sub(redis.sha1hex(run .. replication), 1, 8), string.match(info, '\nrole:(%a+)')
end
