-- Resume a session, or open a new one; the one place where a session changes hands.
-- KEYS 1 the session to resume (the new one if none), 2 the new session, 3 online, 4 how many sessions
--      the subject has opened lately (string, expires with the oldest)
--      session (hash: token, prev, generation, accepted_at, attempt, seen_at, alive_at, away, client,
--      revoked, replica and connection until that is closed, c:<conversation id> = "<offset>:<epoch>"),
--      online (zset: session id by believed-until)
-- ARGV 1 clock offset in ms, 2 'resume' or 'new', 3 hash of the token shown, 4 '1' if this
--      deployment once made that token for this session, 5 hash of the resumed session's next token
--      (3 and 5 only to resume), 6 hash of the new session's token (of tokens, their secrets),
--      7 replica, 8 connection, 9 session_ttl in ms,
--      10 session id to resume, 11 new session id, 12 client JSON, 13 when the socket was accepted,
--      in ms of this server's clock (with 1), 14 the client's number of the attempt or '', 15 the
--      generation that the token shown was made for (0: not known), 16 how many sessions may be opened
--      in session_ttl, then pairs of c:<conversation id> and where the client says that it stands,
--      which its session remembers
-- Returns {failure or '', generation, away in ms, old replica, old connection, was_online 0|1,
--      {c:<conversation id>, where, …}, now in ms, exactly}: '' and generation 1 with away -1 is a new session
--      without a failure; the failure 'late' is no session, and nothing has changed; 'full' is none
--      either, and the away is for how many ms no more are opened
local time = redis.call('TIME')
local exact = time[1] * 1000 + time[2] / 1000 + tonumber(ARGV[1])
local now, exact_text = math.floor(exact), string.format('%.3f', exact)
local ttl, now_text = tonumber(ARGV[9]), string.format('%.0f', now)
local until_text = string.format('%.0f', now + ttl)
local MAX_PREV_BYTES = 1000 -- some twenty lost replies in a row
local MAX_FIELDS = 2048 -- of a session: beyond, only the conversations that the client names are kept

-- Whether a session of the subject is believed to be connected, besides one. Those believed until
-- before now stay where they are: disconnect.lua takes them out.
local function was_online(except)
  local members = redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. now_text, '+inf', 'LIMIT', 0, 2) -- bound: 2 (LIMIT)
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
  local accepted_at = string.format('%.3f', math.min(tonumber(ARGV[13]), exact))
  local fields = {'replica', ARGV[7], 'connection', ARGV[8], 'seen_at', now_text, 'alive_at',
    now_text, 'accepted_at', accepted_at, 'client', ARGV[12], ...}
  if ARGV[14] ~= '' then
    fields[#fields + 1] = 'attempt'
    fields[#fields + 1] = ARGV[14] -- the highest: a lower one is late
  end
  for i = 17, #ARGV do -- bound: 2000 (cursors, twice)
    fields[#fields + 1] = ARGV[i]
  end
  forget_if_too_many(key)
  redis.call('HSET', key, unpack(fields)) -- bound: 2000 (cursors, twice)
  redis.call('PEXPIRE', key, ARGV[9])
  redis.call('ZADD', KEYS[3], until_text, session_id)
  redis.call('PEXPIRE', KEYS[3], ARGV[9])
end

-- Where the resumed session's client stands in its conversations.
local function cursors()
  local fields, found = redis.call('HGETALL', KEYS[1]), {} -- bound: 4096 (MAX_FIELDS twice)
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
  if redis.call('EXISTS', KEYS[2]) == 0 then
    local opened = redis.call('INCR', KEYS[4])
    if opened == 1 then
      redis.call('PEXPIRE', KEYS[4], ARGV[9])
    elseif opened > tonumber(ARGV[16]) then
      return {'full', 0, redis.call('PTTL', KEYS[4]), '', '', 0, {}, exact_text}
    end
    attach(KEYS[2], ARGV[11], 'token', ARGV[6], 'generation', 1)
  end
  return {failure, 1, -1, old_replica, old_connection, online, {}, exact_text}
end

if ARGV[2] == 'new' then
  return open_new('', '', '')
end
local old = redis.call('HMGET', KEYS[1], 'token', 'prev', 'generation', 'seen_at', 'alive_at',
  'replica', 'connection', 'revoked', 'away', 'accepted_at', 'attempt')
if not old[1] or now - tonumber(old[5]) > ttl then
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[3], ARGV[10])
  return open_new(ARGV[4] == '1' and 'expired' or 'unknown', '', '')
end
if ARGV[4] ~= '1' then
  return open_new('unknown', '', '')
end

local generation, away = tonumber(old[3]), math.max(0, now - tonumber(old[4]))
if old[1] == ARGV[5] then -- this very call, whose reply was lost
  return {'', generation, tonumber(old[9]), '', '', was_online(ARGV[10]), cursors(), exact_text}
end

-- Whether the client has gone on with a later attempt, which was carried out before this one: a
-- gateway hung, or the network or this server held it up. The numbers tell, if both attempts have
-- one; else which socket was accepted first. A time before the last holder's proves nothing if the
-- newest token is shown, or a newer one: only who has heard of that holder can have it.
local function is_late(is_newest)
  local attempt, highest = tonumber(ARGV[14]), tonumber(old[11])
  if attempt and highest and attempt ~= highest then
    return attempt < highest
  end
  local accepted_at = tonumber(old[10]) or 0
  return not is_newest and accepted_at <= exact and tonumber(ARGV[13]) < accepted_at
end

-- The failover lost that the session came so far; all that was shown or handed out before is dead.
local is_ahead = tonumber(ARGV[15]) > generation
local is_newest = is_ahead or old[1] == ARGV[3]
if not old[8] and is_late(is_newest) then
  return {'late', 0, -1, '', '', 0, {}, exact_text}
end
local prev = old[2] and ' ' .. old[2] .. ' ' or ''
local is_prev = string.find(prev, ' ' .. ARGV[3] .. ' ', 1, true)
if old[8] or not (is_newest or is_prev) then
  redis.call('HSET', KEYS[1], 'revoked', 1)
  redis.call('ZREM', KEYS[3], ARGV[10])
  return open_new('token_reused', old[8] and '' or old[6], old[8] and '' or old[7])
end

local online = was_online('') -- also if only the old socket still looks open: nobody was told
-- Tokens shown or handed out since one was last used: which of them the client has is not known.
prev = ARGV[3]
if is_prev then
  prev = #old[2] < MAX_PREV_BYTES and old[2] .. ' ' .. old[1] or old[2]
end
if is_ahead then
  generation = tonumber(ARGV[15])
end
attach(KEYS[1], ARGV[10], 'token', ARGV[5], 'prev', prev, 'generation', generation + 1, 'away', away)
return {'', generation + 1, away, old[6], old[7], online, cursors(), exact_text}
