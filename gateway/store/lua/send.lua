-- Accept one message, once, and what comes with it: its conversation, if there is none, and a run.
-- ARGV 9 message id, 10 content hash, 11 message JSON after created_at, 12 '1' if the conversation
--      is to be created when absent, 13 subject JSON, 14 run id ('' for no run), 15 agent,
--      16 reject, enqueue or interrupt, 17 message id of the reply, 18 the run's input JSON, 19 its
--      time limit in ms, 20 how many context versions are kept
-- Returns {epoch, offset, seq, 1} if it is new, or what `ids` knows of it in place of the 1;
--      {'forbidden'}, {'not_found'} or {'run_active'}.
local message_id, run_id = ARGV[9], ARGV[14]
local exists = position()
if not exists and ARGV[12] ~= '1' then
  return {'not_found'}
end

if exists then
  local role = role_of(subject)
  if not role then
    return {'not_found'}
  end
  local known = redis.call('HGET', KEYS[4], message_id)
  if known then
    return {epoch, 0, 0, known}
  end
  if role == 'observer' then
    return {'forbidden'}
  end
end

local active = run_id ~= '' and redis.call('HGET', KEYS[1], 'active_run')
if active and ARGV[16] == 'reject' then
  return {'run_active'}
end

if not exists then
  found('null', 'private', '{}', ARGV[13], '')
end
local message, value = accept(message_id, ARGV[10], ARGV[11], seconds(now_ms()), run_id)
local reply = {epoch, offset, seq, 1}
redis.call('RPUSH', KEYS[3], message)
redis.call('HSET', KEYS[4], message_id, value)
if run_id ~= '' then
  create_run(run_id, ARGV[15], ARGV[17], ARGV[18], ARGV[19], ARGV[16] == 'interrupt')
  if active and ARGV[16] == 'interrupt' then
    end_run(active, 'cancelled', cancelled_event(active), 'cancelled', tonumber(ARGV[20]))
  end
end
write_log()
return reply
