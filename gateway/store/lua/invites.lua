-- Shared by the scripts of invites; comes after prelude.lua.
--
-- KEYS  8 invites (hash, hash of the code = "<until ms>|<uses left>|<role>|<made at ms>|<maker>"; expires
--         with the last of them)

local MAX_INVITES = 100 -- of a conversation; the loops below run over as many

-- {hash of the code, until ms, uses left, role, made at ms, maker}, …: all that are kept.
local function kept_invites()
  local all, kept = redis.call('HGETALL', KEYS[8]), {}
  for i = 1, #all, 2 do
    kept[#kept + 1] = {all[i], string.match(all[i + 1], '^(%d+)|(%d+)|(%a+)|(%d+)|(.*)$')}
  end
  return kept
end

local function is_good(invite)
  return tonumber(invite[2]) >= now_ms() and tonumber(invite[3]) > 0
end

-- Whoever may not invite any more has no invites.
local function end_invites_of(maker)
  for _, invite in ipairs(kept_invites()) do
    if invite[6] == maker then
      redis.call('HDEL', KEYS[8], invite[1])
    end
  end
end
