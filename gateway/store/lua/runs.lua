-- Shared by every script that changes a run; comes after tools.lua.
--
-- key line_key: zset, all of score 0, "<tenant>:<subject>:<since ms>:<conversation>:<run>" to be claimed:
--   runs of one tenant, and of one subject of it, stand together, the oldest first
-- key leased_key: zset, "<tenant>:<conversation>:<run>" by when the lease ends
-- key waiting_key: list, runs of the conversation that wait their turn
-- key tools_key: list, the newest finished tool calls of the conversation, JSON
-- key interrupts_key: hash, "<run>|<interrupt id>" = "<deadline ms>|<run>|<agent>|<its id for the
--   agent>|<interrupt JSON>", unanswered; what respond.lua keeps of a run that asked several things
--   begins with "0|"
-- key absent_key: one that never is (keys.py, absent): while the slot of a cluster moves, no script runs
-- key open_key: zset, all of score 0, "<tenant>:<subject>:<conversation>:<run>" of all that have not ended
-- A run's own keys are made here, in the conversation's slot:
--   <conversation>:run:<run id> (hash: agent, status, message_id, by (the subject who asked, quoted),
--     since (ms, when it was accepted), owner, batch, attempt, deaths (of workers that had it), held ('1' while it waits for further answers), waits_for (agent,
--     worker, takeover), input, started, text_open, text_from, timeout, deadline, ended_by, ended_at), :text (string, the reply so far, as the inside of a JSON
--     string), :tools (hash, open tool calls: id = JSON of the record up to its end), :journal (hash,
--     completed steps)
-- status: waiting, ready, running, and then once and for ever success, interrupt, cancelled, failed

local RUN_KEPT_MS = 3600000 -- how long a run that ended can still be asked about
local TERMINAL = {success = true, interrupt = true, cancelled = true, failed = true}

local function queue_name(run_id)
  local tenant, conversation = string.match(conversation_key, '^[^}]*}:([^:]+):c:(.+)$')
  return tenant .. ':' .. conversation .. ':' .. run_id
end

-- A subject as the names of lines hold it: as in keys.py, without a colon.
local function quoted(who)
  return (string.gsub(who, '[^%w_.@+~-]', function(char) -- bound: 128 (characters of a subject)
    return string.format('%%%02X', string.byte(char))
  end))
end

-- The names of a run in `line_key` and `open_key`. One that an earlier version recorded has no subject.
local function names_of(run_id, by, since)
  local tenant, conversation = string.match(conversation_key, '^[^}]*}:([^:]+):c:(.+)$')
  local subject_of = tenant .. ':' .. (by or '') .. ':'
  return subject_of .. (since or '0') .. ':' .. conversation .. ':' .. run_id,
    subject_of .. conversation .. ':' .. run_id
end

local function names(run_id)
  local run = redis.call('HMGET', run_key(run_id), 'by', 'since')
  return names_of(run_id, run[1], run[2])
end

local function tell_workers(what)
  redis.pcall('PUBLISH', string.match(line_key, '^(.-):{') .. ':wake', what)
end

local function wake(run_id)
  redis.call('ZADD', line_key, 0, (names(run_id)))
  tell_workers('ready:' .. string.match(line_key, '{s(%d+)}'))
end

local function make_ready(run_id)
  redis.call('HSET', conversation_key, 'active_run', run_id)
  redis.call('HSET', run_key(run_id), 'status', 'ready')
  wake(run_id)
end

local function start_next()
  redis.call('HDEL', conversation_key, 'active_run')
  local run_id = redis.call('LPOP', waiting_key)
  if run_id then
    make_ready(run_id)
  end
end

local function record_run(run_id, agent, message_id, input, timeout_ms)
  local by, since = quoted(subject), string.format('%.0f', server_ms())
  redis.call('HSET', run_key(run_id), 'agent', agent, 'message_id', message_id, 'input', input,
    'status', 'waiting', 'attempt', 0, 'batch', 0, 'timeout', timeout_ms, 'by', by, 'since', since)
  redis.call('ZADD', open_key, 0, (select(2, names_of(run_id, by, since))))
