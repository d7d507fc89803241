-- Make somebody a participant, change their role, or remove them.
-- KEYS 8 invites (lua/invites.lua), 9 banned (set of subjects who may not join by themselves),
--      10 invited (lua/members.lua), 11 tool calls (runs.lua)
-- ARGV 8 whom, 9 whom as JSON, 10 role, or '' to remove, 11 '1' to ban as well, 12 how many
--      participants there may be, 13 '1' to invite who takes no part, who is added else
-- Only owners do this to others; anybody may remove themselves. The last owner stays while others
-- do, so that no conversation is left without one. Giving a role lifts a ban.
-- Returns {'not_found'}, {'forbidden'}, {'last_owner'}, {'full'}, {'no_room'} or {'ok', 0|1 whether it
-- changed anything}
local MAX_BANNED = 1000 -- of a conversation
local role, mine, theirs = ARGV[10], role_of(subject), role_of(ARGV[8])
if not mine and role == '' and ARGV[8] == subject and redis.call('HDEL', KEYS[10], subject) == 1 then
  return {'ok', 1} -- declined
end
if not mine or not position() then
  return {'not_found'}
end
local what = ARGV[8] == subject and role == '' and 'leave_conversation' or
  role == '' and 'remove_participant' or 'add_participant'
if not may(mine, what) then
  return {'forbidden'}
end
local bans = ARGV[11] == '1' and redis.call('SISMEMBER', KEYS[9], ARGV[8]) == 0
local was_invited = redis.call('HEXISTS', KEYS[10], ARGV[8]) == 1
if (theirs or '') == role and not bans and not was_invited then
  write_log()
  return {'ok', 0}
end
if role ~= '' and not theirs and not was_invited and not has_room(KEYS[10], ARGV[12]) then
  return {'no_room'}
end

if theirs == 'owner' then
  local owners, others = 0, 0
  local members = redis.call('HGETALL', KEYS[5]) -- bound: members
  for i = 2, #members, 2 do -- bound: members
    if string.sub(members[i], 1, 6) == 'owner:' then owners = owners + 1 else others = others + 1 end
  end
  if owners == 1 and (others > 0 or role ~= '') then
    return {'last_owner'}
  end
end
if bans and redis.call('SCARD', KEYS[9]) >= MAX_BANNED then
  return {'full'}
end

be_of_this_reign()
if bans then
  redis.call('SADD', KEYS[9], ARGV[8])
elseif role ~= '' then
  redis.call('SREM', KEYS[9], ARGV[8])
end
if theirs and may(theirs, 'create_invite') and not (role ~= '' and may(role, 'create_invite')) then
  end_invites_of(ARGV[8])
end
if role ~= '' and not theirs and ARGV[13] == '1' then
  invite(KEYS[10], ARGV[8], role, now_ms())
  write_log()
  return {'ok', 1}
end
redis.call('HDEL', KEYS[10], ARGV[8])
if role ~= '' then
  local old = redis.call('HGET', KEYS[5], ARGV[8]) or ':added'
  append_joined(ARGV[8], ARGV[9], role, now_ms(), hidden_to(ARGV[8], KEYS[11]),
    string.find(old, ':added', 1, true))
elseif theirs then
  redis.call('HDEL', KEYS[5], ARGV[8])
  append('{"type":"PARTICIPANT_LEFT","subject":' .. ARGV[9] .. '}')
end -- of who is banned and takes no part the log does not tell
write_log()
return {'ok', 1}
