-- Where the log stands, for a replica that listens.
-- Returns {epoch, offset}, or {} if there is no such conversation.
return {position()}
