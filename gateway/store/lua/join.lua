-- Become a participant: of an open conversation, with an invite, or where one was invited by name.
-- key banned_key: set of subjects who may not join by themselves
-- key invited_key: hash (members.lua)
-- key tools_key: the finished tool calls (runs.lua)
-- arg subject_json: who asks
-- arg invite_hash: of the invite's code, '' for none
-- arg max_participants: of a conversation
-- Returns {'joined'|'member', epoch, offset}, {'not_found'}, {'gone'} or {'no_room'}
if not position() then
  return {'not_found'}
end
local member = redis.call('HGET', members_key, subject)
if member then
  if string.find(member, ':added', 1, true) then
    redis.call('HSET', members_key, subject, (string.gsub(member, ':added', ''))) -- bound: 1 (of a value)
  end
  write_log()
  return {'member', epoch, offset}
end
be_of_this_reign()
if redis.call('SISMEMBER', banned_key, subject) == 1 then
  return {'not_found'}
end
local by_name = redis.call('HGET', invited_key, subject)
local role = by_name and string.match(by_name, '^%a+')
local code = invite_hash ~= '' and invite_of(invite_hash)
if invite_hash ~= '' then
  if not code then
    return {'not_found'}
  elseif not is_good(code) then
    return {'gone'}
  end
  role = code[4]
elseif not role and redis.call('HGET', conversation_key, 'visibility') == 'open' then
  role = 'member'
end
if not role then
  return {'not_found'}
end
if not by_name and not has_room(invited_key, max_participants) then
  return {'no_room'}
end
if code then
  use_up(code)
end
redis.call('HDEL', invited_key, subject)
append_joined(subject, subject_json, role, now_ms(), hidden_to(subject, tools_key))
write_log()
return {'joined', epoch, offset}
