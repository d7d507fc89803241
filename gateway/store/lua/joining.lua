-- Shared by the scripts that show what was before; comes after prelude.lua.
--
-- A conversation made with `history` 'from_joining' keeps, with each member who joined later, what there
-- was by then: "<role>:<joined_at ms>:<seq>.<offset>.<context version>.<tool call>", the last a hash of
-- the newest finished one ('-' for none). They see nothing of before. All others have no such part.

-- What a member does not see, as it is kept; false if they see all. (Such a part makes a member's value
-- longer than any other is.)
local function not_seen(member)
  return #member > 23 and string.match(member, '^%a+:%d+:(%d+%.%d+%.%d+%.[%x-]+)') or false
end
