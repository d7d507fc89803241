-- Shared by the scripts that take the text of a message out of the log; comes after prelude.lua.
--
-- The entries stay, each at its offset, and say what the message became: in the place of its creation the
-- log has the message as it is now, or MESSAGE_DELETED; in the place of its earlier edits, and of the
-- deltas of a deleted reply, CUSTOM `text_removed`.
--
-- `ids` keeps where the text is besides, in the sixth part of its value, "<first offset>-<last>": the
-- newest edit, or from the first delta of a reply to its end. What an earlier version wrote has no such
-- part: then all that may hold it is looked through.

local SWEEP = 250 -- entries of the log that one script looks through

-- The parts of what `ids` knows of a message, of which there are six.
local function parts_of(known)
  local parts = {}
  for part in string.gmatch(known .. ':', '([^:]*):') do -- bound: 6 (parts of a value of ids)
    parts[#parts + 1] = part
  end
  for i = #parts + 1, 6 do -- bound: 6 (parts of a value of ids)
    parts[i] = ''
  end
  return parts
end

local function begins_with(text, head)
  return string.sub(text, 1, #head) == head
end

local function entry_at(at)
  return at <= offset and redis.call('LINDEX', log_key, at - offset - 1)
end

local function updated_event(message)
  local kind = redis.call('HGET', conversation_key, 'history') == 'from_joining' and '"history":"from_joining",' or ''
  return '{"type":"MESSAGE_UPDATED",' .. kind .. '"message":' .. message .. '}'
end

local function deleted_event(message_id)
  return '{"type":"MESSAGE_DELETED","messageId":"' .. message_id .. '"}'
end

-- Put something in the place of the message's creation.
local function blank_created(message_id, at, now)
  local entry = entry_at(at)
  if entry and begins_with(entry, '{"message_id":"' .. message_id .. '"') then
    redis.call('LSET', log_key, at - offset - 1, now)
  end
end

-- Take deltas and edits of a message out of a part of the log, but for one entry. Returns from where it
-- is to go on, nothing if that was all.
local function sweep(message_id, first, last, but)
  first = math.max(first, offset - redis.call('LLEN', log_key) + 1)
  last = math.min(last, offset)
  if first > last then
    return
  end
  local stop = math.min(last, first + SWEEP - 1)
  local removed = '{"type":"CUSTOM","name":"text_removed","value":{"messageId":"' .. message_id .. '"}}'
  local delta = '{"type":"TEXT_MESSAGE_CONTENT","messageId":"' .. message_id .. '"'
  local edited, of_it = '{"type":"MESSAGE_UPDATED",', '"message":{"message_id":"' .. message_id .. '"'
  local some = redis.call('LRANGE', log_key, first - offset - 1, stop - offset - 1) -- bound: 250 (SWEEP)
  for i = 1, #some do -- bound: 250 (SWEEP)
    local entry = some[i]
    if begins_with(entry, delta) or (entry ~= but and begins_with(entry, edited) and
      string.find(string.sub(entry, 1, 200), of_it, 1, true)) then
      redis.call('LSET', log_key, first + i - 2 - offset, removed)
    end
  end
  return stop < last and stop + 1 or nil
end

-- Where the log holds text of a message besides its creation.
--   present: the message, as it was before it is changed now
local function text_range(message_id, parts, present)
  local created = tonumber(parts[2])
  local first, last = string.match(parts[6], '^(%d+)-(%d+)$')
  if not string.find(present, '"edited_at":', 1, true) then
    if not first and string.find(present, '"role":"assistant"', 1, true) then
      return 1, created
    end
    return tonumber(first or 1), tonumber(last or 0)
  end
  if first and entry_at(tonumber(last)) == updated_event(present) then
    return tonumber(first), tonumber(last)
  end
  return tonumber(first or created), offset -- edited by an earlier version, at a place it did not note
end

-- Keep in `ids` where there still is text of a message.
local function keep_range(message_id, parts, first, last)
  parts[6] = first and string.format('%d-%d', first, last) or ''
  redis.call('HSET', ids_key, message_id, table.concat(parts, ':'))
end
