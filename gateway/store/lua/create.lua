-- Create a conversation.
-- key invited_key: hash (members.lua)
-- arg created_hash: of what is created
-- arg title: JSON
-- arg visibility: open or private
-- arg metadata: JSON
-- arg subject_json: who asks
-- arg invites (flag): the participants are invited; else they are added
-- arg history: 'all' or 'from_joining'
-- args participants: subject, subject JSON
-- Returns {'created', epoch, offset}, {'exists', epoch, offset} for a retry by its creator,
--      {'conflict'}, or {'taken'} if the subject may not know by what
if position() then
  local old = redis.call('HMGET', conversation_key, 'created_by', 'created_hash', 'visibility')
  local role = role_of(subject)
  if old[1] == subject and old[2] == created_hash and role then
    write_log()
    return {'exists', epoch, offset}
  end
  return {(role or old[1] == subject or old[3] == 'open') and 'conflict' or 'taken'}
end

local at = now_ms()
found(title, visibility, metadata, subject_json, created_hash)
if history ~= 'all' then
  redis.call('HSET', conversation_key, 'history', history)
end
for i = participants_at, #ARGV, participants_each do -- bound: 1000 (participants)
  if ARGV[i] ~= subject then
    if invites then
      invite(invited_key, ARGV[i], 'member', at)
    else
      append_joined(ARGV[i], ARGV[i + 1], 'member', at, '', true)
    end
  end
end
write_log()
return {'created', epoch, offset}
