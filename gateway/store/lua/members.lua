-- Shared by the scripts that bring somebody into a conversation; comes after prelude.lua.

local function append_joined(who, who_json, role, at_ms)
  redis.call('HSET', KEYS[5], who, role .. ':' .. string.format('%.0f', at_ms))
  return append('{"type":"PARTICIPANT_JOINED","subject":' .. who_json .. ',"role":"' .. role .. '"}')
end

-- Make the conversation, with the subject as its owner.
local function found(title, visibility, metadata, who_json, hash)
  local at = now_ms()
  epoch, offset, seq = ARGV[4], 0, 0
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'version', 0, 'title', title, 'visibility', visibility,
    'metadata', metadata, 'created_by', subject, 'created_hash', hash, 'created_at', seconds(at))
  append('{"type":"CONVERSATION_CREATED","conversationId":"' .. conversation_id() .. '","title":' ..
    title .. ',"by":' .. who_json .. '}')
  append_joined(subject, who_json, 'owner', at)
end
