-- Cancel a run: it ends here and now, with the text it has so far; its worker finds out.
-- arg run_id: which
-- arg kept (number): how many context versions
-- Returns {'not_found'}, {'forbidden'} or {'ok', the run's terminal status}
local role = role_of(subject)
if not role then
  return {'not_found'}
end
if not may(role, 'cancel_run') then
  return {'forbidden'}
end
local status = redis.call('HGET', run_key(run_id), 'status')
if not status then
  return {'not_found'}
end
if not TERMINAL[status] then
  end_run(run_id, 'cancelled', cancelled_event(run_id), 'cancelled', kept)
  write_log()
  status = 'cancelled'
else
  write_log()
end
return {'ok', status}
