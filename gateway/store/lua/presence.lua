-- Tell a conversation who came and went: nothing of it is kept.
-- arg connection: that need not hear it, '' for none
-- args told: subject, push JSON
-- Returns how many of them take part by their own doing (lua/members.lua); the others' are dropped
local pushes = {}
for i = told_at, #ARGV, told_each do -- bound: 500 (TOLD_AT_ONCE)
  local member = redis.call('HGET', members_key, ARGV[i])
  if member and not string.find(member, ':added', 1, true) then
    pushes[#pushes + 1] = ARGV[i + 1]
  end
end
if pushes[1] then
  redis.pcall('PUBLISH', conversation_key .. ':live', 'w:' .. connection .. ':' .. table.concat(pushes, '\n'))
end
return #pushes
