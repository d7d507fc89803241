-- Cancel a run: it ends here and now, with the text it has so far; its worker finds out.
-- ARGV 8 run id, 9 how many context versions are kept
-- Returns {'not_found'}, {'forbidden'} or {'ok', the run's terminal status}
local role = role_of(subject)
if not role then
  return {'not_found'}
end
if not may(role, 'cancel_run') then
  return {'forbidden'}
end
local status = redis.call('HGET', run_key(ARGV[8]), 'status')
if not status then
  return {'not_found'}
end
if not TERMINAL[status] then
  end_run(ARGV[8], 'cancelled', cancelled_event(ARGV[8]), 'cancelled', tonumber(ARGV[9]))
  write_log()
  status = 'cancelled'
else
  write_log()
end
return {'ok', status}
