-- Accept messages of one author, each once: idempotency, membership, history, log, in one step.
-- args drafts: message id, content hash, message JSON after created_at
-- Returns {'not_found'}, or {epoch, offset and seq of the first that is new, then for each message
--   1 if it is new, 0 if its author may not send, or what `ids` knows of it already}
if not position() then
  return {'not_found'}
end
local member = redis.call('HGET', members_key, subject)
if not member then
  return {'not_found'}
end
local may_write = may(string.match(member, '^(%a+):'), 'send_message')
local reply = {epoch, offset + 1, seq + 1}

if #ARGV < drafts_at + drafts_each and may_write then -- one: the commonest by far, and cheaper without tables
  local message_id = ARGV[drafts_at]
  local message, known = accept(message_id, ARGV[drafts_at + 1], ARGV[drafts_at + 2], seconds(now_ms()), '')
  if redis.call('HSETNX', ids_key, message_id, known) == 0 then
    reply[4] = redis.call('HGET', ids_key, message_id)
    events = {}
    write_log()
    return reply
  end
  redis.call('RPUSH', history_key, message)
  write_log()
  reply[1], reply[4] = epoch, 1 -- it may be the first of its epoch
  return reply
end

local ids = {}
for i = drafts_at, #ARGV, drafts_each do -- bound: 64 (MAX_TOGETHER)
  ids[#ids + 1] = ARGV[i]
end
local known, at = redis.call('HMGET', ids_key, unpack(ids)), seconds(now_ms()) -- bound: 64 (MAX_TOGETHER)
local messages, new, accepted = {}, {}, {}
for i = 1, #ids do -- bound: 64 (MAX_TOGETHER)
  local message_id, arg = ids[i], drafts_at + drafts_each * (i - 1)
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
  redis.call('RPUSH', history_key, unpack(messages)) -- bound: 64 (MAX_TOGETHER)
  redis.call('HSET', ids_key, unpack(new)) -- bound: 64 (MAX_TOGETHER)
  write_log()
  reply[1] = epoch
else
  write_log()
end
return reply
