-- Accept one message, once: idempotency, membership, history, log, in one step.
-- ARGV 10 message id, 11 content hash, 12 message JSON up to its seq, 13 message JSON between seq
--      and created_at, 14 the rest, 15 '1' if the conversation is to be created when absent,
--      16 subject JSON, 17 run id ('' for no run), 18 agent, 19 reject, enqueue or interrupt,
--      20 message id of the reply, 21 the run's input JSON, 22 its time limit in ms, 23 how many
--      context versions are kept
-- Returns {'accepted'|'duplicate', epoch, offset, seq, run id it started or ''}, {'conflict'}, {'forbidden'}, {'not_found'} or
--      {'run_active'}.
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
    local seq, offset, epoch, content_hash, old_run =
      string.match(known, '^(%d+):(%d+):([^:]*):([^:]*):?(.*)$')
    if content_hash ~= ARGV[11] then
      return {'conflict'}
    end
    return {'duplicate', epoch, tonumber(offset), tonumber(seq), old_run}
  end
  if role == 'observer' then
    return {'forbidden'}
  end
end

local run_id = ARGV[17]
local active = run_id ~= '' and redis.call('HGET', KEYS[1], 'active_run')
if active and ARGV[19] == 'reject' then
  return {'run_active'}
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
redis.call('HSET', KEYS[4], message_id,
  table.concat({seq, offset, epoch, ARGV[11], run_id}, ':'))
if run_id ~= '' then
  create_run(run_id, ARGV[18], ARGV[20], ARGV[21], ARGV[22], ARGV[19] == 'interrupt')
  if active and ARGV[19] == 'interrupt' then
    end_run(active, 'cancelled', cancelled_event(active), 'cancelled', tonumber(ARGV[23]))
  end
end
return {'accepted', epoch, offset, seq, run_id}
