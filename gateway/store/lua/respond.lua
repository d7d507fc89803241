-- Answer an interrupt, once: whoever is first starts the run that goes on with the answer.
-- KEYS 14 the answer to it, if one was given
-- ARGV 8 interrupt id, 9 run that asked, 10 run that goes on, 11 message id of its reply, 12 its
--      input JSON, 13 its time limit in ms
-- Returns {'not_found'}, {'forbidden'}, {'expired'} or {'ok', 1 if this answer counts, else 0}
local role = role_of(subject)
if not role then
  return {'not_found'}
end
if role == 'observer' then
  return {'forbidden'}
end
if redis.call('EXISTS', KEYS[14]) == 1 then
  vouch_again()
  return {'ok', redis.call('GET', KEYS[14]) == ARGV[10] and 1 or 0}
end
local field = ARGV[9] .. '|' .. ARGV[8]
local asked = redis.call('HGET', KEYS[12], field)
if not asked then
  return {'not_found'}
end
local deadline, agent = string.match(asked, '^(%d+)|[^|]+|([^|]+)|')
if now_ms() > tonumber(deadline) then
  return {'expired'}
end
redis.call('HDEL', KEYS[12], field)
redis.call('SET', KEYS[14], ARGV[10], 'PX', 3600000)
create_run(ARGV[10], agent, ARGV[11], ARGV[12], ARGV[13], true)
return {'ok', 1}
