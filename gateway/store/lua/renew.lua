-- Keep a run for its owner.
-- ARGV 10 run id, 11 owner, 12 lease in ms
-- Returns 1, or 0 if this attempt does not own it any more.
if not is_owner(ARGV[10], ARGV[11]) then
  return {0}
end
redis.call('ZADD', KEYS[9], 'XX', now_ms() + tonumber(ARGV[12]), queue_name(ARGV[10]))
return {1}
