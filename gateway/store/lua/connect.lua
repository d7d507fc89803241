-- Resume a session, or open a new one; the one place where a session changes hands.
-- key session_key: the session to resume (the new one if none), a hash: token, prev, generation,
--   accepted_at, attempt, seen_at, alive_at, away, client, revoked, replica and connection until that is
--   closed, c:<conversation id> = "<offset>:<epoch>"
-- key new_session_key: the new session
-- key online_key: zset, session id by believed-until
-- key opened_key: how many sessions the subject has opened lately (string, expires with the oldest)
-- arg clock_offset_ms (number): of tests, else 0
-- arg way: 'resume' or 'new'
-- arg shown_hash: of the token shown, to resume (of tokens, their secrets)
-- arg is_ours (flag): this deployment once made that token for this session
-- arg next_hash: of the resumed session's next token, to resume
-- arg new_hash: of the new session's token
-- arg replica: that has the socket
-- arg connection: which socket
-- arg session_ttl_ms: how long a session is kept
-- arg wanted_id: the session to resume
-- arg new_id: the new session
-- arg client: JSON
-- arg accepted_ms: when the socket was accepted, by this server's clock (and that of tests)
-- arg attempt_number: the client's, or ''
-- arg shown_generation (number): that the token shown was made for (0: not known)
-- arg max_opened (number): how many sessions may be opened in session_ttl
-- args cursors: c:<conversation id>, where the client says that it stands; its session remembers them
-- Returns {failure or '', generation, away in ms, old replica, old connection, was_online 0|1,
--      {c:<conversation id>, where, …}, now in ms, exactly}: '' and generation 1 with away -1 is a new session
--      without a failure; the failure 'late' is no session, and nothing has changed; 'full' is none
--      either, and the away is for how many ms no more are opened
local time = redis.call('TIME')
local exact = time[1] * 1000 + time[2] / 1000 + clock_offset_ms
local now, exact_text = math.floor(exact), string.format('%.3f', exact)
local ttl, now_text = tonumber(session_ttl_ms), string.format('%.0f', now)
local until_text = string.format('%.0f', now + ttl)
local MAX_PREV_BYTES = 1000 -- some twenty lost replies in a row
local MAX_FIELDS = 2048 -- of a session: beyond, only the conversations that the client names are kept

-- Whether a session of the subject is believed to be connected, besides one. Those believed until
-- before now stay where they are: disconnect.lua takes them out.
local function was_online(except)
  local members = redis.call('ZRANGEBYSCORE', online_key, '(' .. now_text, '+inf', 'LIMIT', 0, 2) -- bound: 2 (LIMIT)
  return (members[1] and (members[1] ~= except or members[2])) and 1 or 0
end

-- A client may name conversations in which it takes no part, again and again.
local function forget_if_too_many(key)
  if redis.call('HLEN', key) <= MAX_FIELDS then
    return
  end
  for _, field in ipairs(redis.call('HKEYS', key)) do -- bound: 4096 (MAX_FIELDS twice)
    if string.sub(field, 1, 2) == 'c:' then
      redis.call('HDEL', key, field)
    end
  end
end

