-- Takes from all counters or from none. Wanted are the cost, and 1 where the limit only tells what it would refuse. Returns the time, and for each
-- key remaining, reset and retry.
if is_late() then return { now_ms } end
local rules, counters, reply, is_admitted = {}, {}, { now_ms }, true
for i, key in ipairs(KEYS) do
  local rule = rule_at(i)
  local before = stored(key)
  rules[i], counters[i] = rule, before and brought_to_now(before, rule) or new(rule)
  local remaining, reset, retry = standing(counters[i], rule, wanted_at(i, 1))
  reply[3 * i - 1], reply[3 * i], reply[3 * i + 1] = remaining, reset, retry
  if retry > 0 and wanted_at(i, 2) ~= 1 then is_admitted = false end
end
if is_admitted then
  for i, key in ipairs(KEYS) do
    if reply[3 * i + 1] == 0 then
      take(counters[i], rules[i], wanted_at(i, 1))
      store(key, counters[i], rules[i])
      reply[3 * i - 1], reply[3 * i] = standing(counters[i], rules[i], 0)
    end
  end
end
return reply
