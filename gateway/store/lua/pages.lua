-- Shared by the scripts that read the history; comes after deleted.lua.

-- Messages from a seq on, in steps of 1 or -1, passing over deleted ones: as many as asked for, of at
-- most so many bytes but at least one, not before the seq `least`. Returns them in lists, the oldest
-- first, the seq at which the next would be looked for, and whether there is one. There are fewer than
-- asked for, or none, if it has looked at enough.
local function messages_from(at, step, limit, max_bytes, least)
  -- Outside of it, these would cost every script that has it.
  local LOOKS = 40 -- at the history, of one script
  local LOOK = 50 -- messages: how large they are is not known before
  local WIDE_LOOK = 256 -- entries, where none was alive
  local NOTED_FROM = 32 -- deleted messages in a row that no deletion noted
  local total = redis.call('LLEN', history_key)
  local lists, count, bytes, looks, size = {}, 0, 0, 0, math.min(limit, LOOK)
  local blank_since -- where the deleted ones begin that it is among, of which nothing is noted
  at = step > 0 and at or math.min(at, total)
  while count < limit and bytes <= max_bytes and at >= least and at <= total and looks < LOOKS do -- bound: 40 (LOOKS)
    looks = looks + 1
    local far = math.max(least, math.min(total, at + step * (size - 1)))
    local low = math.min(at, far)
    local some = redis.call('LRANGE', history_key, low - 1, math.max(at, far) - 1) -- bound: 256 (WIDE_LOOK)
    local begin, stop, found, room = 1, #some, 0, limit - count
    if step < 0 then
      begin, stop = stop, begin
    end
    for i = begin, stop, step do -- bound: 256 (WIDE_LOOK)
      local message = some[i]
      if message == '' then
        blank_since = blank_since or low + i - 1
      else
        if blank_since then
          if math.abs(low + i - 1 - blank_since) >= NOTED_FROM then
            local _, note = deleted_runs()
            note(blank_since, low + i - 1 - step)
          end
          blank_since = nil
        end
        bytes = bytes + #message
        if found == room or (bytes > max_bytes and count + found > 0) then
          stop, bytes = i - step, max_bytes + 1
          break
        end
        found = found + 1
      end
    end
    at = low + stop - 1 + step
    if found > 0 then
      local kept = some
      if found < #some then
        kept = {}
        for i = math.min(begin, stop), math.max(begin, stop) do -- bound: 256 (WIDE_LOOK)
          kept[#kept + 1] = some[i] ~= '' and some[i] or nil
        end
      end
      table.insert(lists, step > 0 and #lists + 1 or 1, kept)
      count = count + found
    end
    size = math.min(limit - count, LOOK)
    if blank_since then
      local run_of = deleted_runs()
      local first, last = run_of(at - step)
      if first then
        at, blank_since = (step > 0 and last or first) + step, nil
      else
        size = math.min(looks * LOOK, WIDE_LOOK)
      end
    end
  end
  if blank_since and math.abs(at - blank_since) >= NOTED_FROM then
    local _, note = deleted_runs()
    note(blank_since, at - step)
  end
  return lists, at, at >= least and at <= total
end
