-- What is kept of an interrupt that nobody has answered (runs.lua, `interrupts_key`).
-- key interrupts_key: hash (runs.lua)
-- arg interrupt_id: which
-- arg asked_by: the run
-- Returns {'not_found'} or {'ok', that, false if there is none}
if not role_of(subject) then
  return {'not_found'}
end
return {'ok', redis.call('HGET', interrupts_key, asked_by .. '|' .. interrupt_id)}
