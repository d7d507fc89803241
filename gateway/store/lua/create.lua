-- Create a conversation.
-- ARGV 8 hash of what is created, 9 title JSON, 10 visibility, 11 metadata JSON,
--      12 subject JSON, then pairs of participant and participant JSON
-- Returns {'created', epoch, offset}, {'exists', epoch, offset} for a retry by its creator,
--      or {'conflict'}.
local created_hash = ARGV[8]
if position() then
  local old = redis.call('HMGET', KEYS[1], 'created_by', 'created_hash')
  if old[1] == subject and old[2] == created_hash and role_of(subject) then
    write_log()
    return {'exists', epoch, offset}
  end
  return {'conflict'}
end

local at = now_ms()
found(ARGV[9], ARGV[10], ARGV[11], ARGV[12], created_hash)
for i = 13, #ARGV, 2 do
  if ARGV[i] ~= subject then
    append_joined(ARGV[i], ARGV[i + 1], 'member', at)
  end
end
write_log()
return {'created', epoch, offset}
