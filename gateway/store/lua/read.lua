-- Where readers of one conversation stand, and what they lack, at one position of the log. Comes after
-- state.lua, joining.lua, pages.lua.
-- arg cursor_epoch: of the readers' cursors, '' for none
-- arg lowest (number): the offset of the cursor that lies lowest
-- arg highest (number): and highest
-- arg max_events (number): how many to return at most
-- arg snapshot_messages (number): how many a snapshot holds
-- arg none_lacks (flag): nobody lacks events (a snapshot they may)
-- arg max_bytes (number): of the events, and of the messages (one of each there may be in any case)
-- args readers: each subject once
-- Returns {'not_found'}, or {epoch, offset, {for each subject 1 if it takes part, 0 if it does not, or what
--   it does not see (joining.lua)}, offset before the first event, {{event JSON, …}, …}, snapshot or
--   false, epochs}, the events those after the lowest cursor that the log reaches back to. `epochs` are
--   those that ended, from the cursors' own on, as prelude.lua writes them; '' if theirs is the present
--   one. A snapshot is for cursors of an epoch that is not known, beyond its end, before the events, or
--   before what a reader sees: {has_more, {message JSON, …}, {version, memory, workflow, tool_calls},
--   active run JSON or false, {its name, interrupt, …}}
local FEW, MANY = 16, 64 -- events that are read at once: how large they are is not known before
if not position() then
  return {'not_found'}
end
local takes_part, somebody, unseen = {}, false, 0
if #ARGV == readers_at then
  local member = ARGV[readers_at] == '' or redis.call('HGET', members_key, ARGV[readers_at])
  local hidden = member and member ~= true and not_seen(member)
  takes_part[1] = hidden or member and 1 or 0
  somebody, unseen = member, hidden and tonumber(string.match(hidden, '^%d+%.(%d+)')) or 0
else
  local members = redis.call('HMGET', members_key, unpack(ARGV, readers_at)) -- bound: 500 (MAX_READERS)
  for i = 1, #members do -- bound: 500 (MAX_READERS)
    local is_member = members[i] or ARGV[readers_at - 1 + i] == ''
    local hidden = members[i] and not_seen(members[i])
    takes_part[i] = hidden or is_member and 1 or 0
    somebody = somebody or is_member
    if hidden then
      unseen = math.max(unseen, tonumber(string.match(hidden, '^%d+%.(%d+)')))
    end
  end
end
local reply = {epoch, offset, takes_part, offset, {}, false, ''}
if cursor_epoch == '' or not somebody then
  return reply
end

-- Up to where the cursors' epoch is this log's; false if it is not known.
local good_to = cursor_epoch == epoch and offset
if not good_to and not string.find(cursor_epoch, '[,:]') then
  local kept = redis.call('HGET', conversation_key, 'epochs') or ''
  local at = string.find(',' .. kept, ',' .. cursor_epoch .. ':', 1, true) -- it may hold '-'
  if at then
    reply[7] = string.sub(kept, at)
    good_to = tonumber(string.match(reply[7], '^:(%d+)', #cursor_epoch + 1))
  end
end

local low, high = lowest, highest
if good_to and low <= good_to then
  local first, lacking = low, offset - low
  local most, most_bytes = max_events, max_bytes
  if none_lacks then
    lacking = 0
  elseif lacking > 0 then
    -- Not more than there is: a log that is shorter gives what it has from its beginning.
    local wanted = math.min(lacking, most, FEW)
    local some = redis.call('LRANGE', log_key, -lacking, wanted - lacking - 1) -- bound: 16 (FEW)
    if #some < wanted then
      lacking = redis.call('LLEN', log_key)
      first = offset - lacking
      some = redis.call('LRANGE', log_key, 0, FEW - 1) -- bound: 16 (FEW)
    end
    local lists, count, bytes = {}, 0, 0
    most = math.min(most, lacking)
    while true do -- bound: 512 (PAGE_EVENTS twice)
      for i = 1, #some do -- bound: 64 (MANY)
        bytes = bytes + #some[i]
        if bytes >= most_bytes then
          some = {unpack(some, 1, i)} -- bound: 64 (MANY)
          break
        end
      end
      lists[#lists + 1], count = some, count + #some
      if count >= most or bytes >= most_bytes then
        break
      end
      wanted = math.min(MANY, most - count, math.ceil((most_bytes - bytes) * count / bytes))
      some = redis.call('LRANGE', log_key, count - lacking, count + wanted - lacking - 1) -- bound: 64 (MANY)
    end
    reply[4], reply[5] = first, lists
  end
  if high <= good_to and first == low and low >= unseen then
    return reply
  end
end

local messages, _, has_more = messages_from(math.huge, -1, snapshot_messages, max_bytes, 1)
local context = redis.call('HMGET', context_key, 'version', 'memory', 'workflow')
context[4] = tool_calls()
reply[6] = {has_more and 1 or 0, messages, context, active_run(), pending_interrupts()}
return reply
