-- Keep a run for its owner.
-- arg run_id: which
-- arg owner: of the attempt
-- arg lease_ms (number): how long it is good from now on
-- Returns 1, or 0 if this attempt does not own it any more.
if not is_owner(run_id, owner) then
  return {0}
end
redis.call('HDEL', run_key(run_id), 'waits_for')
redis.call('ZADD', leased_key, 'XX', now_ms() + lease_ms, queue_name(run_id))
return {1}
