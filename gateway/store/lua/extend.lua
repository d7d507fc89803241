-- Append what a run did, and renew its lease: refused if this attempt does not own it any more.
-- arg run_id: which
-- arg owner: of the attempt
-- arg lease_ms: how long it is good from now on
-- arg batch: its number (1, 2 …)
-- arg kept (number): how many context versions
-- arg made_for: context version the batch was made for, '' if it changes none
-- args changes: kind, event JSON, a, b, c
-- A batch is applied once: its number tells a repeat whose reply was lost. One that does not follow
-- the last is refused: Redis lost what came between (a failover), and the text would have a hole.
-- Returns 'ok', 'lost' or {'moved', version}
local key = run_key(run_id)
local run = redis.call('HMGET', key, 'status', 'owner', 'batch', 'agent', 'text_open', 'message_id',
  'waits_for')
if run[1] ~= 'running' or run[2] ~= owner then
  return 'lost'
end
local number, last = tonumber(batch), tonumber(run[3])
if number > last + 1 then
  return 'lost'
end
be_of_this_reign()
redis.call('ZADD', leased_key, 'XX', string.format('%.0f', now_ms() + lease_ms), queue_name(run_id))
if number <= last then
  write_log()
  return 'ok'
end
if run[7] then
  redis.call('HDEL', key, 'waits_for') -- it was silent for a while
end
if made_for ~= '' then
  local version = tonumber(redis.call('HGET', context_key, 'version') or '0')
  if version ~= tonumber(made_for) then
    return {'moved', version}
  end
end
local agent, text_open, message_id, said = run[4], run[5] or '0', run[6], {}
local text_from = '' -- the offset at which the text began, if it did in this batch

for i = changes_at, #ARGV, changes_each do -- bound: 1024 (MAX_WAITING twice)
  local kind, event, a, b, c = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  if kind == 'text' then
    if text_open ~= '1' then
      text_open = '1'
      append('{"type":"TEXT_MESSAGE_START","messageId":"' .. message_id ..
        '","role":"assistant","name":"agent:' .. agent .. '"}')
      text_from = string.format('%d', offset)
    end
    said[#said + 1] = a
    append(event)
  elseif kind == 'open_tool' then
    redis.call('HSET', key .. ':tools', a, b)
    append(event)
  elseif kind == 'end_tool' then
    local record = redis.call('HGET', key .. ':tools', a)
    append(event)
    redis.call('HSET', key .. ':journal', a, c)
    if record then
      redis.call('HDEL', key .. ':tools', a)
      keep_tool(record .. b, agent, kept)
    end
  elseif kind == 'context' then
    append(event)
    set_version('{"memory":' .. a .. ',"workflow":' .. b .. '}', a, b,
      '{"type":"CONTEXT_UPDATED","version":', ',"patch":' .. c .. ',"by":"agent:' .. agent .. '"}',
      'agent:' .. agent, kept)
  elseif kind == 'journal' then
    redis.call('HSET', key .. ':journal', a, b)
    if event ~= '' then
      append(event)
    end
  elseif kind == 'reset' then
    for _, id in ipairs(redis.call('HKEYS', key .. ':tools')) do -- bound: run
      append('{"type":"TOOL_CALL_RESULT","messageId":"' .. id .. '_r","toolCallId":"' .. id ..
        '","content":"interrupted","role":"tool"}')
    end
    if text_open == '1' then
      append('{"type":"TEXT_MESSAGE_END","messageId":"' .. message_id .. '"}')
    end
    redis.call('DEL', key .. ':text', key .. ':tools')
    text_open, message_id, said, text_from = '0', a, {}, ''
    append(event)
  else
    append(event)
  end
end
if said[1] then
  redis.call('APPEND', key .. ':text', table.concat(said))
end
if text_open == run[5] and message_id == run[6] then
  redis.call('HSET', key, 'batch', batch)
else
  redis.call('HSET', key, 'batch', batch, 'text_open', text_open, 'message_id', message_id,
    'text_from', text_from)
end
write_log()
return 'ok'
