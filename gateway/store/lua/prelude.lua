-- Shared by every script that touches a conversation.
--
-- KEYS  1 conversation (hash: epoch, offset, seq, log_until, version, title, visibility, metadata,
--         created_at, created_by, created_hash, active_run), 2 log (list of event JSON, a message
--         that was created as its JSON alone; the last one is the event at `offset`), 3 history
--         (list, index = seq - 1, message JSON, '' once deleted), 4 ids (hash, message id =
--         "<seq>:<offset>:<epoch>:<content hash>:<run id>"), 5 members (hash, subject =
--         "<role>:<joined_at ms>", what follows another colon means nothing),
--       6 context (hash: version, memory, workflow, tool_calls), 7 versions (hash, version = JSON)
-- ARGV  1 clock offset in ms, 2 log_max_events, 3 log_ttl in ms, 4 a fresh epoch, 5 and 6 the epoch
--       and offset this replica has heard, 7 subject who asks ('' for the system); a script's own
--       begin at 8
--
-- What is live is published on <conversation>:live, as one of
--   e:<epoch>:<offset>:<event>                                  one event
--   b:<epoch>:<offset of the first>:<bytes>,<bytes>,…:<events>  several, one after the other
--   r:<epoch>                                                   the log begins anew
--   w:<connection>:<push>                                       a whisper, which is not kept
--
-- with events as the log holds them. The user's JSON is never parsed here: it is spliced as text, so
-- nothing is changed in passing.
--
-- What costs time here: every Lua string is hashed from end to end when it is made, so large ones
-- are made as seldom as can be; numbers are slow to become text, so they do once; and Redis looks
-- through a small hash from its beginning, up to 512 fields, unless a value in it is long.

local TABLE_FROM = 64 -- fields; then a hash is made a table, with a value of
local TABLE_BYTES = 65 -- which is more than hash-max-listpack-value
local TRIM_AFTER = 64 -- events beyond log_max_events: trimming costs the same for one or for many
local WRITE_AT_ONCE = 1000 -- events in one call: Lua's stack holds some thousands

local subject = ARGV[7]
local time -- of this script, once it was asked for
local epoch, offset, seq, log_until -- of the conversation, once `position` has read them
local events = {} -- appended, not written yet

local function now_ms()
  time = time or redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
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

-- The epoch and offset of the log; nothing if there is no such conversation. If this replica has
-- heard more than Redis holds, Redis lost what clients have seen (a failover): the log begins anew,
-- in a fresh epoch, and readers get snapshots.
local function position()
  if epoch then
    return epoch, offset
  end
  local state = redis.call('HMGET', KEYS[1], 'epoch', 'offset', 'seq', 'log_until')
  if not state[1] then
    return
  end
  epoch, offset, seq, log_until = state[1], tonumber(state[2]), tonumber(state[3]), state[4]
  if epoch == ARGV[5] and offset < tonumber(ARGV[6]) then
    epoch, offset = ARGV[4], 0
    redis.call('HSET', KEYS[1], 'epoch', epoch, 'offset', 0)
    redis.call('DEL', KEYS[2])
    redis.call('PUBLISH', KEYS[1] .. ':live', 'r:' .. epoch)
  end
  return epoch, offset
end

-- Append one event; returns its epoch and offset. `write_log` must follow before the script ends.
local function append(event)
  position()
  offset = offset + 1
  events[#events + 1] = event
  return epoch, offset
end

local function next_seq()
  position()
  seq = seq + 1
  if seq == TABLE_FROM then
    redis.call('HSET', KEYS[4], ':', string.rep('.', TABLE_BYTES)) -- no message has this id
  end
  return string.format('%d', seq)
end

local function publish(last)
  local count = #events
  if count == 1 then
    redis.call('PUBLISH', KEYS[1] .. ':live', 'e:' .. epoch .. ':' .. last .. ':' .. events[1])
    return
  end
  local sizes = {}
  for i = 1, count do
    sizes[i] = #events[i]
  end
  redis.call('PUBLISH', KEYS[1] .. ':live', 'b:' .. epoch .. ':' ..
    string.format('%d', offset - count + 1) .. ':' .. table.concat(sizes, ',') .. ':' ..
    table.concat(events))
end

-- Keep the log for log_ttl after this event, at least. The expiry is set anew only when it has run
-- down by as much as it was set too long: a tenth.
local function keep_log(is_new)
  time = time or redis.call('TIME')
  local now, ttl = time[1] * 1000, tonumber(ARGV[3])
  local left = tonumber(log_until or 0) - now
  if is_new or left < ttl then
    local longer = math.floor(ttl * 1.1) + 1000 -- the second that `now` leaves out
    log_until = string.format('%d', now + longer)
    redis.call('PEXPIRE', KEYS[2], string.format('%d', longer))
    redis.call('HSET', KEYS[1], 'log_until', log_until)
  end
end

-- Write what was appended: the log, the counters and the live copy agree because nobody else runs
-- meanwhile.
local function write_log()
  local count = #events
  if count == 0 then
    return
  end
  local last, length = string.format('%d', offset)
  redis.call('HSET', KEYS[1], 'offset', last, 'seq', string.format('%d', seq))
  if count == 1 then
    length = redis.call('RPUSH', KEYS[2], events[1])
  else
    for i = 1, count, WRITE_AT_ONCE do
      length = redis.call('RPUSH', KEYS[2], unpack(events, i, math.min(count, i + WRITE_AT_ONCE - 1)))
    end
  end
  keep_log(length == count)
  if length > ARGV[2] + TRIM_AFTER then
    redis.call('LTRIM', KEYS[2], '-' .. ARGV[2], '-1')
  end
  publish(last)
  events = {}
end

local function run_key(run_id)
  return KEYS[1] .. ':run:' .. run_id
end

local function conversation_id()
  return string.match(KEYS[1], '^.*:(.*)$')
end
