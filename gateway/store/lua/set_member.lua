-- Make somebody a participant, change their role, or remove them.
-- ARGV 8 whom, 9 whom as JSON, 10 role, or '' to remove
-- Only owners do this to others; anybody may remove themselves. The last owner stays while others
-- do, so that no conversation is left without one.
-- Returns {'not_found'}, {'forbidden'}, {'last_owner'} or {'ok', 0|1 whether it changed anything}
local mine, theirs = role_of(subject), role_of(ARGV[8])
if not mine or not position() then
  return {'not_found'}
end
local role = ARGV[10]
local what = ARGV[8] == subject and role == '' and 'leave_conversation' or
  role == '' and 'remove_participant' or 'add_participant'
if not may(mine, what) then
  return {'forbidden'}
end
if (theirs or '') == role then
  vouch_again()
  return {'ok', 0}
end

if theirs == 'owner' then
  local owners, others = 0, 0
  local members = redis.call('HGETALL', KEYS[5])
  for i = 2, #members, 2 do
    if string.sub(members[i], 1, 6) == 'owner:' then owners = owners + 1 else others = others + 1 end
  end
  if owners == 1 and (others > 0 or role ~= '') then
    return {'last_owner'}
  end
end

if role == '' then
  redis.call('HDEL', KEYS[5], ARGV[8])
  append('{"type":"PARTICIPANT_LEFT","subject":' .. ARGV[9] .. '}')
else
  append_joined(ARGV[8], ARGV[9], role, now_ms())
end
write_log()
return {'ok', 1}
