-- Create a conversation.
-- KEYS 8 invited (lua/members.lua)
-- ARGV 8 hash of what is created, 9 title JSON, 10 visibility, 11 metadata JSON,
--      12 subject JSON, 13 '1' to invite the participants, who are added else, 14 history ('all' or
--      'from_joining'), then pairs of participant and participant JSON
-- Returns {'created', epoch, offset}, {'exists', epoch, offset} for a retry by its creator,
--      {'conflict'}, or {'taken'} if the subject may not know by what
local created_hash = ARGV[8]
if position() then
  local old = redis.call('HMGET', KEYS[1], 'created_by', 'created_hash', 'visibility')
  local role = role_of(subject)
  if old[1] == subject and old[2] == created_hash and role then
    write_log()
    return {'exists', epoch, offset}
  end
  return {(role or old[1] == subject or old[3] == 'open') and 'conflict' or 'taken'}
end

local at = now_ms()
found(ARGV[9], ARGV[10], ARGV[11], ARGV[12], created_hash)
if ARGV[14] ~= 'all' then
  redis.call('HSET', KEYS[1], 'history', ARGV[14])
end
for i = 15, #ARGV, 2 do -- bound: 1000 (participants)
  if ARGV[i] ~= subject then
    if ARGV[13] == '1' then
      invite(KEYS[8], ARGV[i], 'member', at)
    else
      append_joined(ARGV[i], ARGV[i + 1], 'member', at, '', true)
    end
  end
end
write_log()
return {'created', epoch, offset}
