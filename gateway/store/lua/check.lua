-- Where the log stands, for a replica that listens. Begins a fresh epoch if Redis lost something.
-- Returns {epoch, offset}, or {} if there is no such conversation.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return {}
end
local epoch, offset = position()
return {epoch, offset}
