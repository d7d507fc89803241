-- Accept messages of one author, each once: idempotency, membership, history, log, in one step.
-- ARGV from 8 threes of message id, content hash, message JSON after created_at
-- Returns {'not_found'}, or {epoch, offset and seq of the first that is new, then for each message
--   1 if it is new, 0 if its author may not send, or what `ids` knows of it already}
if not position() then
  return {'not_found'}
end
local member = redis.call('HGET', KEYS[5], subject)
if not member then
  return {'not_found'}
end
local may_write = may(string.match(member, '^(%a+):'), 'send_message')
local reply = {epoch, offset + 1, seq + 1}

if #ARGV == 10 and may_write then -- one: the commonest by far, and cheaper without tables
  local message, known = accept(ARGV[8], ARGV[9], ARGV[10], seconds(now_ms()), '')
  if redis.call('HSETNX', KEYS[4], ARGV[8], known) == 0 then
    reply[4] = redis.call('HGET', KEYS[4], ARGV[8])
    events = {}
    write_log()
    return reply
  end
  redis.call('RPUSH', KEYS[3], message)
  write_log()
  reply[1], reply[4] = epoch, 1 -- it may be the first of its epoch
  return reply
end

local ids = {}
for i = 8, #ARGV, 3 do -- bound: 64 (MAX_TOGETHER)
  ids[#ids + 1] = ARGV[i]
end
local known, at = redis.call('HMGET', KEYS[4], unpack(ids)), seconds(now_ms()) -- bound: 64 (MAX_TOGETHER)
local messages, new, accepted = {}, {}, {}
for i = 1, #ids do -- bound: 64 (MAX_TOGETHER)
  local message_id, arg = ids[i], 3 * i + 5
  local first = known[i] or accepted[message_id]
  if first then
    reply[3 + i] = first
  elseif not may_write then
    reply[3 + i] = 0
  else
    local message, value = accept(message_id, ARGV[arg + 1], ARGV[arg + 2], at, '')
    messages[#messages + 1] = message
    new[#new + 1] = message_id
    new[#new + 1] = value
    accepted[message_id] = value
    reply[3 + i] = 1
  end
end
if #messages > 0 then
  redis.call('RPUSH', KEYS[3], unpack(messages)) -- bound: 64 (MAX_TOGETHER)
  redis.call('HSET', KEYS[4], unpack(new)) -- bound: 64 (MAX_TOGETHER)
  write_log()
  reply[1] = epoch
else
  write_log()
end
return reply
