-- Let another worker have a run at once: this one is stopping.
-- ARGV 9 run id, 10 owner
if is_owner(ARGV[9], ARGV[10]) then
  redis.call('HDEL', run_key(ARGV[9]), 'owner')
  redis.call('ZREM', KEYS[9], queue_name(ARGV[9]))
  wake(ARGV[9])
end
return {1}
