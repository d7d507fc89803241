-- Accept one message, once, and what comes with it: its conversation, if there is none, and a run.
-- ARGV 8 message id, 9 content hash, 10 message JSON after created_at, 11 '1' if the conversation
--      is to be created when absent, 12 subject JSON, 13 run id ('' for no run), 14 agent,
--      15 reject, enqueue or interrupt, 16 message id of the reply, 17 the run's input JSON, 18 its
--      time limit in ms, 19 how many context versions are kept, 20 how many runs of a conversation may
--      wait, 21 how many of its subject, and 22 of its tenant, may be open in this shard
-- Returns {epoch, offset, seq, 1} if it is new, or what `ids` knows of it in place of the 1;
--      {'forbidden'}, {'not_found'}, {'run_active'}, or {'too_many_runs', conversation, subject or tenant}.
local message_id, run_id = ARGV[8], ARGV[13]
local exists = position()
if not exists and ARGV[11] ~= '1' then
  return {'not_found'}
end

if exists then
  local role = role_of(subject)
  if not role then
    return {'not_found'}
  end
  local known = redis.call('HGET', KEYS[4], message_id)
  if known then
    write_log()
    return {epoch, 0, 0, known}
  end
  if not may(role, 'send_message') then
    return {'forbidden'}
  end
end

local active = run_id ~= '' and redis.call('HGET', KEYS[1], 'active_run')
if active and ARGV[15] == 'reject' then
  return {'run_active'}
end
local full = run_id ~= '' and too_many_runs(active and ARGV[15] ~= 'interrupt', ARGV[20], ARGV[21], ARGV[22])
if full then
  return {'too_many_runs', full}
end

if not exists then
  found('null', 'private', '{}', ARGV[12], '')
end
local message, value = accept(message_id, ARGV[9], ARGV[10], seconds(now_ms()), run_id)
local reply = {epoch, offset, seq, 1}
redis.call('RPUSH', KEYS[3], message)
redis.call('HSET', KEYS[4], message_id, value)
if run_id ~= '' then
  create_run(run_id, ARGV[14], ARGV[16], ARGV[17], ARGV[18], ARGV[15] == 'interrupt')
  if active and ARGV[15] == 'interrupt' then
    end_run(active, 'cancelled', cancelled_event(active), 'cancelled', tonumber(ARGV[19]))
  end
end
write_log()
return reply
