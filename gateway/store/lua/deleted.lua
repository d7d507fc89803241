-- Shared by the scripts that read or shorten the history; comes after prelude.lua.
--
-- A deleted message leaves '' at its place in the history. Runs of them are noted in the zset
-- `deleted_key`, "<first seq>-<last seq>" by the first, so that a page steps over a run however long it is.
-- What an earlier version deleted is noted when a page comes across it (pages.lua).
--
-- key deleted_key: zset, runs of deleted messages

-- Two functions for the runs that are noted: the run that a deleted message is in (its first
-- and last seq, nothing if none is noted), and to note that all from one seq to another are deleted. A
-- user who may not write (a full Redis) can read all the same.
local function deleted_runs()
  local function run_of(number)
    local run = redis.call('ZREVRANGEBYSCORE', deleted_key, number, '-inf', 'LIMIT', 0, 1)[1] -- bound: 1 (LIMIT)
    local first, last = string.match(run or '0-0', '^(%d+)-(%d+)$')
    if tonumber(last) >= number then
      return tonumber(first), tonumber(last)
    end
  end

  local function note(one, other)
    local first, last = math.min(one, other), math.max(one, other)
    local from = run_of(first - 1)
    local _, to = run_of(last + 1)
    first, last = from or first, to or last
    redis.pcall('ZREMRANGEBYSCORE', deleted_key, first, last) -- bound: 10240 (LOOKS * WIDE_LOOK)
    redis.pcall('ZADD', deleted_key, first, string.format('%d-%d', first, last))
  end
  return run_of, note
end
