-- The invites that can still be used.
-- Returns {'not_found'}, {'forbidden'} or {'ok', {{hash of the code, until ms, uses left, role, made at
--   ms, maker}, …}}
local role = role_of(subject)
if not role or not position() then
  return {'not_found'}
end
if not may(role, 'list_invites') then
  return {'forbidden'}
end
local good = {}
for _, invite in ipairs(kept_invites()) do -- bound: 200 (MAX_INVITES twice)
  if is_good(invite) then
    good[#good + 1] = invite
  end
end
return {'ok', good}
