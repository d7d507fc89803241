-- Names that are made of others; comes after prelude.lua.

local function run_key(run_id)
  return conversation_key .. ':run:' .. run_id
end

local function conversation_id()
  return string.match(conversation_key, '^.*:(.*)$')
end
