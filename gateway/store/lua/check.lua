-- Where the log stands, for a replica that listens. Begins a fresh epoch if Redis lost something.
-- Returns {epoch, offset}, or {} if there is no such conversation.
return {position()}
