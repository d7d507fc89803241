-- Create a conversation.
-- ARGV 10 hash of what is created, 11 title JSON, 12 visibility, 13 metadata JSON,
--      14 subject JSON, then pairs of participant and participant JSON
-- Returns {'created', epoch, offset}, {'exists', epoch, offset} for a retry by its creator,
--      or {'conflict'}.
local created_hash = ARGV[10]
if redis.call('EXISTS', KEYS[1]) == 1 then
  local old = redis.call('HMGET', KEYS[1], 'created_by', 'created_hash')
  if old[1] == subject and old[2] == created_hash and role_of(subject) then
    local epoch, offset = position()
    return {'exists', epoch, offset}
  end
  return {'conflict'}
end

local at = now_ms()
redis.call('HSET', KEYS[1], 'epoch', fresh_epoch, 'offset', 0, 'seq', 0, 'version', 0,
  'title', ARGV[11], 'visibility', ARGV[12], 'metadata', ARGV[13], 'created_by', subject,
  'created_hash', created_hash, 'created_at', seconds(at))
append('{"type":"CONVERSATION_CREATED","conversationId":"' .. conversation_id .. '","title":' ..
  ARGV[11] .. ',"by":' .. ARGV[14] .. '}')
local epoch, offset = append_joined(subject, ARGV[14], 'owner', at)
for i = 15, #ARGV, 2 do
  if ARGV[i] ~= subject then
    epoch, offset = append_joined(ARGV[i], ARGV[i + 1], 'member', at)
  end
end
return {'created', epoch, offset}
