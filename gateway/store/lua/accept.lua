-- Shared by the scripts that accept messages; comes after prelude.lua.

-- Put a message into the history and the log; returns what `ids` keeps of it.
--   rest: its JSON after created_at; at: now, as `seconds` writes it
local function accept(message_id, hash, rest, at, run_id)
  local number = next_seq()
  local message = '{"message_id":"' .. message_id .. '","seq":' .. number .. ',"created_at":' .. at ..
    rest
  append(message)
  return message, number .. ':' .. string.format('%d', offset) .. ':' .. epoch .. ':' .. hash ..
    ':' .. run_id
end
