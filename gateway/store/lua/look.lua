-- Look under whose reign this server writes, so that scripts need not for a while.
-- ARGV 1 how long that may be believed, in ms
-- Returns {reign, role, until when the reign may be believed in ms of the server's clock}
local reign, role = reign_of_server()
local time = redis.call('TIME')
return {reign, role, time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[1])}
