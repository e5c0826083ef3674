-- How one counter counts: `counting.rs`, line for line. What stands before it says what `now` is; `take.lua` or `settle.lua` comes after it. A
-- counter is {a, b, c}: a bucket's level and time, or a window's index and the counts of it and of the one before. All numbers are whole and
-- below 2^53.
local BUCKET, SLIDING = 1, 2
-- How long a counter outlives its use, milliseconds.
local SPARE_LIFE = 1000
-- What is told of each key: four numbers of its rule, and two of what is wanted.
local ARGUMENTS = 6

local function rule_at(i)
  local at = (i - 1) * ARGUMENTS
  return {
    algorithm = tonumber(ARGV[at + 1]), limit = tonumber(ARGV[at + 2]), window = tonumber(ARGV[at + 3]), burst = tonumber(ARGV[at + 4]),
  }
end

-- The first or the second of the two.
local function wanted_at(i, which)
  return tonumber(ARGV[(i - 1) * ARGUMENTS + 4 + which])
end

local function text(number)
  return string.format('%.0f', number)
end

local function counter_of(key, rule)
  local stored = redis.call('GET', key)
  local a, b, c = string.match(stored or '', '^(-?%d+) (%d+) (%d+)$')
  a, b, c = tonumber(a), tonumber(b), tonumber(c)
  if rule.algorithm == BUCKET then
    local full = rule.burst * rule.window
    if not a then return { full, now, 0 } end
    return { math.min(a + math.max(now - b, 0) * rule.limit, full), math.max(b, now), 0 }
  end
  local index = math.floor(now / rule.window)
  if not a then return { index, 0, 0 } end
  local passed = math.max(index - a, 0)
  if passed == 0 then return { a, b, c } end
  if passed == 1 then return { a + 1, 0, b } end
  return { index, 0, 0 }
end

local function filled_after(missing, limit)
  return math.ceil(math.max(missing, 0) / limit)
end

-- Remaining, reset and retry.
local function standing(counter, rule, cost)
  local limit, window = rule.limit, rule.window
  if rule.algorithm == BUCKET then
    local level = counter[1]
    return math.floor(math.max(level, 0) / window),
      filled_after(rule.burst * window - level, limit),
      filled_after(cost * window - level, limit)
  end
  local current, previous = counter[2], counter[3]
  local elapsed = math.min(math.max(now - counter[1] * window, 0), window)
  local rest = window - elapsed
  if rule.algorithm ~= SLIDING then
    local remaining = math.max(limit - current, 0)
    return remaining, current == 0 and 0 or rest, cost <= remaining and 0 or rest
  end
  local free = math.max(limit * window - previous * rest - current * window, 0)
  local reset = rest + window
  if current == 0 then reset = previous == 0 and 0 or rest end
  local retry = 0
  if cost * window > free then
    if current + cost <= limit then
      retry = rest - math.floor((limit - current - cost) * window / previous)
    else
      retry = rest + window - math.min(math.floor((limit - cost) * window / current), window)
    end
    retry = math.max(retry, 1)
  end
  return math.floor(free / window), reset, retry
end

local function take(counter, rule, cost)
  if rule.algorithm == BUCKET then
    counter[1] = counter[1] - cost * rule.window
  else
    counter[2] = counter[2] + cost
  end
end

local function settle(counter, rule, taken_at, beyond)
  if rule.algorithm == BUCKET then
    local full = rule.burst * rule.window
    counter[1] = math.max(math.min(counter[1] - beyond * rule.window, full), -full)
    return
  end
  local passed = math.max(counter[1] - math.floor(taken_at / rule.window), 0)
  local which = (beyond > 0 or passed == 0) and 2 or passed == 1 and 3
  if which then counter[which] = math.min(math.max(counter[which] + beyond, 0), 2 * rule.limit) end
end

local function store(key, counter, rule)
  local life = 2 * rule.window
  if rule.algorithm == BUCKET then
    life = filled_after(rule.burst * rule.window - counter[1], rule.limit)
  end
  redis.call('SET', key, text(counter[1]) .. ' ' .. text(counter[2]) .. ' ' .. text(counter[3]), 'PX', text(life + SPARE_LIFE))
end
