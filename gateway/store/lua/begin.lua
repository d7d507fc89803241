-- Begin an attempt at a claimed run: from here on only its owner may append.
-- arg run_id: which
-- arg owner: of the attempt
-- arg lease_ms (number): how long it is good
-- arg until_ms (number): when the lease of the claim ends
-- arg max_deaths (number): of workers; then a run ends
-- arg given_up_event: terminal event JSON of one that ends so
-- arg kept (number): how many context versions
-- A repeat whose reply was lost is told by its owner, and is the same attempt.
-- Returns {'gone'} if it has ended or was claimed anew since, {'given_up'} if too many workers have died
--   with it, or {'begun', attempt, agent, message_id,
--   input, text so far, deadline ms, {open tool call ids}, now ms}
local key, name, now = run_key(run_id), queue_name(run_id), now_ms()
local run = redis.call('HMGET', key, 'status', 'timeout', 'deadline', 'deaths')
if not run[1] or TERMINAL[run[1]] then
  redis.call('ZREM', leased_key, name)
  return {'gone'}
end
if not is_owner(run_id, owner) then
  if tonumber(redis.call('ZSCORE', leased_key, name) or '0') ~= until_ms then
    return {'gone'} -- we were away for longer than the lease: it is another's
  end
  if redis.call('HEXISTS', key, 'held') == 1 then
    release_held(run_id) -- it is no turn of its own yet
    return {'gone'}
  end
  if tonumber(run[4] or '0') >= max_deaths then
    end_run(run_id, 'failed', given_up_event, 'failed', kept)
    write_log()
    return {'given_up'}
  end
  be_of_this_reign()
  redis.call('HSET', key, 'status', 'running', 'owner', owner, 'batch', 0,
    'deadline', run[3] or string.format('%.0f', now + tonumber(run[2])))
  redis.call('HDEL', key, 'waits_for')
  if redis.call('HINCRBY', key, 'attempt', 1) == 1 then
    redis.call('HSET', key, 'started', 1)
    append('{"type":"RUN_STARTED","threadId":"' .. conversation_id() .. '","runId":"' .. run_id .. '"}')
  end
end
redis.call('ZADD', leased_key, now + lease_ms, name)
write_log()
local begun = redis.call('HMGET', key, 'attempt', 'agent', 'message_id', 'input', 'deadline')
return {'begun', begun[1], begun[2], begun[3], begun[4], redis.call('GET', key .. ':text'), begun[5],
  redis.call('HKEYS', key .. ':tools'), now} -- bound: run
