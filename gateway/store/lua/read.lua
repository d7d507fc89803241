-- Where readers of one conversation stand, and what they lack, at one position of the log. Comes after
-- state.lua, joining.lua, pages.lua.
-- KEYS 9 deleted (deleted.lua)
-- ARGV 8 and 9 the epoch and offset of the cursor that lies lowest ('' for none), 10 the offset of
--      the one that lies highest, all of that epoch; 11 how many events to return at most, 12 how
--      many messages a snapshot holds, 13 '1' if nobody lacks events (a snapshot they may), 14 of how
--      many bytes the events and the messages are, at most (one of each there may be in any case), then
--      the readers' subjects, each once
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
if #ARGV == 15 then
  local member = ARGV[15] == '' or redis.call('HGET', KEYS[5], ARGV[15])
  local hidden = member and member ~= true and not_seen(member)
  takes_part[1] = hidden or member and 1 or 0
  somebody, unseen = member, hidden and tonumber(string.match(hidden, '^%d+%.(%d+)')) or 0
else
  local members = redis.call('HMGET', KEYS[5], unpack(ARGV, 15)) -- bound: 500 (MAX_READERS)
  for i = 1, #members do -- bound: 500 (MAX_READERS)
    local is_member = members[i] or ARGV[14 + i] == ''
    local hidden = members[i] and not_seen(members[i])
    takes_part[i] = hidden or is_member and 1 or 0
    somebody = somebody or is_member
    if hidden then
      unseen = math.max(unseen, tonumber(string.match(hidden, '^%d+%.(%d+)')))
    end
  end
end
local reply = {epoch, offset, takes_part, offset, {}, false, ''}
if ARGV[8] == '' or not somebody then
  return reply
end

-- Up to where the cursors' epoch is this log's; false if it is not known.
local good_to = ARGV[8] == epoch and offset
if not good_to and not string.find(ARGV[8], '[,:]') then
  local kept = redis.call('HGET', KEYS[1], 'epochs') or ''
  local at = string.find(',' .. kept, ',' .. ARGV[8] .. ':', 1, true) -- it may hold '-'
  if at then
    reply[7] = string.sub(kept, at)
    good_to = tonumber(string.match(reply[7], '^:(%d+)', #ARGV[8] + 1))
  end
end

local lowest, highest = tonumber(ARGV[9]), tonumber(ARGV[10])
if good_to and lowest <= good_to then
  local first, lacking = lowest, offset - lowest
  local most = tonumber(ARGV[11])
  if ARGV[13] == '1' then
    lacking = 0
  elseif lacking > 0 then
    -- Not more than there is: a log that is shorter gives what it has from its beginning.
    local wanted, max_bytes = math.min(lacking, most, FEW), tonumber(ARGV[14])
    local some = redis.call('LRANGE', KEYS[2], -lacking, wanted - lacking - 1) -- bound: 16 (FEW)
    if #some < wanted then
      lacking = redis.call('LLEN', KEYS[2])
      first = offset - lacking
      some = redis.call('LRANGE', KEYS[2], 0, FEW - 1) -- bound: 16 (FEW)
    end
    local lists, count, bytes = {}, 0, 0
    most = math.min(most, lacking)
    while true do -- bound: 512 (PAGE_EVENTS twice)
      for i = 1, #some do -- bound: 64 (MANY)
        bytes = bytes + #some[i]
        if bytes >= max_bytes then
          some = {unpack(some, 1, i)} -- bound: 64 (MANY)
          break
        end
      end
      lists[#lists + 1], count = some, count + #some
      if count >= most or bytes >= max_bytes then
        break
      end
      wanted = math.min(MANY, most - count, math.ceil((max_bytes - bytes) * count / bytes))
      some = redis.call('LRANGE', KEYS[2], count - lacking, count + wanted - lacking - 1) -- bound: 64 (MANY)
    end
    reply[4], reply[5] = first, lists
  end
  if highest <= good_to and first == lowest and lowest >= unseen then
    return reply
  end
end

local messages, _, has_more = messages_from(KEYS[9], math.huge, -1, tonumber(ARGV[12]), tonumber(ARGV[14]), 1)
local context = redis.call('HMGET', KEYS[6], 'version', 'memory', 'workflow')
context[4] = tool_calls()
reply[6] = {has_more and 1 or 0, messages, context, active_run(), pending_interrupts()}
return reply
