-- Tell a conversation who came and went: nothing of it is kept.
-- ARGV 8 the connection that need not hear it ('' for none), then pairs of subject and push JSON
-- Returns how many of them take part; the others' pushes are dropped
local pushes = {}
for i = 9, #ARGV, 2 do
  if role_of(ARGV[i]) then
    pushes[#pushes + 1] = ARGV[i + 1]
  end
end
if pushes[1] then
  redis.pcall('PUBLISH', KEYS[1] .. ':live', 'w:' .. ARGV[8] .. ':' .. table.concat(pushes, '\n'))
end
return #pushes
