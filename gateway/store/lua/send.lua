-- Accept one message, once: idempotency, membership, history, log, in one step.
-- ARGV 10 message id, 11 content hash, 12 message JSON up to its seq, 13 message JSON between seq
--      and created_at, 14 the rest, 15 '1' if the conversation is to be created when absent,
--      16 subject JSON
-- Returns {'accepted'|'duplicate', epoch, offset, seq}, {'conflict'}, {'forbidden'} or {'not_found'}.
local message_id = ARGV[10]
local exists = redis.call('EXISTS', KEYS[1]) == 1
if not exists and ARGV[15] ~= '1' then
  return {'not_found'}
end

if exists then
  local role = role_of(subject)
  if not role then
    return {'not_found'}
  end
  local known = redis.call('HGET', KEYS[4], message_id)
  if known then
    local seq, offset, epoch, content_hash = string.match(known, '^(%d+):(%d+):([^:]*):(.*)$')
    if content_hash ~= ARGV[11] then
      return {'conflict'}
    end
    return {'duplicate', epoch, tonumber(offset), tonumber(seq)}
  end
  if role == 'observer' then
    return {'forbidden'}
  end
end

local at = now_ms()
if not exists then
  redis.call('HSET', KEYS[1], 'epoch', fresh_epoch, 'offset', 0, 'seq', 0, 'version', 0,
    'title', 'null', 'visibility', 'private', 'metadata', '{}', 'created_by', subject,
    'created_hash', '', 'created_at', seconds(at))
  append('{"type":"CONVERSATION_CREATED","conversationId":"' .. conversation_id ..
    '","title":null,"by":' .. ARGV[16] .. '}')
  append_joined(subject, ARGV[16], 'owner', at)
end
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
local message = ARGV[12] .. seq .. ARGV[13] .. seconds(at) .. ARGV[14]
redis.call('RPUSH', KEYS[3], message)
local epoch, offset = append('{"type":"MESSAGE_CREATED","message":' .. message .. '}')
redis.call('HSET', KEYS[4], message_id, seq .. ':' .. offset .. ':' .. epoch .. ':' .. ARGV[11])
return {'accepted', epoch, offset, seq}
