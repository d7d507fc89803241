-- The versions of the agent context that are kept, the newest first, from the one on that was there
-- when the caller joined (seen.lua).
-- arg limit (number): how many, at most
-- Returns {'not_found'} or {'ok', {"<version>:<at>:<by>", …}}
if not position() or not role_of(subject) then
  return {'not_found'}
end
local version = tonumber(redis.call('HGET', context_key, 'version') or '0')
local found = {}
local oldest = math.max(version - limit + 1, first_version(subject))
for v = version, oldest, -1 do -- bound: 200 (history_page_max)
  local note = redis.call('HGET', versions_key, 'by:' .. v)
  if not note then
    break
  end
  found[#found + 1] = v .. ':' .. note
end
return {'ok', found}
