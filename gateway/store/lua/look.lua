-- Look under whose reign this server writes, so that scripts need not for a while.
-- ARGV 1 how long that may be believed, in ms
-- Returns {reign, role, the server's time in ms, until when the reign may be believed in ms}
local reign, role = reign_of_server()
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return {reign, role, now, now + tonumber(ARGV[1])}
