-- Lends places anew. After how long they are lent, wanted is for each key the request's name.
for i, key in ipairs(KEYS) do
  redis.call('ZADD', key, now_ms + tonumber(ARGV[1]), ARGV[i + 1])
  redis.call('PEXPIRE', key, ARGV[1])
end
return #KEYS
