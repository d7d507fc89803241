-- Shared by the scripts that bring somebody into a conversation; comes after prelude.lua,
-- joining.lua.
--
-- In the scripts that have it, `invited` is a hash: a subject who may become a participant by
-- themselves = "<role>:<invited at ms>:<by whom>". It and the members together have no more lines than
-- the conversation may have participants.

local TOOL_HASH = 12 -- characters

-- What somebody who joins now is not to see (joining.lua), as a part of the member's value: '' for
-- nothing. Who takes part already keeps theirs.
--   tools: the key of the finished tool calls
local function hidden_to(who, tools)
  if redis.call('HGET', conversation_key, 'history') ~= 'from_joining' then
    return ''
  end
  local member = redis.call('HGET', members_key, who)
  if member then
    local hidden = not_seen(member)
    return hidden and ':' .. hidden or ''
  end
  local tool = redis.call('LINDEX', tools, -1)
  return string.format(':%d.%d.%d.%s', seq, offset, redis.call('HGET', context_key, 'version') or 0,
    tool and string.sub(redis.sha1hex(tool), 1, TOOL_HASH) or '-')
end

-- Whoever is `added` has not come by themselves: nobody is told whether they are online.
local function append_joined(who, who_json, role, at_ms, hidden, is_added)
  be_of_this_reign()
  local member = role .. ':' .. string.format('%.0f', at_ms) .. hidden
  if redis.call('HLEN', members_key) == TABLE_FROM then
    member = member .. ':' .. string.rep('.', TABLE_BYTES)
  end
  redis.call('HSET', members_key, who, is_added and member .. ':added' or member)
  return append('{"type":"PARTICIPANT_JOINED","subject":' .. who_json .. ',"role":"' .. role .. '"}')
end

local function invite(invited_key, who, role, at_ms)
  redis.call('HSET', invited_key, who, role .. ':' .. string.format('%.0f', at_ms) .. ':' .. subject)
end

local function has_room(invited_key, most)
  return redis.call('HLEN', members_key) + redis.call('HLEN', invited_key) < tonumber(most)
end

-- Make the conversation, with the subject as its owner.
local function found(title, visibility, metadata, who_json, hash)
  local at = now_ms()
  epoch, offset, seq, is_of_this_reign = reign(seen_reign, seen_until_ms) .. new_birth .. '1', 0, 0, true
  -- What every script reads stands first: that is where Redis looks first.
  redis.call('HSET', conversation_key, 'epoch', epoch, 'offset', 0, 'seq', 0, 'log_until', 0, 'version', 0, 'title', title, 'visibility', visibility,
    'metadata', metadata, 'created_by', subject, 'created_hash', hash, 'created_at', seconds(at))
  append('{"type":"CONVERSATION_CREATED","conversationId":"' .. conversation_id() .. '","title":' ..
    title .. ',"by":' .. who_json .. '}')
  append_joined(subject, who_json, 'owner', at, '')
end
