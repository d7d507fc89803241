-- Become a participant: of an open conversation, with an invite, or where one was invited by name.
-- KEYS 8 invites (lua/invites.lua), 9 banned (set of subjects), 10 invited (lua/members.lua),
--      11 tool calls (runs.lua)
-- ARGV 8 subject JSON, 9 hash of the invite's code, '' for none, 10 how many participants there may be
-- Returns {'joined'|'member', epoch, offset}, {'not_found'}, {'gone'} or {'no_room'}
if not position() then
  return {'not_found'}
end
local member = redis.call('HGET', KEYS[5], subject)
if member then
  if string.find(member, ':added', 1, true) then
    redis.call('HSET', KEYS[5], subject, (string.gsub(member, ':added', ''))) -- bound: 1 (of a value)
  end
  write_log()
  return {'member', epoch, offset}
end
be_of_this_reign()
if redis.call('SISMEMBER', KEYS[9], subject) == 1 then
  return {'not_found'}
end
local by_name = redis.call('HGET', KEYS[10], subject)
local role = by_name and string.match(by_name, '^%a+')
local code = ARGV[9] ~= '' and invite_of(ARGV[9])
if ARGV[9] ~= '' then
  if not code then
    return {'not_found'}
  elseif not is_good(code) then
    return {'gone'}
  end
  role = code[4]
elseif not role and redis.call('HGET', KEYS[1], 'visibility') == 'open' then
  role = 'member'
end
if not role then
  return {'not_found'}
end
if not by_name and not has_room(KEYS[10], ARGV[10]) then
  return {'no_room'}
end
if code then
  use_up(code)
end
redis.call('HDEL', KEYS[10], subject)
append_joined(subject, ARGV[8], role, now_ms(), hidden_to(subject, KEYS[11]))
write_log()
return {'joined', epoch, offset}
