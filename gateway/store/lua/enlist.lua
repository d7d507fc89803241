-- Put a conversation on the list of a subject's, unless it is there.
-- KEYS 1 conversations (zset), 2 how many the subject has created lately (string)
-- ARGV 1 conversation, 2 now in ms, 3 how long the list may be, 4 how many may be created in the
--      window ('' if this is no creation), 5 the window in ms
-- Returns {'known'}, {'new'}, {'full'} or {'wait', ms}; a repeat counts as known
if redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  return {'known'}
end
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then
  return {'full'}
end
if ARGV[4] ~= '' then
  local count = redis.call('INCR', KEYS[2])
  if count == 1 then
    redis.call('PEXPIRE', KEYS[2], ARGV[5])
  end
  if count > tonumber(ARGV[4]) then
    return {'wait', redis.call('PTTL', KEYS[2])}
  end
end
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
return {'new'}
