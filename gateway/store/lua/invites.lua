-- Shared by the scripts of invites; comes after prelude.lua.
--
-- key invites_key: hash, hash of the code = "<until ms>|<uses left>|<role>|<made at ms>|<maker>"; expires
--   a day after the last of them. One that is used up has ended in that moment: `until` is then.

local MAX_INVITES = 100 -- of a conversation, and as many that have ended: the loops run over both
local REMEMBERED_MS = 86400000 -- after its end: whoever shows one is told that it has ended

local function parsed(hash, value)
  return {hash, string.match(value, '^(%d+)|(%d+)|(%a+)|(%d+)|(.*)$')}
end

-- {hash of the code, until ms, uses left, role, made at ms, maker}; nil if it is not known.
local function invite_of(hash)
  local value = redis.call('HGET', invites_key, hash)
  return value and parsed(hash, value)
end

-- All that are kept.
local function kept_invites()
  local all, kept = redis.call('HGETALL', invites_key), {} -- bound: 200 (MAX_INVITES twice)
  for i = 1, #all, 2 do -- bound: 200 (MAX_INVITES twice)
    kept[#kept + 1] = parsed(all[i], all[i + 1])
  end
  return kept
end

local function is_good(invite)
  return tonumber(invite[2]) >= now_ms() and tonumber(invite[3]) > 0
end

local function use_up(invite)
  local left = invite[3] - 1
  local ends = left > 0 and invite[2] or string.format('%.0f', now_ms())
  redis.call('HSET', invites_key, invite[1], string.format('%s|%.0f|%s|%s|%s', ends, left, invite[4],
    invite[5], invite[6]))
end

-- How many can be used. Of those that have ended the oldest are forgotten.
local function count_good()
  local ended, good, forgotten = {}, 0, now_ms() - REMEMBERED_MS
  for _, invite in ipairs(kept_invites()) do -- bound: 200 (MAX_INVITES twice)
    if is_good(invite) then
      good = good + 1
    elseif tonumber(invite[2]) < forgotten then
      redis.call('HDEL', invites_key, invite[1])
    else
      ended[#ended + 1] = invite
    end
  end
  if #ended > MAX_INVITES then
    table.sort(ended, function(a, b) return tonumber(a[2]) < tonumber(b[2]) end)
    for i = 1, #ended - MAX_INVITES do -- bound: 200 (MAX_INVITES twice)
      redis.call('HDEL', invites_key, ended[i][1])
    end
  end
  return good
end

-- Whoever may not invite any more has no invites.
local function end_invites_of(maker)
  for _, invite in ipairs(kept_invites()) do -- bound: 200 (MAX_INVITES twice)
    if invite[6] == maker then
      redis.call('HDEL', invites_key, invite[1])
    end
  end
end
