-- A participant whom somebody else has added uses the conversation: from now on they are there by
-- their own doing.
-- Returns {'not_found'} or {'ok'}
local member = redis.call('HGET', members_key, subject)
if not member then
  return {'not_found'}
end
local own = string.gsub(member, ':added', '') -- bound: 1 (of a value)
if own ~= member then
  redis.call('HSET', members_key, subject, own)
end
return {'ok'}
