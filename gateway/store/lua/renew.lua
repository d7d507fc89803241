-- Keep a run for its owner.
-- ARGV 9 run id, 10 owner, 11 lease in ms
-- Returns 1, or 0 if this attempt does not own it any more.
if not is_owner(ARGV[9], ARGV[10]) then
  return {0}
end
redis.call('ZADD', KEYS[9], 'XX', now_ms() + tonumber(ARGV[11]), queue_name(ARGV[9]))
return {1}
