-- Lends a place of each limit, or of none, to a request. Keys are sets of requests, each with the time until which its place is lent. After the request's name and how
-- long a place is lent, wanted are for each key the most that there may be, and 1 where the limit only tells what it would refuse; last, until when the script may run. Returns for
-- each key how many there were before, and nothing where it is too late.
if now_ms > tonumber(ARGV[#ARGV]) then return {} end
local counts, is_refused = {}, false
for i, key in ipairs(KEYS) do
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now_ms)
  counts[i] = redis.call('ZCARD', key)
  if counts[i] >= tonumber(ARGV[2 * i + 1]) and ARGV[2 * i + 2] ~= '1' then is_refused = true end
end
if not is_refused then
  for i, key in ipairs(KEYS) do
    if counts[i] < tonumber(ARGV[2 * i + 1]) then
      redis.call('ZADD', key, now_ms + tonumber(ARGV[2]), ARGV[1])
      redis.call('PEXPIRE', key, ARGV[2])
    end
  end
end
return counts
