-- Shared by every script that touches a conversation.
--
-- KEYS  1 conversation (hash: epoch, offset, seq, version, title, visibility, metadata, created_at,
--         created_by, created_hash, active_run), 2 log (stream, id <offset>-0, field e = event JSON),
--       3 history (list, index = seq - 1, message JSON, '' once deleted), 4 ids (hash, message id =
--         "<seq>:<offset>:<epoch>:<content hash>:<run id>"), 5 members (hash, subject = "<role>:<joined_at ms>"),
--       6 context (hash: version, memory, workflow, tool_calls), 7 versions (hash, version = JSON)
-- ARGV  1 clock offset in ms, 2 subject who asks ('' for the system), 3 log_max_events,
--       4 log_ttl in ms, 5 a fresh epoch, 6 and 7 the epoch and offset this replica has heard,
--       8 channel, 9 conversation id; a script's own begin at 10
--
-- The user's JSON is never parsed here: it is spliced as text, so nothing is changed in passing.

local clock_offset_ms, subject = tonumber(ARGV[1]), ARGV[2]
local log_max_events, log_ttl_ms, fresh_epoch = tonumber(ARGV[3]), ARGV[4], ARGV[5]
local channel, conversation_id = ARGV[8], ARGV[9]

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000) + clock_offset_ms
end

local function seconds(ms)
  return string.format('%.3f', ms / 1000)
end

local function role_of(who)
  if who == '' then -- the gateway itself; no client has an empty subject
    return 'owner'
  end
  local member = redis.call('HGET', KEYS[5], who)
  return member and string.match(member, '^(%a+):')
end

-- The epoch and offset of the log. If this replica has heard more than Redis holds, Redis lost what
-- clients have seen (a failover): the log begins anew, in a fresh epoch, and readers get snapshots.
local function position()
  local state = redis.call('HMGET', KEYS[1], 'epoch', 'offset')
  local epoch, offset = state[1], tonumber(state[2])
  if epoch and epoch == ARGV[6] and offset < tonumber(ARGV[7]) then
    epoch, offset = fresh_epoch, 0
    redis.call('HSET', KEYS[1], 'epoch', epoch, 'offset', 0)
    redis.call('DEL', KEYS[2])
    redis.call('PUBLISH', channel, 'r:' .. epoch)
  end
  return epoch, offset
end

-- Append one event; returns its offset. The stream, the counter and the live copy agree because
-- nobody else runs meanwhile.
local function append(event)
  local epoch, offset = position()
  offset = offset + 1
  redis.call('HSET', KEYS[1], 'offset', offset)
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', log_max_events, offset .. '-0', 'e', event)
  redis.call('PEXPIRE', KEYS[2], log_ttl_ms)
  redis.call('PUBLISH', channel, 'e:' .. epoch .. ':' .. offset .. ':' .. event)
  return epoch, offset
end

local function run_key(run_id)
  return KEYS[1] .. ':run:' .. run_id
end

-- The run that is going on, with all its text so far, as JSON; false if there is none.
local function active_run()
  local run_id = redis.call('HGET', KEYS[1], 'active_run')
  if not run_id then
    return false
  end
  local run = redis.call('HMGET', run_key(run_id), 'agent', 'message_id', 'status')
  return '{"run_id":"' .. run_id .. '","agent":"' .. run[1] .. '","message_id":"' .. run[2] ..
    '","text":"' .. (redis.call('GET', run_key(run_id) .. ':text') or '') .. '","status":"' ..
    run[3] .. '"}'
end

-- The interrupts that can still be answered: {"<run>|<interrupt id>", interrupt (lua/runs.lua), …}.
local function pending_interrupts()
  local all, pending, now = redis.call('HGETALL', KEYS[1] .. ':interrupts'), {}, now_ms()
  for i = 1, #all, 2 do
    if tonumber(string.match(all[i + 1], '^%d+')) >= now then
      pending[#pending + 1] = all[i]
      pending[#pending + 1] = all[i + 1]
    end
  end
  return pending
end

local function append_joined(who, who_json, role, at_ms)
  redis.call('HSET', KEYS[5], who, role .. ':' .. string.format('%.0f', at_ms))
  return append('{"type":"PARTICIPANT_JOINED","subject":' .. who_json .. ',"role":"' .. role .. '"}')
end
