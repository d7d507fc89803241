-- Which subjects have a connected device, as far as is known.
-- keys online_keys: of each subject (connect.lua); a thousand at most: the loop below runs over as many
-- arg clock_offset_ms (number): of tests, else 0
-- Returns {1 or 0 for each}
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + clock_offset_ms)
local found = {}
for i = 1, #KEYS do -- bound: 1000 (subjects at once)
  found[i] = redis.call('ZCOUNT', KEYS[i], now, '+inf') > 0 and 1 or 0
end
return found
