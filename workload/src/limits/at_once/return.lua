-- Takes places back. Wanted is for each key the request's name.
for i, key in ipairs(KEYS) do
  redis.call('ZREM', key, ARGV[i])
end
return #KEYS
