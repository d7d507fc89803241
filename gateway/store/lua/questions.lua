-- Shared by the scripts that ask a person and take the answer; comes after runs.lua.

-- Forget questions whose deadline was over RUN_KEPT_MS ago. A later one stays, so that a late answer is told
-- so, unless it takes room from what is asked now. Returns the bytes of those that are left.
--   most: the bytes there is room for
local function make_room(most)
  local all, open, late, late_bytes, now = redis.call('HGETALL', interrupts_key), 0, {}, 0, now_ms() -- bound: interrupts
  for i = 1, #all, 2 do -- bound: interrupts
    local field, value = all[i], all[i + 1]
    local deadline = tonumber(string.match(value, '^%d+'))
    if deadline >= now then
      open = open + #value
    elseif deadline > 0 and deadline + RUN_KEPT_MS < now then -- 0: an answer, see below
      redis.call('HDEL', interrupts_key, field)
    elseif deadline > 0 then
      late[#late + 1] = field
      late_bytes = late_bytes + #value
    end
  end
  if open + late_bytes <= most then
    return open + late_bytes
  end
  for i = 1, #late do -- bound: interrupts
    redis.call('HDEL', interrupts_key, late[i])
  end
  return open
end

-- The bytes of the answers that wait for others (respond.lua), in a reply of HGETALL.
local function answer_bytes(all)
  local bytes = 0
  for i = 2, #all, 2 do -- bound: interrupts
    if string.sub(all[i], 1, 2) == '0|' then
      bytes = bytes + #all[i]
    end
  end
  return bytes
end
