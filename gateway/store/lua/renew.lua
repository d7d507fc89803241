-- Keep a run for its owner.
-- ARGV 8 run id, 9 owner, 10 lease in ms
-- Returns 1, or 0 if this attempt does not own it any more.
if not is_owner(ARGV[8], ARGV[9]) then
  return {0}
end
redis.call('HDEL', run_key(ARGV[8]), 'waits_for')
redis.call('ZADD', KEYS[9], 'XX', now_ms() + tonumber(ARGV[10]), queue_name(ARGV[8]))
return {1}
