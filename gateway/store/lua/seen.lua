-- Shared by the scripts that show what somebody may see; comes after joining.lua.

-- One of the numbers of what somebody does not see; nothing if they see all.
local function number_of(who, pattern)
  local member = who ~= '' and redis.call('HGET', members_key, who)
  local hidden = member and not_seen(member)
  return hidden and tonumber(string.match(hidden, pattern))
end

-- The first message that somebody sees.
local function first_visible(who)
  return (number_of(who, '^%d+') or 0) + 1
end

-- The first version of the agent context that somebody sees: the one that was there when they joined.
local function first_version(who)
  return math.max(1, number_of(who, '^%d+%.%d+%.(%d+)') or 1)
end
