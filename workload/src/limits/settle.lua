-- Corrects what was taken. Wanted are when it was taken, and how much more was used.
for i, key in ipairs(KEYS) do
  local rule = rule_at(i)
  local counter = counter_of(key, rule)
  settle(counter, rule, wanted_at(i, 1), wanted_at(i, 2))
  store(key, counter, rule)
end
return now
