-- How one counter counts: `counting.rs`, line for line. What stands before it says what `now_ms` is; `take.lua` or `settle.lua` comes after it. A
-- counter is {a, b, c}: a bucket's level and time, or a window's index and the counts of it and of the one before. All numbers are whole and
-- below 2^53.
local BUCKET, SLIDING = 1, 2
local MOST_OWED = 8
-- How long a counter outlives its use, milliseconds.
local SPARE_LIFE_MS = 2000
-- What is told of each key: five numbers of its rule, and two of what is wanted. After all of them comes until when it counts.
local OF_RULE, ARGUMENTS = 5, 7

local function rule_at(i)
  local function told(n)
    return tonumber(ARGV[(i - 1) * ARGUMENTS + n])
  end
  return { algorithm = told(1), limit = told(2), window = told(3), burst = told(4), tick = told(5) }
end

-- The first or the second of the two.
local function wanted_at(i, which)
  return tonumber(ARGV[(i - 1) * ARGUMENTS + OF_RULE + which])
end

-- Whether nobody waits for it any more: what waited in a connection, or was told again, must not count.
local function is_late()
  return now_ms > tonumber(ARGV[#KEYS * ARGUMENTS + 1])
end

local function text(number)
  return string.format('%.0f', number)
end

local function ticks(ms, rule)
  return math.floor(ms / rule.tick)
end

local function window_at(ms, rule)
  return math.floor(ticks(ms, rule) / rule.window)
end

local function full_of(rule)
  return rule.burst * rule.window
end

-- As it was left last, if it was.
local function stored(key)
  local a, b, c = string.match(redis.call('GET', key) or '', '^(-?%d+) (%d+) (%d+)$')
  return a and { tonumber(a), tonumber(b), tonumber(c) }
end

local function new(rule)
  if rule.algorithm == BUCKET then return { full_of(rule), ticks(now_ms, rule), 0 } end
  return { window_at(now_ms, rule), 0, 0 }
end

local function brought_to_now(counter, rule)
  local a, b, c = counter[1], counter[2], counter[3]
  if rule.algorithm == BUCKET then
    local full, now = full_of(rule), ticks(now_ms, rule)
    local level = math.max(math.min(a + math.max(now - b, 0) * rule.limit, full), -MOST_OWED * full)
    return { level, b > now + rule.window and now or math.max(b, now), 0 }
  end
  local now = window_at(now_ms, rule)
  if a > now + 1 then return { now, b, c } end
  local passed = math.max(now - a, 0)
  if passed == 0 then return counter end
  local function owed_after(windows)
    return math.max(b - windows * rule.limit, 0)
  end
  return { now, owed_after(passed), math.min(owed_after(passed - 1), rule.limit) }
end

local function filled_after(missing, limit)
  return math.ceil(math.max(missing, 0) / limit)
end

local function windows_owed(current, limit)
  return math.floor(math.max(current - 1, 0) / limit)
end

-- Remaining, reset and retry; the latter two in milliseconds.
local function standing(counter, rule, cost)
  local limit, window, tick = rule.limit, rule.window, rule.tick
  if rule.algorithm == BUCKET then
    local level = counter[1]
    return math.floor(math.max(level, 0) / window),
      filled_after(full_of(rule) - level, limit) * tick,
      filled_after(cost * window - level, limit) * tick
  end
  local current, previous = counter[2], counter[3]
  local elapsed = math.min(math.max(ticks(now_ms, rule) - counter[1] * window, 0), window)
  local rest = window - elapsed
  if rule.algorithm ~= SLIDING then
    local remaining = math.max(limit - current, 0)
    local reset = current == 0 and 0 or rest + windows_owed(current, limit) * window
    local retry = cost <= remaining and 0 or rest + windows_owed(current + cost - limit, limit) * window
    return remaining, reset * tick, retry * tick
  end
  local free = math.max(limit * window - previous * rest - current * window, 0)
  local reset = rest + window + windows_owed(current, limit) * window
  if current == 0 then reset = previous == 0 and 0 or rest end
  local retry = 0
  if cost * window > free then
    if current + cost <= limit then
      retry = math.max(rest - math.floor((limit - current - cost) * window / previous), 1)
    else
      local skipped = windows_owed(current + cost - limit, limit)
      local before = math.min(current - skipped * limit, limit)
      local owed = math.max(current - (skipped + 1) * limit, 0)
      local room = math.max(limit - owed - cost, 0)
      retry = rest + skipped * window + window - math.min(math.floor(room * window / before), window)
    end
  end
  return math.floor(free / window), reset * tick, retry * tick
end

local function take(counter, rule, cost)
  if rule.algorithm == BUCKET then
    counter[1] = counter[1] - cost * rule.window
  else
    counter[2] = counter[2] + cost
  end
end

local function settle(counter, rule, taken_at_ms, beyond)
  if rule.algorithm == BUCKET then
    local level = counter[1]
    counter[1] = math.max(level - beyond * rule.window, math.min(-MOST_OWED * full_of(rule), level))
    return
  end
  local passed = math.max(counter[1] - window_at(taken_at_ms, rule), 0)
  local which = (beyond > 0 or passed == 0) and 2 or passed == 1 and 3
  if which then
    local count = counter[which]
    counter[which] = math.min(math.max(count + beyond, 0), math.max(MOST_OWED * rule.limit, count))
  end
end

local function store(key, counter, rule)
  local life = (2 + windows_owed(counter[2], rule.limit)) * rule.window
  if rule.algorithm == BUCKET then
    life = filled_after(full_of(rule) - counter[1], rule.limit)
  end
  local expiry = text(life * rule.tick + SPARE_LIFE_MS)
  redis.call('SET', key, text(counter[1]) .. ' ' .. text(counter[2]) .. ' ' .. text(counter[3]), 'PX', expiry)
end
