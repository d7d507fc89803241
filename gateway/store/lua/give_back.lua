-- Let another worker have a run at once: this one is stopping.
-- arg run_id: which
-- arg owner: of the attempt
if is_owner(run_id, owner) then
  redis.call('HDEL', run_key(run_id), 'owner')
  redis.call('ZREM', leased_key, queue_name(run_id))
  wake(run_id)
end
return {1}
