-- Accept one message, once, and what comes with it: its conversation, if there is none, and a run.
-- arg message_id: which
-- arg content_hash: of it
-- arg rest: message JSON after created_at
-- arg may_create (flag): the conversation, if there is none
-- arg subject_json: who asks
-- arg run_id: '' for no run
-- arg agent: that is to run
-- arg if_running: reject, enqueue or interrupt
-- arg reply_id: message id of the reply
-- arg input: of the run, JSON
-- arg timeout_ms: its time limit
-- arg kept (number): how many context versions
-- arg max_waiting: runs of a conversation that wait
-- arg max_of_subject: its open runs in this shard
-- arg max_of_tenant: its open runs in this shard
-- Returns {epoch, offset, seq, 1} if it is new, or what `ids` knows of it in place of the 1;
--      {'forbidden'}, {'not_found'}, {'run_active'}, or {'too_many_runs', conversation, subject or tenant}.
local exists = position()
if not exists and not may_create then
  return {'not_found'}
end

if exists then
  local role = role_of(subject)
  if not role then
    return {'not_found'}
  end
  local known = redis.call('HGET', ids_key, message_id)
  if known then
    write_log()
    return {epoch, 0, 0, known}
  end
  if not may(role, 'send_message') then
    return {'forbidden'}
  end
end

local active = run_id ~= '' and redis.call('HGET', conversation_key, 'active_run')
if active and if_running == 'reject' then
  return {'run_active'}
end
local full = run_id ~= '' and too_many_runs(active and if_running ~= 'interrupt', max_waiting, max_of_subject, max_of_tenant)
if full then
  return {'too_many_runs', full}
end

if not exists then
  found('null', 'private', '{}', subject_json, '')
end
local message, value = accept(message_id, content_hash, rest, seconds(now_ms()), run_id)
local reply = {epoch, offset, seq, 1}
redis.call('RPUSH', history_key, message)
redis.call('HSET', ids_key, message_id, value)
if run_id ~= '' then
  create_run(run_id, agent, reply_id, input, timeout_ms, if_running == 'interrupt')
  if active and if_running == 'interrupt' then
    end_run(active, 'cancelled', cancelled_event(active), 'cancelled', kept)
  end
end
write_log()
return reply
