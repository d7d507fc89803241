-- Shared by the scripts that change the agent context during a run; comes after kept.lua.
--
-- In `context_key`: tools_bytes = "<how many of them>:<their bytes>"

local KEPT_TOOLS = 200
-- One may be as large as an event; so many, a context and questions of the largest size (256 KiB each)
-- are as much as an outbox takes.
local KEPT_TOOLS_BYTES = 524288

-- Write a new version of the agent context.
--   record: memory and workflow as one JSON object, with these two; nil if they stay as they are
local function set_version(record, memory, workflow, event_head, event_tail, by, kept)
  local version = tonumber(redis.call('HGET', context_key, 'version') or '0') + 1
  redis.call('HSET', context_key, 'version', version)
  if record then
    redis.call('HSET', context_key, 'memory', memory, 'workflow', workflow)
  end
  keep_version(version, record, by, kept)
  append(event_head .. version .. ',"baseVersion":' .. (version - 1) .. event_tail)
end

-- How many bytes the tool calls have that are kept: counted, or added up if the count is not of them.
local function tools_bytes(length)
  local of, bytes = string.match(redis.call('HGET', context_key, 'tools_bytes') or '', '^(%d+):(%d+)$')
  if tonumber(of) == length then
    return tonumber(bytes)
  end
  local sum = 0
  for _, record in ipairs(redis.call('LRANGE', tools_key, 0, -1)) do -- bound: 200 (KEPT_TOOLS)
    sum = sum + #record
  end
  return sum
end

-- Put a finished tool call into the history that the agent context shows. The oldest make room.
local function keep_tool(record, agent, kept)
  local length = redis.call('LLEN', tools_key)
  local bytes = tools_bytes(length) + #record
  length = redis.call('RPUSH', tools_key, record)
  while length > 1 and (length > KEPT_TOOLS or bytes > KEPT_TOOLS_BYTES) do -- bound: 200 (KEPT_TOOLS)
    bytes = bytes - #redis.call('LPOP', tools_key)
    length = length - 1
  end
  redis.call('HSET', context_key, 'tools_bytes', string.format('%d:%d', length, math.max(0, bytes)))
  if redis.call('HSTRLEN', context_key, 'tool_calls') > KEPT_TOOLS_BYTES then
    redis.call('HDEL', context_key, 'tool_calls') -- of an earlier version, which wrote all of them each time
  end
  set_version(nil, nil, nil, '{"type":"CONTEXT_UPDATED","version":',
    ',"patch":[{"op":"add","path":"/tool_calls/-","value":' .. record .. '}],"by":"agent:' ..
    agent .. '"}', 'agent:' .. agent, kept)
end
