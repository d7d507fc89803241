-- Shared by the scripts that write versions of the agent context; comes after prelude.lua.
--
-- Of `versions_key`: <version> = its record (memory and workflow as JSON); by:<version> = "<at>:<by>";
--   same:<version> = the version before it whose record it has too; at, oldest and bytes: the newest
--   version when these were written, the oldest that is kept, the bytes of all records.

-- Versions that are kept take no more, but the newest always is: 16 contexts of the largest size.
local KEPT_BYTES = 4194304

-- The oldest version that is kept, and the bytes of all; counted anew if another wrote meanwhile that
-- does not count: an earlier version of the gateway.
local function kept_before(version)
  local known = redis.call('HMGET', versions_key, 'at', 'oldest', 'bytes')
  if tonumber(known[1]) == version - 1 then
    return tonumber(known[2]), tonumber(known[3])
  end
  local oldest, bytes = version, 0
  while redis.call('HEXISTS', versions_key, 'by:' .. (oldest - 1)) == 1 do -- bound: versions
    oldest = oldest - 1
    bytes = bytes + redis.call('HSTRLEN', versions_key, oldest)
  end
  return oldest, bytes
end

-- Which version's record a version has.
local function record_of(version)
  return tonumber(redis.call('HGET', versions_key, 'same:' .. version) or version)
end

-- Forget the oldest version; its record stays while the next one has it too. Returns the bytes freed.
local function forget(version)
  local record, freed = record_of(version), 0
  if record_of(version + 1) ~= record then
    freed = redis.call('HSTRLEN', versions_key, record)
    redis.call('HDEL', versions_key, record)
  end
  redis.call('HDEL', versions_key, 'by:' .. version, 'same:' .. version)
  return freed
end

-- Keep a new version, and no more than `kept` of them.
--   record: nil if memory and workflow are those of the version before
local function keep_version(version, record, by, kept)
  local oldest, bytes = kept_before(version)
  if record then
    redis.call('HSET', versions_key, version, record)
    bytes = bytes + #record
  else
    redis.call('HSET', versions_key, 'same:' .. version, record_of(version - 1))
  end
  redis.call('HSET', versions_key, 'by:' .. version, seconds(now_ms()) .. ':' .. by)
  while oldest < version and (version - oldest >= kept or bytes > KEPT_BYTES) do -- bound: versions
    bytes = bytes - forget(oldest)
    oldest = oldest + 1
  end
  redis.call('HSET', versions_key, 'at', version, 'oldest', oldest, 'bytes', string.format('%d', bytes))
end
