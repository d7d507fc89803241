-- Count something that only so much may be done of in a window of time, which begins with the first.
-- KEYS 1 what was spent (string, expires with the window)
-- ARGV 1 how much, 2 how much in a window, 3 the window in ms
-- Returns 0, or, if it is too much and nothing was counted, for how many ms the window goes on
local spent = tonumber(redis.call('GET', KEYS[1]) or 0)
if spent + tonumber(ARGV[1]) > tonumber(ARGV[2]) then
  return math.max(1, spent > 0 and redis.call('PTTL', KEYS[1]) or tonumber(ARGV[3]))
end
redis.call('INCRBY', KEYS[1], ARGV[1])
if spent == 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return 0
