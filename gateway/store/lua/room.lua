-- Whether there is room for one more run; comes after runs.lua, before send.lua.
--
-- What is counted is exact for the conversation, and for the shard: its queue is all that one script can see.

local LOOK_AT = 20 -- of those that are counted, when there are too many

-- How many of `open_key` begin with a tenant, or with a tenant and a subject.
local function count(of)
  return redis.call('ZLEXCOUNT', open_key, '[' .. of, '(' .. string.sub(of, 1, -2) .. ';')
end

-- Strike off some that have ended and are counted all the same: what ended them was an earlier version,
-- which does not count. Others each time.
local function strike_off(of, counted)
  local first = redis.call('ZLEXCOUNT', open_key, '-', '(' .. of)
  local from = first + server_ms() % counted
  local base = string.match(conversation_key, '^[^}]*}:')
  for _, name in ipairs(redis.call('ZRANGE', open_key, from, math.min(from + LOOK_AT, first + counted) - 1)) do -- bound: 20 (LOOK_AT)
    local tenant, conversation, run_id = string.match(name, '^([^:]+):[^:]*:([^:]+):([^:]+)$')
    local status = redis.call('HGET', base .. tenant .. ':c:' .. conversation .. ':run:' .. run_id, 'status')
    if not status or TERMINAL[status] then
      redis.call('ZREM', open_key, name)
    end
  end
end

local function is_full(of, limit)
  local counted = count(of)
  if counted < limit then
    return false
  end
  strike_off(of, counted)
  return count(of) >= limit
end

-- What has too many runs already: 'conversation', 'subject', 'tenant' or nothing.
local function too_many_runs(has_to_wait, of_conversation, of_subject, of_tenant)
  if has_to_wait and redis.call('LLEN', waiting_key) >= tonumber(of_conversation) then
    return 'conversation'
  end
  local tenant = string.match(conversation_key, '^[^}]*}:([^:]+)') .. ':'
  if is_full(tenant .. quoted(subject) .. ':', tonumber(of_subject)) then
    return 'subject'
  end
  return is_full(tenant, tonumber(of_tenant)) and 'tenant'
end
