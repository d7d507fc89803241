-- Append what a run did, and renew its lease: refused if this attempt does not own it any more.
-- ARGV 10 run id, 11 owner, 12 lease in ms, 13 number of this batch (1, 2 …), 14 how many context
--      versions are kept, 15 context version the batch was made for ('' if it changes none),
--      then fives of kind, event JSON, and up to three more:
--        event     –
--        text      the delta as the inside of a JSON string
--        open_tool tool call id (as the inside of a JSON string), its record's JSON up to its end
--        end_tool  tool call id, its record's end, result JSON (for the journal)
--        context   memory JSON, workflow JSON, patch JSON
--        journal   step name, result JSON  (its event may be '')
--        reset     message id of the text that follows
-- A batch is applied once: its number tells a repeat whose reply was lost. One that does not follow
-- the last is refused: Redis lost what came between (a failover), and the text would have a hole.
-- Returns 'ok', 'lost' or {'moved', version}
local run_id, owner, kept = ARGV[10], ARGV[11], tonumber(ARGV[14])
if not is_owner(run_id, owner) then
  return 'lost'
end
local key = run_key(run_id)
local number, last = tonumber(ARGV[13]), tonumber(redis.call('HGET', key, 'batch'))
if number > last + 1 then
  return 'lost'
end
redis.call('ZADD', KEYS[9], 'XX', now_ms() + tonumber(ARGV[12]), queue_name(run_id))
if number <= last then
  return 'ok'
end
if ARGV[15] ~= '' then
  local version = tonumber(redis.call('HGET', KEYS[6], 'version') or '0')
  if version ~= tonumber(ARGV[15]) then
    return {'moved', version}
  end
end
redis.call('HSET', key, 'batch', ARGV[13])
local agent = redis.call('HGET', key, 'agent')

for i = 16, #ARGV, 5 do
  local kind, event, a, b, c = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  if kind == 'text' then
    if redis.call('HGET', key, 'text_open') ~= '1' then
      redis.call('HSET', key, 'text_open', 1)
      append('{"type":"TEXT_MESSAGE_START","messageId":"' .. redis.call('HGET', key, 'message_id') ..
        '","role":"assistant"}')
    end
    redis.call('APPEND', key .. ':text', a)
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
    set_version(a, b, nil, '{"memory":' .. a .. ',"workflow":' .. b .. '}',
      '{"type":"CONTEXT_UPDATED","version":', ',"patch":' .. c .. ',"by":"agent:' .. agent .. '"}',
      'agent:' .. agent, kept)
  elseif kind == 'journal' then
    redis.call('HSET', key .. ':journal', a, b)
    if event ~= '' then
      append(event)
    end
  elseif kind == 'reset' then
    for _, id in ipairs(redis.call('HKEYS', key .. ':tools')) do
      append('{"type":"TOOL_CALL_RESULT","messageId":"' .. id .. '_r","toolCallId":"' .. id ..
        '","content":"interrupted","role":"tool"}')
    end
    if redis.call('HGET', key, 'text_open') == '1' then
      append('{"type":"TEXT_MESSAGE_END","messageId":"' .. redis.call('HGET', key, 'message_id') .. '"}')
    end
    redis.call('DEL', key .. ':text', key .. ':tools')
    redis.call('HSET', key, 'text_open', 0, 'message_id', a)
    append(event)
  else
    append(event)
  end
end
return 'ok'
