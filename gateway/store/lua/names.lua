-- Names that are made of others; comes after prelude.lua.

local function run_key(run_id)
  return KEYS[1] .. ':run:' .. run_id
end

local function conversation_id()
  return string.match(KEYS[1], '^.*:(.*)$')
end
