-- Tell a conversation who came and went: nothing of it is kept.
-- ARGV 8 the connection that need not hear it ('' for none), then pairs of subject and push JSON
-- Returns how many of them take part by their own doing (lua/members.lua); the others' are dropped
local pushes = {}
for i = 9, #ARGV, 2 do -- bound: 500 (TOLD_AT_ONCE)
  local member = redis.call('HGET', KEYS[5], ARGV[i])
  if member and not string.find(member, ':added', 1, true) then
    pushes[#pushes + 1] = ARGV[i + 1]
  end
end
if pushes[1] then
  redis.pcall('PUBLISH', KEYS[1] .. ':live', 'w:' .. ARGV[8] .. ':' .. table.concat(pushes, '\n'))
end
return #pushes
