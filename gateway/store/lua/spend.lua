-- Count something that only so much may be done of in a window of time, which begins with the first.
-- key spent_key: what was spent (string, expires with the window)
-- arg amount (number): how much
-- arg most (number): how much in a window
-- arg window_ms (number): how long that is
-- Returns 0, or, if it is too much and nothing was counted, for how many ms the window goes on
local spent = tonumber(redis.call('GET', spent_key) or 0)
if spent + amount > most then
  return math.max(1, spent > 0 and redis.call('PTTL', spent_key) or window_ms)
end
redis.call('INCRBY', spent_key, amount)
if spent == 0 then
  redis.call('PEXPIRE', spent_key, window_ms)
end
return 0
