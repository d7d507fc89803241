-- Make somebody a participant, change their role, or remove them.
-- key banned_key: set of subjects who may not join by themselves
-- key invited_key: hash (members.lua)
-- key tools_key: the finished tool calls (runs.lua)
-- arg whom: the subject
-- arg whom_json: the same as JSON
-- arg role: '' to remove
-- arg ban (flag): as well
-- arg max_participants: of a conversation
-- arg invites (flag): who takes no part is invited; else added
-- Only owners do this to others; anybody may remove themselves. The last owner stays while others
-- do, so that no conversation is left without one. Giving a role lifts a ban.
-- Returns {'not_found'}, {'forbidden'}, {'last_owner'}, {'full'}, {'no_room'} or {'ok', 0|1 whether it
-- changed anything}
local MAX_BANNED = 1000 -- of a conversation
local mine, theirs = role_of(subject), role_of(whom)
if not mine and role == '' and whom == subject and redis.call('HDEL', invited_key, subject) == 1 then
  return {'ok', 1} -- declined
end
if not mine or not position() then
  return {'not_found'}
end
local what = whom == subject and role == '' and 'leave_conversation' or
  role == '' and 'remove_participant' or 'add_participant'
if not may(mine, what) then
  return {'forbidden'}
end
local bans = ban and redis.call('SISMEMBER', banned_key, whom) == 0
local was_invited = redis.call('HEXISTS', invited_key, whom) == 1
if (theirs or '') == role and not bans and not was_invited then
  write_log()
  return {'ok', 0}
end
if role ~= '' and not theirs and not was_invited and not has_room(invited_key, max_participants) then
  return {'no_room'}
end

if theirs == 'owner' then
  local owners, others = 0, 0
  local members = redis.call('HGETALL', members_key) -- bound: members
  for i = 2, #members, 2 do -- bound: members
    if string.sub(members[i], 1, 6) == 'owner:' then owners = owners + 1 else others = others + 1 end
  end
  if owners == 1 and (others > 0 or role ~= '') then
    return {'last_owner'}
  end
end
if bans and redis.call('SCARD', banned_key) >= MAX_BANNED then
  return {'full'}
end

be_of_this_reign()
if bans then
  redis.call('SADD', banned_key, whom)
elseif role ~= '' then
  redis.call('SREM', banned_key, whom)
end
if theirs and may(theirs, 'create_invite') and not (role ~= '' and may(role, 'create_invite')) then
  end_invites_of(whom)
end
if role ~= '' and not theirs and invites then
  invite(invited_key, whom, role, now_ms())
  write_log()
  return {'ok', 1}
end
redis.call('HDEL', invited_key, whom)
if role ~= '' then
  local old = redis.call('HGET', members_key, whom) or ':added'
  append_joined(whom, whom_json, role, now_ms(), hidden_to(whom, tools_key),
    string.find(old, ':added', 1, true))
elseif theirs then
  redis.call('HDEL', members_key, whom)
  append('{"type":"PARTICIPANT_LEFT","subject":' .. whom_json .. '}')
end -- of who is banned and takes no part the log does not tell
write_log()
return {'ok', 1}
