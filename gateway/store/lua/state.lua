-- Shared by the scripts that tell what goes on in a conversation; comes after prelude.lua.
--
-- key absent_key: one that never is (keys.py, absent): the keys of runs are made here

-- The run that is going on, with all its text so far, as JSON; false if there is none.
local function active_run()
  local run_id = redis.call('HGET', conversation_key, 'active_run')
  if not run_id then
    return false
  end
  local run = redis.call('HMGET', run_key(run_id), 'agent', 'message_id', 'status', 'waits_for', 'owner')
  local waits_for = run[4] or (not run[5] and 'worker')
  return '{"run_id":"' .. run_id .. '","agent":"' .. run[1] .. '","message_id":"' .. run[2] ..
    '","text":"' .. (redis.call('GET', run_key(run_id) .. ':text') or '') .. '","status":"' ..
    run[3] .. (waits_for and '","waits_for":"' .. waits_for or '') .. '"}'
end

-- The interrupts that can still be answered: {"<run>|<interrupt id>", interrupt (lua/runs.lua), …}.
local function pending_interrupts()
  local all, pending, now = redis.call('HGETALL', conversation_key .. ':interrupts'), {}, now_ms() -- bound: interrupts
  for i = 1, #all, 2 do -- bound: interrupts
    if tonumber(string.match(all[i + 1], '^%d+')) >= now then
      pending[#pending + 1] = all[i]
      pending[#pending + 1] = all[i + 1]
    end
  end
  return pending
end

-- The newest finished tool calls, as a JSON list; false if there are none.
local function tool_calls()
  local all = redis.call('LRANGE', conversation_key .. ':tools', 0, -1) -- bound: 200 (KEPT_TOOLS)
  if all[1] then
    return '[' .. table.concat(all, ',') .. ']'
  end
  return redis.call('HGET', context_key, 'tool_calls') -- written as a whole, not by runs
end
