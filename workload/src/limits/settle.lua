-- Corrects what was taken. Wanted are when it was taken, and how much more was used. A counter that has expired was as good as new, so nothing comes
-- back to it; what is owed is.
if is_late() then return { now_ms } end
for i, key in ipairs(KEYS) do
  local rule, beyond = rule_at(i), wanted_at(i, 2)
  local counter = stored(key) or beyond > 0 and new(rule)
  if counter then
    settle(counter, rule, wanted_at(i, 1), beyond)
    store(key, counter, rule)
  end
end
return { now_ms }
