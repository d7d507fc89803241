-- Let another worker have a run at once: this one is stopping.
-- ARGV 10 run id, 11 owner
if is_owner(ARGV[10], ARGV[11]) then
  redis.call('HDEL', run_key(ARGV[10]), 'owner')
  redis.call('ZREM', KEYS[9], queue_name(ARGV[10]))
  wake(ARGV[10])
end
return {1}
