//! What counters count is what limits mean: beside a model that is plain and slow, in memory and in a real Redis.

use super::claims::{Settlement, Take};
use super::counting::{Counter, Rule, Standing};
use super::memory::Memory;
use super::redis_server::RedisServer;
use super::shared::{add_rule, script};
use codecrucible_contract::{Algorithm, MAX_LIMIT, MAX_WINDOW_MS};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use redis::{Connection, Script};
use std::sync::atomic::{AtomicU64, Ordering};

/// When the courses begin: within a window, as it is nearly always.
const START_MS: u64 = 1_790_000_000_123;

/// What happens to one counter.
#[derive(Clone, Copy, Debug)]
enum Step {
    Wait(u64),
    Take(u64),
    /// Corrects what was taken last.
    Settle(i64),
}

/// Who counts.
trait Counts {
    fn take_all(&mut self, now_ms: u64, takes: &[Take<'_>]) -> Vec<Standing>;
    fn settle_one(&mut self, now_ms: u64, rule: &Rule, taken_at_ms: u64, beyond: i64);

    fn take_one(&mut self, now_ms: u64, rule: &Rule, cost: u64) -> Standing {
        self.take_all(now_ms, &[Take { limit: "l", key: "k", rule: *rule, cost, is_shadow: false }])[0]
    }
}

/// By the letter: a bucket that is filled millisecond by millisecond, and windows of which every event is kept.
struct Plain {
    bucket: i128,
    filled_until: u64,
    events: Vec<(u64, i128)>,
}

impl Plain {
    fn new(rule: &Rule) -> Self {
        Self {
            bucket: i128::from(rule.burst) * i128::from(rule.window_ms),
            filled_until: START_MS,
            events: Vec::new(),
        }
    }

    fn fill(&mut self, now_ms: u64, rule: &Rule) {
        let full = i128::from(rule.burst) * i128::from(rule.window_ms);
        while self.filled_until < now_ms {
            self.bucket = (self.bucket + i128::from(rule.limit)).min(full);
            self.filled_until += 1;
        }
    }

    /// What was counted in a window, never below nothing.
    fn counted_in(&self, window: u64, rule: &Rule) -> i128 {
        let mut count = 0;
        for (at, change) in &self.events {
            if at / rule.window_ms == window {
                count = (count + change).clamp(0, 2 * i128::from(rule.limit));
            }
        }
        count
    }

    fn admits(&mut self, now_ms: u64, rule: &Rule, cost: u64) -> bool {
        self.fill(now_ms, rule);
        let (window_ms, cost) = (i128::from(rule.window_ms), i128::from(cost));
        let window = now_ms / rule.window_ms;
        let (current, limit) = (self.counted_in(window, rule), i128::from(rule.limit));
        match rule.algorithm {
            Algorithm::TokenBucket => self.bucket >= cost * window_ms,
            Algorithm::FixedWindow => current + cost <= limit,
            Algorithm::SlidingWindow => {
                let rest = window_ms - i128::from(now_ms % rule.window_ms);
                let previous = self.counted_in(window - 1, rule);
                previous * rest + (current + cost) * window_ms <= limit * window_ms
            }
        }
    }

    fn take(&mut self, now_ms: u64, rule: &Rule, cost: u64) {
        self.bucket -= i128::from(cost) * i128::from(rule.window_ms);
        self.events.push((now_ms, cost.into()));
    }

    fn settle(&mut self, now_ms: u64, rule: &Rule, taken_at_ms: u64, beyond: i64) {
        self.fill(now_ms, rule);
        let full = i128::from(rule.burst) * i128::from(rule.window_ms);
        self.bucket = (self.bucket - i128::from(beyond) * i128::from(rule.window_ms)).clamp(-full, full);
        // What comes back belongs to when it was taken; what is owed, to now.
        self.events.push((if beyond > 0 { now_ms } else { taken_at_ms }, beyond.into()));
    }
}

impl Counts for Memory {
    fn take_all(&mut self, now_ms: u64, takes: &[Take<'_>]) -> Vec<Standing> {
        self.take(now_ms, takes)
    }

    fn settle_one(&mut self, now_ms: u64, rule: &Rule, taken_at_ms: u64, beyond: i64) {
        self.settle(now_ms, taken_at_ms, &[Settlement { limit: "l", key: "k", rule: *rule, beyond }]);
    }
}

/// The scripts, with a clock that is told.
struct Shared {
    connection: Connection,
    course: u64,
    take: Script,
    settle: Script,
}

impl Shared {
    fn new(server: &RedisServer) -> Self {
        static COURSES: AtomicU64 = AtomicU64::new(0);
        let told = "local now = tonumber(ARGV[#ARGV])\n";
        Self {
            connection: redis::Client::open(server.url()).unwrap().get_connection().unwrap(),
            course: COURSES.fetch_add(1, Ordering::Relaxed),
            take: script(told, include_str!("take.lua")),
            settle: script(told, include_str!("settle.lua")),
        }
    }
}

impl Counts for Shared {
    fn take_all(&mut self, now_ms: u64, takes: &[Take<'_>]) -> Vec<Standing> {
        let mut invocation = self.take.prepare_invoke();
        for Take { key, rule, cost, is_shadow, limit: _ } in takes {
            let key = format!("{} {key}", self.course);
            add_rule(invocation.key(key), rule).arg(*cost).arg(u8::from(*is_shadow));
        }
        let reply: Vec<u64> = invocation.arg(now_ms).invoke(&mut self.connection).unwrap();
        assert_eq!(reply[0], now_ms);
        let standing = |of: &[u64]| Standing { remaining: of[0], reset_ms: of[1], retry_ms: of[2] };
        reply[1..].chunks_exact(3).map(standing).collect()
    }

    fn settle_one(&mut self, now_ms: u64, rule: &Rule, taken_at_ms: u64, beyond: i64) {
        let mut invocation = self.settle.prepare_invoke();
        add_rule(invocation.key(format!("{} k", self.course)), rule).arg(taken_at_ms).arg(beyond).arg(now_ms);
        invocation.invoke::<u64>(&mut self.connection).unwrap();
    }
}

fn rules() -> impl Strategy<Value = Rule> {
    let algorithms = prop_oneof![
        Just(Algorithm::TokenBucket),
        Just(Algorithm::SlidingWindow),
        Just(Algorithm::FixedWindow)
    ];
    (algorithms, 1_u64..40, 1_000_u64..3_000, 1_u64..60).prop_map(|(algorithm, limit, window_ms, burst)| {
        let burst = if algorithm == Algorithm::TokenBucket { burst } else { limit };
        Rule { algorithm, limit, window_ms, burst }
    })
}

fn courses() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0_u64..2_500).prop_map(Step::Wait),
        (1_u64..20).prop_map(Step::Take),
        (-20_i64..20).prop_map(Step::Settle),
    ];
    vec(step, 1..40)
}

/// Follows a course with the plain model beside it.
fn follow(counts: &mut impl Counts, rule: &Rule, course: &[Step]) -> Result<(), TestCaseError> {
    let (mut plain, mut now, mut taken) = (Plain::new(rule), START_MS, None);
    for step in course {
        match *step {
            Step::Wait(ms) => now += ms,
            Step::Take(wanted) => {
                let cost = rule.cost(wanted);
                let is_admitted = plain.admits(now, rule, cost);
                let standing = counts.take_one(now, rule, cost);
                prop_assert_eq!(standing.is_admitted(), is_admitted, "at {} of {:?}", now, rule);
                if is_admitted {
                    plain.take(now, rule, cost);
                    taken = Some((now, cost));
                }
                let remaining = standing.remaining;
                prop_assert!(!plain.admits(now, rule, remaining + 1), "more than {} is left", remaining);
                prop_assert!(
                    remaining == 0 || plain.admits(now, rule, remaining),
                    "{} is not left",
                    remaining
                );
                if !is_admitted {
                    let wait = standing.retry_ms;
                    prop_assert!(
                        !plain_admits_after(&plain, rule, now + wait - 1, cost),
                        "{wait} ms is too long"
                    );
                    prop_assert!(
                        plain_admits_after(&plain, rule, now + wait, cost),
                        "{wait} ms is too short"
                    );
                }
                let all = rule.capacity();
                prop_assert!(
                    plain_admits_after(&plain, rule, now + standing.reset_ms, all),
                    "not all is back"
                );
            }
            Step::Settle(beyond) => {
                let Some((taken_at, cost)) = taken.take() else { continue };
                let beyond = beyond.max(-i64::try_from(cost).unwrap());
                plain.settle(now, rule, taken_at, beyond);
                counts.settle_one(now, rule, taken_at, beyond);
            }
        }
    }
    Ok(())
}

fn plain_admits_after(plain: &Plain, rule: &Rule, at_ms: u64, cost: u64) -> bool {
    let mut later = Plain { events: plain.events.clone(), ..*plain };
    later.admits(at_ms, rule, cost)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn memory_counts_as_the_plain_model_does(rule in rules(), course in courses()) {
        follow(&mut Memory::default(), &rule, &course)?;
    }
}

#[test]
fn redis_counts_as_the_plain_model_does() {
    let server = RedisServer::start(&[]);
    let cases = Config { cases: 60, failure_persistence: None, ..Config::default() };
    TestRunner::new(cases)
        .run(&(rules(), courses()), |(rule, course)| follow(&mut Shared::new(&server), &rule, &course))
        .unwrap();
}

#[test]
fn the_largest_numbers_are_counted_alike_in_memory_and_in_redis() {
    let server = RedisServer::start(&[]);
    for algorithm in [Algorithm::TokenBucket, Algorithm::SlidingWindow, Algorithm::FixedWindow] {
        let rule = Rule { algorithm, limit: MAX_LIMIT, window_ms: MAX_WINDOW_MS, burst: MAX_LIMIT };
        let (mut memory, mut shared) = (Memory::default(), Shared::new(&server));
        let mut now = START_MS;
        for (cost, wait) in
            [(MAX_LIMIT, 1), (1, 1), (MAX_LIMIT - 1, MAX_WINDOW_MS / 3), (7, MAX_WINDOW_MS), (MAX_LIMIT, 0)]
        {
            let here = memory.take_one(now, &rule, cost);
            let there = shared.take_one(now, &rule, cost);
            assert_eq!(here, there, "{algorithm:?} {cost} at {now}");
            let owed = i64::try_from(2 * MAX_LIMIT).unwrap();
            memory.settle_one(now, &rule, now, owed);
            shared.settle_one(now, &rule, now, owed);
            now += wait;
        }
    }
}

#[test]
fn a_clock_that_goes_back_gives_nothing_back() {
    for algorithm in [Algorithm::TokenBucket, Algorithm::SlidingWindow, Algorithm::FixedWindow] {
        let rule = Rule { algorithm, limit: 1, window_ms: 1_000, burst: 1 };
        let mut counter = Counter::new(&rule, START_MS);
        counter.take(&rule, 1);
        let earlier = counter.at(&rule, START_MS - 5_000);
        assert!(!earlier.standing(&rule, START_MS - 5_000, 1).is_admitted(), "{algorithm:?}");
    }
}

#[test]
fn a_limit_that_is_lowered_counts_at_once() {
    let mut memory = Memory::default();
    let wide = Rule { algorithm: Algorithm::TokenBucket, limit: 100, window_ms: 60_000, burst: 100 };
    let narrow = Rule { limit: 10, burst: 10, ..wide };
    assert_eq!(memory.take_one(START_MS, &wide, 1).remaining, 99);
    assert_eq!(memory.take_one(START_MS, &narrow, 1).remaining, 9);
    assert_eq!(
        memory.take_one(START_MS, &wide, 1).remaining,
        8,
        "what a limit was before gives nothing back"
    );
}

#[test]
fn what_one_limit_refuses_is_taken_from_none() {
    let server = RedisServer::start(&[]);
    none_is_taken(&mut Memory::default());
    none_is_taken(&mut Shared::new(&server));
}

fn none_is_taken(counts: &mut impl Counts) {
    let narrow = Rule { algorithm: Algorithm::FixedWindow, limit: 1, window_ms: 60_000, burst: 1 };
    let wide = Rule { limit: 10, burst: 10, ..narrow };
    let take = |rule, limit, is_shadow| Take { limit, key: limit, rule, cost: 1, is_shadow };
    let both = [take(wide, "wide", false), take(narrow, "narrow", false)];
    let remaining = |standings: &[Standing]| standings.iter().map(|s| s.remaining).collect::<Vec<_>>();
    assert_eq!(remaining(&counts.take_all(START_MS, &both)), [9, 0]);
    let refused = counts.take_all(START_MS, &both);
    assert!(refused[0].is_admitted() && !refused[1].is_admitted());
    assert_eq!(remaining(&refused), [9, 0]);
    let told = counts.take_all(START_MS, &[take(wide, "wide", false), take(narrow, "narrow", true)]);
    assert!(!told[1].is_admitted() && told[0].remaining == 8, "a limit in shadow refuses nothing");
}