local function attach(key, session_id, ...)
  -- Accepted in the future: the clock was set back, and would make later ones late.
  local accepted_at = string.format('%.3f', math.min(tonumber(accepted_ms), exact))
  local fields = {'replica', replica, 'connection', connection, 'seen_at', now_text, 'alive_at',
    now_text, 'accepted_at', accepted_at, 'client', client, ...}
  if attempt_number ~= '' then
    fields[#fields + 1] = 'attempt'
    fields[#fields + 1] = attempt_number -- the highest: a lower one is late
  end
  for i = cursors_at, #ARGV do -- bound: 2000 (cursors, twice)
    fields[#fields + 1] = ARGV[i]
  end
  forget_if_too_many(key)
  redis.call('HSET', key, unpack(fields)) -- bound: 2000 (cursors, twice)
  redis.call('PEXPIRE', key, session_ttl_ms)
  redis.call('ZADD', online_key, until_text, session_id)
  redis.call('PEXPIRE', online_key, session_ttl_ms)
end

-- Where the resumed session's client stands in its conversations.
local function cursors()
  local fields, found = redis.call('HGETALL', session_key), {} -- bound: 4096 (MAX_FIELDS twice)
  for i = 1, #fields, 2 do -- bound: 4096 (MAX_FIELDS twice)
    if string.sub(fields[i], 1, 2) == 'c:' then
      found[#found + 1] = fields[i]
      found[#found + 1] = fields[i + 1]
    end
  end
  return found
end

local function open_new(failure, old_replica, old_connection)
  local online = was_online('')
  if redis.call('EXISTS', new_session_key) == 0 then
    local opened = redis.call('INCR', opened_key)
    if opened == 1 then
      redis.call('PEXPIRE', opened_key, session_ttl_ms)
    elseif opened > max_opened then
      return {'full', 0, redis.call('PTTL', opened_key), '', '', 0, {}, exact_text}
    end
    attach(new_session_key, new_id, 'token', new_hash, 'generation', 1)
  end
  return {failure, 1, -1, old_replica, old_connection, online, {}, exact_text}
end

if way == 'new' then
  return open_new('', '', '')
end
local old = redis.call('HMGET', session_key, 'token', 'prev', 'generation', 'seen_at', 'alive_at',
  'replica', 'connection', 'revoked', 'away', 'accepted_at', 'attempt')
if not old[1] or now - tonumber(old[5]) > ttl then
  redis.call('DEL', session_key)
  redis.call('ZREM', online_key, wanted_id)
  return open_new(is_ours and 'expired' or 'unknown', '', '')
end
if not is_ours then
  return open_new('unknown', '', '')
end

local generation, away = tonumber(old[3]), math.max(0, now - tonumber(old[4]))
if old[1] == next_hash then -- this very call, whose reply was lost
  return {'', generation, tonumber(old[9]), '', '', was_online(wanted_id), cursors(), exact_text}
end

-- Whether the client has gone on with a later attempt, which was carried out before this one: a
-- gateway hung, or the network or this server held it up. The numbers tell, if both attempts have
-- one; else which socket was accepted first. A time before the last holder's proves nothing if the
-- newest token is shown, or a newer one: only who has heard of that holder can have it.
local function is_late(is_newest)
  local attempt, highest = tonumber(attempt_number), tonumber(old[11])
  if attempt and highest and attempt ~= highest then
    return attempt < highest
  end
  local accepted_at = tonumber(old[10]) or 0
  return not is_newest and accepted_at <= exact and tonumber(accepted_ms) < accepted_at
end

-- The failover lost that the session came so far; all that was shown or handed out before is dead.
local is_ahead = shown_generation > generation
local is_newest = is_ahead or old[1] == shown_hash
if not old[8] and is_late(is_newest) then
  return {'late', 0, -1, '', '', 0, {}, exact_text}
end
local prev = old[2] and ' ' .. old[2] .. ' ' or ''
local is_prev = string.find(prev, ' ' .. shown_hash .. ' ', 1, true)
if old[8] or not (is_newest or is_prev) then
  redis.call('HSET', session_key, 'revoked', 1)
  redis.call('ZREM', online_key, wanted_id)
  return open_new('token_reused', old[8] and '' or old[6], old[8] and '' or old[7])
end

local online = was_online('') -- also if only the old socket still looks open: nobody was told
-- Tokens shown or handed out since one was last used: which of them the client has is not known.
prev = shown_hash
if is_prev then
  prev = #old[2] < MAX_PREV_BYTES and old[2] .. ' ' .. old[1] or old[2]
end
if is_ahead then
  generation = shown_generation
end
attach(session_key, wanted_id, 'token', next_hash, 'prev', prev, 'generation', generation + 1, 'away', away)
return {'', generation + 1, away, old[6], old[7], online, cursors(), exact_text}
