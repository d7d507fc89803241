-- Put a conversation on the list of a subject's, unless it is there.
-- key conversations_key: zset
-- key created_key: how many the subject has created lately (string)
-- arg conversation: which
-- arg now_ms: by the gateway's clock
-- arg max_conversations (number): how long the list may be
-- arg max_created: how many may be created in the window, '' if this is no creation
-- arg window_ms: how long that is
-- Returns {'known'}, {'new'}, {'full'} or {'wait', ms}; a repeat counts as known
if redis.call('ZSCORE', conversations_key, conversation) then
  return {'known'}
end
if redis.call('ZCARD', conversations_key) >= max_conversations then
  return {'full'}
end
if max_created ~= '' then
  local count = redis.call('INCR', created_key)
  if count == 1 then
    redis.call('PEXPIRE', created_key, window_ms)
  end
  if count > tonumber(max_created) then
    return {'wait', redis.call('PTTL', created_key)}
  end
end
redis.call('ZADD', conversations_key, now_ms, conversation)
return {'new'}
