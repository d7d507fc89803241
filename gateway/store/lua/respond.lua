-- Answer an interrupt, once: whoever is first. With the last answer a run begins that goes on with all.
-- key answer_key: the answer to it, if one was given
-- arg interrupt_id: which
-- arg asked_by: the run
-- arg next_run_id: the run that goes on
-- arg reply_id: message id of its reply
-- arg answer: JSON
-- arg input_head: the run's input JSON up to its answers
-- arg input_tail: the rest of that
-- arg timeout_ms: its time limit
-- arg answer_hash: of who answers what
-- arg question_hash: '' if the answer fits whatever is asked, else the SHA-1 of what is kept of the
--   interrupt that it was checked against (question.lua)
-- arg max_bytes (number): of the answers of the conversation that wait for others
-- While other interrupts of the run are open, the run that goes on is held. Fields of `interrupts_key` meanwhile:
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
if redis.call('EXISTS', answer_key) == 1 then
  write_log()
  return {'ok', redis.call('GET', answer_key) == answer_hash and 1 or 0}
end
local now, of_run = now_ms(), asked_by .. '|'
local asked = redis.call('HGET', interrupts_key, of_run .. interrupt_id)
if not asked then
  return {'not_found'}
end
local deadline, agent = string.match(asked, '^(%d+)|[^|]+|([^|]+)|')
if now > tonumber(deadline) then
  return {'expired'}
end
if question_hash ~= '' and redis.sha1hex(asked) ~= question_hash then
  return {'changed'}
end
local all = redis.call('HGETALL', interrupts_key) -- bound: interrupts
if answer_bytes(all) + #answer > max_bytes then
  return {'too_large'}
end

-- The id that the agent gave it, and what follows that. Versions before had no other.
local function own_id(id, rest)
  local own, json = string.match(rest, '^([%w_-]+)|(.*)$')
  return own or id, json or rest
end

redis.call('HDEL', interrupts_key, of_run .. interrupt_id)
redis.call('HSET', interrupts_key, of_run .. '=' .. interrupt_id,
  '0|' .. own_id(interrupt_id, string.match(asked, '^%d+|[^|]+|[^|]+|(.*)$')) .. '|' .. answer)
redis.call('SET', answer_key, answer_hash, 'PX', 3600000)

local answers, kept, open_until = {}, {}, nil -- by interrupt id; fields; the last deadline
local held = redis.call('HGET', interrupts_key, of_run .. '=')
all = redis.call('HGETALL', interrupts_key) -- bound: interrupts
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
local input = input_head .. table.concat(answers, ',') .. input_tail
local run_id = held and string.sub(held, 3) or next_run_id
if not held then
  record_run(run_id, agent, reply_id, input, timeout_ms)
  redis.call('HSET', run_key(run_id), 'held', 1)
elseif redis.call('HEXISTS', run_key(run_id), 'held') == 1 then
  redis.call('HSET', run_key(run_id), 'input', input)
end
if open_until then
  redis.call('HSET', interrupts_key, of_run .. '=', '0|' .. run_id)
  redis.call('ZADD', leased_key, string.format('%.0f', open_until + 1), queue_name(run_id))
else
  redis.call('HDEL', interrupts_key, unpack(kept)) -- bound: interrupts
  release_held(run_id)
end
return {'ok', 1}
