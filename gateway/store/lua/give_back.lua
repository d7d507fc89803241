-- Let another worker have a run at once: this one is stopping.
-- ARGV 8 run id, 9 owner
if is_owner(ARGV[8], ARGV[9]) then
  redis.call('HDEL', run_key(ARGV[8]), 'owner')
  redis.call('ZREM', KEYS[9], queue_name(ARGV[8]))
  wake(ARGV[8])
end
return {1}
