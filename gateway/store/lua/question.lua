-- What is kept of an interrupt that nobody has answered (runs.lua, KEYS 12).
-- KEYS 8 interrupts
-- ARGV 8 interrupt id, 9 run that asked
-- Returns {'not_found'} or {'ok', that, false if there is none}
if not role_of(subject) then
  return {'not_found'}
end
return {'ok', redis.call('HGET', KEYS[8], ARGV[9] .. '|' .. ARGV[8])}
