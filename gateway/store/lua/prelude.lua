-- Shared by every script that touches a conversation.
--
-- key conversation_key: hash (epoch, offset, seq, log_until, version, title, visibility, metadata,
--   created_at, created_by, created_hash, active_run, epochs)
-- key log_key: list of event JSON, a message that was created as its JSON alone; the last one is the
--   event at `offset`
-- key history_key: list, index = seq - 1, message JSON, '' once deleted
-- key ids_key: hash, message id = "<seq>:<offset>:<epoch>:<content hash>:<run id>"
-- key members_key: hash, subject = "<role>:<joined_at ms>", and ":added" behind, if others did that
--   (members.lua); what else follows another colon means nothing
-- key context_key: hash (version, memory, workflow, tool_calls)
-- key versions_key: hash, version = JSON
-- arg clock_offset_ms: of tests, else 0
-- arg log_max_events: how many the log keeps at least
-- arg log_ttl_ms: for how long, after its last event
-- arg seen_reign: the reign that the link saw last
-- arg seen_until_ms: until when it may be believed, by the server's clock
-- arg new_birth: 6 random characters of a conversation that this script may make, else ''
-- arg subject: who asks, '' for the system
--
-- epoch   <reign, 8 characters><birth, 6 characters><1, 2, 3 … of the conversation>
-- epochs  "<epoch>:<offset at which it ended>,…", the newest last
--
-- What is live is published on <conversation>:live, as one of
--   e:<epoch>:<offset>:<event>                                  one event
--   b:<epoch>:<offset of the first>:<bytes>,<bytes>,…:<events>  several, one after the other
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
local REIGN_CHARS, BIRTH_CHARS = 8, 6 -- of an epoch's name
local KEPT_EPOCHS = 16 -- that ended; a reader who stands in an older one gets a snapshot

local epoch, offset, seq, log_until -- of the conversation, once `position` has read them
local is_of_this_reign = false -- the epoch, once that was seen
local ended_epochs -- to be written with the first event of an epoch that this script begins
local events = {} -- appended, not written yet

local function now_ms()
  return server_ms() + clock_offset_ms
end

local function seconds(ms)
  return string.format('%.3f', ms / 1000)
end

local function role_of(who)
  if who == '' then -- the gateway itself; no client has an empty subject
    return 'owner'
  end
  local member = redis.call('HGET', members_key, who)
  return member and string.match(member, '^(%a+):')
end

-- The epoch and offset of the log; nothing if there is no such conversation.
local function position()
  if epoch then
    return epoch, offset
  end
  local state = redis.call('HMGET', conversation_key, 'epoch', 'offset', 'seq', 'log_until')
  if not state[1] then
    return
  end
  epoch, offset, seq, log_until = state[1], tonumber(state[2]), tonumber(state[3]), state[4]
  return epoch, offset
end

-- See that what is appended now is written under this server's reign. If another wrote the epoch so
-- far, the log goes on at the next offset under another name, and it is remembered where the epoch
-- ended: what that other writes after this has the old name, and is never taken for what follows. It
-- is written with the first event, so that no epoch is empty.
-- A script that writes anything else before its first event calls it before that: it fails where a
-- user may not ask for the reign (ACL), and then nothing is done.
local function be_of_this_reign()
  if is_of_this_reign or not position() then
    return
  end
  is_of_this_reign = true
  local of_reign = reign(seen_reign, seen_until_ms)
  if string.find(epoch, of_reign, 1, true) == 1 then
    return
  end
  local birth = string.sub(epoch, REIGN_CHARS + 1, REIGN_CHARS + BIRTH_CHARS)
  local number = tonumber(string.sub(epoch, REIGN_CHARS + BIRTH_CHARS + 1))
  if not number then -- named by an earlier version
    birth, number = string.sub(redis.sha1hex(epoch), 1, BIRTH_CHARS), 0
  end
  local kept = {}
  for ended in string.gmatch(redis.call('HGET', conversation_key, 'epochs') or '', '[^,]+') do -- bound: 16 (KEPT_EPOCHS)
    kept[#kept + 1] = ended
  end
  kept[#kept + 1] = epoch .. ':' .. string.format('%d', offset)
  epoch = of_reign .. birth .. string.format('%d', number + 1)
  ended_epochs = table.concat(kept, ',', math.max(1, #kept - KEPT_EPOCHS + 1))
end

-- Append one event; returns its epoch and offset. `write_log` must follow before the script ends.
local function append(event)
  if not is_of_this_reign then
    be_of_this_reign()
  end
  offset = offset + 1
  events[#events + 1] = event
  return epoch, offset
end

local function next_seq()
  position()
  seq = seq + 1
  if seq == TABLE_FROM then
    redis.call('HSET', ids_key, ':', string.rep('.', TABLE_BYTES)) -- no message has this id
  end
  return string.format('%d', seq)
end

-- A user who may not publish (ACL) is refused after all was written: that is no failure of the script.
local function publish(last)
  local count = #events
  if count == 1 then
    redis.pcall('PUBLISH', conversation_key .. ':live', 'e:' .. epoch .. ':' .. last .. ':' .. events[1])
    return
  end
  local sizes = {}
  for i = 1, count do -- bound: events
    sizes[i] = #events[i]
  end
  redis.pcall('PUBLISH', conversation_key .. ':live', 'b:' .. epoch .. ':' ..
    string.format('%d', offset - count + 1) .. ':' .. table.concat(sizes, ',') .. ':' ..
    table.concat(events))
end

-- Keep the log for log_ttl after this event, at least. The expiry is set anew only when it has run
-- down by as much as it was set too long: a tenth.
local function keep_log(is_new)
  local now, ttl = server_ms(), tonumber(log_ttl_ms)
  local left = tonumber(log_until or 0) - now
  if is_new or left < ttl then
    local longer = math.floor(ttl * 1.1)
    log_until = string.format('%d', now + longer)
    redis.call('PEXPIRE', log_key, string.format('%d', longer))
    redis.call('HSET', conversation_key, 'log_until', log_until)
  end
end

-- Write what was appended: the log, the counters and the live copy agree because nobody else runs
-- meanwhile. If that is nothing, since this call was carried out before, something is written all the
-- same: WAIT and WAITAOF ask for what their own link wrote, and another one may have written that.
local function write_log()
  local count = #events
  if count == 0 then
    -- What a full Redis allows, too: the message is there, whatever else is not.
    local state = redis.call('HMGET', conversation_key, 'offset', 'log_until')
    local is_kept = tonumber(state[2] or 0) > server_ms()
    if is_kept and redis.call('PEXPIREAT', log_key, state[2]) == 1 then
      return
    end
    if state[1] then
      redis.call('HSET', conversation_key, 'offset', state[1])
    end
    return
  end
  local last, length = string.format('%d', offset)
  redis.call('HSET', conversation_key, 'offset', last, 'seq', string.format('%d', seq))
  if ended_epochs then
    redis.call('HSET', conversation_key, 'epoch', epoch, 'epochs', ended_epochs)
    ended_epochs = nil
  end
  if count == 1 then
    length = redis.call('RPUSH', log_key, events[1])
  else
    for i = 1, count, WRITE_AT_ONCE do -- bound: events
      local last_of_call = math.min(count, i + WRITE_AT_ONCE - 1)
      length = redis.call('RPUSH', log_key, unpack(events, i, last_of_call)) -- bound: 1000 (WRITE_AT_ONCE)
    end
  end
  keep_log(length == count)
  if length > log_max_events + TRIM_AFTER then
    redis.call('LTRIM', log_key, '-' .. log_max_events, '-1') -- bound: events
  end
  publish(last)
  events = {}
end
