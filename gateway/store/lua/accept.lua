-- Shared by the scripts that accept messages; comes after prelude.lua.

-- Put a message into the history and the log; returns what `ids` keeps of it. `position` must have
-- been read.
--   rest: its JSON after created_at; at: now, as `seconds` writes it
local function accept(message_id, hash, rest, at, run_id)
  seq = seq + 1
  local number = string.format('%d', seq)
  local message = '{"message_id":"' .. message_id .. '","seq":' .. number .. ',"created_at":' .. at ..
    rest
  append('{"type":"MESSAGE_CREATED","message":' .. message .. '}')
  return message, number .. ':' .. string.format('%d', offset) .. ':' .. epoch .. ':' .. hash ..
    ':' .. run_id
end