end

-- Give a run its turn: now, next, or last.
local function line_up(run_id, first)
  if redis.call('HEXISTS', conversation_key, 'active_run') == 0 then
    make_ready(run_id)
  elseif first then
    redis.call('LPUSH', waiting_key, run_id)
  else
    redis.call('RPUSH', waiting_key, run_id)
  end
end

local function create_run(run_id, agent, message_id, input, timeout_ms, first)
  record_run(run_id, agent, message_id, input, timeout_ms)
  line_up(run_id, first)
end

-- Give its turn to a run that was held for answers (respond.lua), unless it has it already.
local function release_held(run_id)
  redis.call('ZREM', leased_key, queue_name(run_id))
  redis.call('ZREM', line_key, (names(run_id)))
  if redis.call('HDEL', run_key(run_id), 'held') == 1 then
    line_up(run_id, true)
  end
end

-- End a run, whoever does it: nothing it began is left open, its text is in the history before the
-- terminal event is in the log, and the conversation's next run is ready.
--   status: terminal; event: the terminal event's JSON; message_status: complete, cancelled, failed
local function end_run(run_id, status, event, message_status, kept)
  be_of_this_reign()
  local key = run_key(run_id)
  local run = redis.call('HMGET', key, 'message_id', 'agent', 'started', 'text_open', 'by', 'since',
    'text_from')
  local message_id, agent = run[1], run[2]
  if not run[3] then
    append('{"type":"RUN_STARTED","threadId":"' .. conversation_id() .. '","runId":"' .. run_id .. '"}')
  end
  local open = redis.call('HGETALL', key .. ':tools') -- bound: run
  for i = 1, #open, 2 do -- bound: run
    append('{"type":"TOOL_CALL_RESULT","messageId":"' .. open[i] .. '_r","toolCallId":"' .. open[i] ..
      '","content":"interrupted","role":"tool"}')
    keep_tool(open[i + 1] .. ',"status":"interrupted","result":null}', agent, kept)
  end
  if run[4] == '1' then
    append('{"type":"TEXT_MESSAGE_END","messageId":"' .. message_id .. '"}')
  end
  local text = redis.call('GET', key .. ':text')
  if text then
    local number = next_seq()
    local message = '{"message_id":"' .. message_id .. '","seq":' .. number ..
      ',"role":"assistant","author":"agent:' .. agent .. '","content":"' .. text ..
      '","created_at":' .. seconds(now_ms()) .. ',"run_id":"' .. run_id .. '","status":"' ..
      message_status .. '"}'
    redis.call('RPUSH', history_key, message)
    local epoch, offset = append(message)
    local where = run[7] and run[7] ~= '' and ':::' .. run[7] .. '-' .. offset or ':' -- blanking.lua
    redis.call('HSET', ids_key, message_id, number .. ':' .. offset .. ':' .. epoch .. where)
  end
  append(event)
  tell_workers('ended:' .. run_id)
  redis.call('HSET', key, 'status', status, 'ended_at', seconds(now_ms()))
  redis.call('HDEL', key, 'owner', 'input')
  redis.call('PEXPIRE', key, RUN_KEPT_MS)
  redis.call('DEL', key .. ':text', key .. ':tools', key .. ':journal')
  redis.call('ZREM', leased_key, queue_name(run_id))
  local line, open_run = names_of(run_id, run[5], run[6])
  redis.call('ZREM', line_key, line)
  redis.call('ZREM', open_key, open_run)
  if redis.call('HGET', conversation_key, 'active_run') == run_id then
    start_next()
  else
    redis.call('LREM', waiting_key, 1, run_id) -- bound: ready
  end
end

local function cancelled_event(run_id)
  return '{"type":"RUN_FINISHED","threadId":"' .. conversation_id() .. '","runId":"' .. run_id ..
    '","outcome":{"type":"cancelled"}}'
end

local function is_owner(run_id, owner)
  local run = redis.call('HMGET', run_key(run_id), 'status', 'owner')
  return run[1] == 'running' and run[2] == owner
end
