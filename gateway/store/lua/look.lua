-- Look under whose reign this server writes, so that scripts need not for a while.
-- Returns {reign, role, until when the reign may be believed in ms of the server's clock}
local seen, role = reign('', 0)
return {seen, role, server_ms() + BELIEVED_MS}
