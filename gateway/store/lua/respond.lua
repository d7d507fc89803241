-- Answer an interrupt, once: whoever is first. With the last answer a run begins that goes on with all.
-- KEYS 15 the answer to it, if one was given
-- ARGV 8 interrupt id, 9 run that asked, 10 run that goes on, 11 message id of its reply, 12 the answer
--      as JSON, 13 the run's input JSON up to its answers, 14 the rest of that, 15 its time limit in ms,
--      16 hash of who answers what, 17 '' if the answer fits whatever is asked, else the SHA-1 of what
--      is kept of the interrupt that it was checked against (question.lua), 18 how many bytes the answers
--      of the conversation may have that wait for others
-- While other interrupts of the run are open, the run that goes on is held. Fields of KEYS 12 meanwhile:
--   "<run>|=" = "0|<run that is held>", "<run>|=<interrupt id>" = "0|<its id for the agent>|<answer>"
-- It is on lease until after the last deadline: it then goes on without the answers that are missing.
-- Returns {'not_found'}, {'forbidden'}, {'expired'}, {'changed'} if it was checked against something else
--   than what is asked, {'too_large'} if there is no room for it, or {'ok', 1 if this answer counts, else 0}; a repeat
--   of the answer that counts does as well.
local role = role_of(subject)
if not role then
  return {'not_found'}
end
if not may(role, 'respond_to_interrupt') then
  return {'forbidden'}
end
if redis.call('EXISTS', KEYS[15]) == 1 then
  write_log()
  return {'ok', redis.call('GET', KEYS[15]) == ARGV[16] and 1 or 0}
end
local now, of_run = now_ms(), ARGV[9] .. '|'
local asked = redis.call('HGET', KEYS[12], of_run .. ARGV[8])
if not asked then
  return {'not_found'}
end
local deadline, agent = string.match(asked, '^(%d+)|[^|]+|([^|]+)|')
if now > tonumber(deadline) then
  return {'expired'}
end
if ARGV[17] ~= '' and redis.sha1hex(asked) ~= ARGV[17] then
  return {'changed'}
end
local all = redis.call('HGETALL', KEYS[12]) -- bound: interrupts
if answer_bytes(all) + #ARGV[12] > tonumber(ARGV[18]) then
  return {'too_large'}
end

-- The id that the agent gave it, and what follows that. Versions before had no other.
local function own_id(id, rest)
  local own, json = string.match(rest, '^([%w_-]+)|(.*)$')
  return own or id, json or rest
end

redis.call('HDEL', KEYS[12], of_run .. ARGV[8])
redis.call('HSET', KEYS[12], of_run .. '=' .. ARGV[8],
  '0|' .. own_id(ARGV[8], string.match(asked, '^%d+|[^|]+|[^|]+|(.*)$')) .. '|' .. ARGV[12])
redis.call('SET', KEYS[15], ARGV[16], 'PX', 3600000)

local answers, kept, open_until = {}, {}, nil -- by interrupt id; fields; the last deadline
local held = redis.call('HGET', KEYS[12], of_run .. '=')
all = redis.call('HGETALL', KEYS[12]) -- bound: interrupts
for i = 1, #all, 2 do -- bound: interrupts
  local field, value = all[i], all[i + 1]
  local id = string.sub(field, 1, #of_run) == of_run and string.sub(field, #of_run + 1)
  if id and string.sub(id, 1, 1) == '=' then
    kept[#kept + 1] = field
    if id ~= '=' then
      answers[#answers + 1] = {own_id(string.sub(id, 2), string.sub(value, 3))}
    end
  elseif id then
    local till = tonumber(string.match(value, '^%d+'))
    open_until = till >= now and math.max(open_until or 0, till) or open_until
    local own = own_id(id, string.match(value, '^%d+|[^|]+|[^|]+|(.*)$'))
    answers[#answers + 1] = {own, '{"status":"cancelled","payload":null}'}
  end
end
table.sort(answers, function(one, other) return one[1] < other[1] end)
for i = 1, #answers do -- bound: interrupts
  answers[i] = '{"interruptId":"' .. answers[i][1] .. '",' .. string.sub(answers[i][2], 2)
end
local input = ARGV[13] .. table.concat(answers, ',') .. ARGV[14]
local run_id = held and string.sub(held, 3) or ARGV[10]
if not held then
  record_run(run_id, agent, ARGV[11], input, ARGV[15])
  redis.call('HSET', run_key(run_id), 'held', 1)
elseif redis.call('HEXISTS', run_key(run_id), 'held') == 1 then
  redis.call('HSET', run_key(run_id), 'input', input)
end
if open_until then
  redis.call('HSET', KEYS[12], of_run .. '=', '0|' .. run_id)
  redis.call('ZADD', KEYS[9], string.format('%.0f', open_until + 1), queue_name(run_id))
else
  redis.call('HDEL', KEYS[12], unpack(kept)) -- bound: interrupts
  release_held(run_id)
end
return {'ok', 1}
