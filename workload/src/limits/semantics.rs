//! What counters count is what limits mean: beside a model that is plain and slow, in memory and in a real Redis.

use super::claims::{Settlement, Take};
use super::counting::{Counter, Rule, Standing};
use super::fixtures::daily;
use super::memory::Memory;
use super::shared::{add_rule, script};
use crate::store::redis_server::RedisServer;
use codecrucible_contract::{Algorithm, Limit, MAX_LIMIT, MAX_WINDOW_MS, MOST_OWED};
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
    fn settle_one(&mut self, rule: &Rule, taken_at_ms: u64, beyond: i64);

    fn take_one(&mut self, now_ms: u64, rule: &Rule, cost: u64) -> Standing {
        self.take_all(now_ms, &[Take { limit: "l", key: "k", rule: *rule, cost, is_shadow: false }])[0]
    }
}

/// By the letter: a bucket that is filled tick by tick, and windows of which every event is kept.
struct Plain {
    /// As it was left last, and when.
    bucket: i128,
    left_at: u64,
    /// The tick, and what was counted or given back then.
    events: Vec<(u64, i128)>,
}

impl Plain {
    fn new(rule: &Rule) -> Self {
        Self { bucket: full(rule), left_at: START_MS / rule.tick_ms, events: Vec::new() }
    }

    fn filled_until(&self, now: u64, rule: &Rule) -> i128 {
        let mut bucket = self.bucket;
        for _ in self.left_at..now {
            if bucket >= full(rule) {
                break;
            }
            bucket = (bucket + i128::from(rule.limit)).min(full(rule));
        }
        bucket.min(full(rule))
    }

    /// What counts in a window, never below nothing: its own events, and what the one before has beyond its limit.
    fn counted_in(&self, window: u64, rule: &Rule) -> i128 {
        let limit = i128::from(rule.limit);
        let Some(first) = self.events.iter().map(|(at, _)| at / rule.window).min() else { return 0 };
        let mut count = 0;
        for index in first..=window {
            count = (count - limit).max(0);
            for (at, change) in &self.events {
                if at / rule.window == index {
                    count = (count + change).clamp(0, (i128::from(MOST_OWED) * limit).max(count));
                }
            }
        }
        count
    }

    fn admits(&self, now_ms: u64, rule: &Rule, cost: u64) -> bool {
        let now = now_ms / rule.tick_ms;
        let (length, cost, limit) = (i128::from(rule.window), i128::from(cost), i128::from(rule.limit));
        let window = now / rule.window;
        let current = self.counted_in(window, rule);
        match rule.algorithm {
            Algorithm::TokenBucket => self.filled_until(now, rule) >= cost * length,
            Algorithm::FixedWindow => current + cost <= limit,
            Algorithm::SlidingWindow => {
                let rest = length - i128::from(now % rule.window);
                let previous = self.counted_in(window - 1, rule).min(limit);
                previous * rest + (current + cost) * length <= limit * length
            }
        }
    }

    fn take(&mut self, now_ms: u64, rule: &Rule, cost: u64) {
        let now = now_ms / rule.tick_ms;
        self.bucket = self.filled_until(now, rule) - i128::from(cost) * i128::from(rule.window);
        self.left_at = now;
        self.events.push((now, cost.into()));
    }

    /// What comes back belongs to when it was taken; what is owed, to when something was taken last.
    fn settle(&mut self, rule: &Rule, taken_at_ms: u64, beyond: i64) {
        let settled = self.bucket - i128::from(beyond) * i128::from(rule.window);
        self.bucket = settled.max(-i128::from(MOST_OWED) * full(rule));
        self.events.push((taken_at_ms / rule.tick_ms, beyond.into()));
    }
}

fn full(rule: &Rule) -> i128 {
    i128::from(rule.burst) * i128::from(rule.window)
}

impl Counts for Memory {
    fn take_all(&mut self, now_ms: u64, takes: &[Take<'_>]) -> Vec<Standing> {
        self.take(now_ms, takes)
    }

    fn settle_one(&mut self, rule: &Rule, taken_at_ms: u64, beyond: i64) {
        self.settle(taken_at_ms, taken_at_ms, &[Settlement { limit: "l", key: "k", rule: *rule, beyond }]);
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
        let told = "local now_ms = tonumber(ARGV[#ARGV])\n";
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
        let reply: Vec<u64> =
            invocation.arg(u64::MAX / 4_096).arg(now_ms).invoke(&mut self.connection).unwrap();
        assert_eq!(reply[0], now_ms);
        let standing = |of: &[u64]| Standing { remaining: of[0], reset_ms: of[1], retry_ms: of[2] };
        reply[1..].chunks_exact(3).map(standing).collect()
    }

    fn settle_one(&mut self, rule: &Rule, taken_at_ms: u64, beyond: i64) {
        let mut invocation = self.settle.prepare_invoke();
        add_rule(invocation.key(format!("{} k", self.course)), rule)
            .arg(taken_at_ms)
            .arg(beyond)
            .arg(u64::MAX / 4_096)
            .arg(0);
        invocation.invoke::<Vec<u64>>(&mut self.connection).unwrap();
    }
}

fn rules() -> impl Strategy<Value = Rule> {
    let algorithms = prop_oneof![
        Just(Algorithm::TokenBucket),
        Just(Algorithm::SlidingWindow),
        Just(Algorithm::FixedWindow)
    ];
    let ticks = prop_oneof![Just(1_u64), Just(7), Just(100)];
    (algorithms, 1_u64..40, 1_000_u64..3_000, 1_u64..60, ticks).prop_map(
        |(algorithm, limit, window_ms, burst, tick_ms)| {
            let burst = if algorithm == Algorithm::TokenBucket { burst } else { limit };
            Rule { algorithm, limit, window: window_ms / tick_ms, burst, tick_ms }
        },
    )
}

fn courses() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0_u64..2_500).prop_map(Step::Wait),
        (1_u64..20).prop_map(Step::Take),
        (-20_i64..200).prop_map(Step::Settle),
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
                let cost = wanted.min(rule.capacity());
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
                    let a_tick_less = now + wait - rule.tick_ms;
                    prop_assert!(!plain.admits(a_tick_less, rule, cost), "{wait} ms is too long");
                    prop_assert!(plain.admits(now + wait, rule, cost), "{wait} ms is too short");
                }
                let all = rule.capacity();
                let reset = now + standing.reset_ms;
                prop_assert!(plain.admits(reset, rule, all), "not all is back");
            }
            Step::Settle(beyond) => {
                let Some((taken_at, cost)) = taken.take() else { continue };
                let beyond = beyond.max(-i64::try_from(cost).unwrap());
                plain.settle(rule, taken_at, beyond);
                counts.settle_one(rule, taken_at, beyond);
            }
        }
    }
    Ok(())
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
        for window_ms in [3_600_000, MAX_WINDOW_MS] {
            let limit = Limit { algorithm, window_ms, ..daily("l", MAX_LIMIT) };
            let rule = Rule::part(&limit, 1);
            let (mut memory, mut shared) = (Memory::default(), Shared::new(&server));
            let mut now = START_MS;
            let steps =
                [(MAX_LIMIT, 1), (1, 1), (MAX_LIMIT - 1, window_ms / 3), (7, window_ms), (MAX_LIMIT, 0)];
            for (cost, wait) in steps {
                let (here, there) = (memory.take_one(now, &rule, cost), shared.take_one(now, &rule, cost));
                assert_eq!(here, there, "{algorithm:?} {cost} at {now}");
                let owed = i64::try_from(5 * MAX_LIMIT).unwrap();
                memory.settle_one(&rule, now, owed);
                shared.settle_one(&rule, now, owed);
                now += wait;
            }
        }
    }
}

/// All there is was taken at a time.
fn exhausted(rule: &Rule, now_ms: u64) -> Counter {
    let mut counter = Counter::new(rule, now_ms);
    counter.take(rule, rule.capacity());
    counter
}

fn every_algorithm(limit: u64) -> impl Iterator<Item = Rule> {
    let algorithms = [Algorithm::TokenBucket, Algorithm::SlidingWindow, Algorithm::FixedWindow];
    algorithms.into_iter().map(move |algorithm| Rule {
        algorithm,
        limit,
        window: 1_000,
        burst: limit,
        tick_ms: 1,
    })
}

#[test]
fn a_clock_that_goes_back_gives_nothing_back_and_one_that_was_far_ahead_is_not_waited_for() {
    for rule in every_algorithm(1) {
        let counter = exhausted(&rule, START_MS);
        let earlier = counter.at(&rule, START_MS - 900);
        assert!(!earlier.standing(&rule, START_MS - 900, 1).is_admitted(), "{rule:?}");
        let a_day = 86_400_000;
        let ahead = exhausted(&rule, START_MS + a_day).at(&rule, START_MS);
        let soon = START_MS + 2_000;
        assert!(ahead.at(&rule, soon).standing(&rule, soon, 1).is_admitted(), "{rule:?}");
    }
}

#[test]
fn what_was_used_beyond_a_limit_is_paid_off_at_its_rate() {
    for rule in every_algorithm(10) {
        let mut counter = exhausted(&rule, START_MS);
        counter.settle(&rule, START_MS, 30);
        let after = |ms: u64| {
            let now = START_MS + ms;
            counter.at(&rule, now).standing(&rule, now, 1).is_admitted()
        };
        assert!(!after(2_800) && after(5_000), "{rule:?}: three more windows' worth");
    }
}

#[test]
fn a_request_that_began_under_another_limit_takes_nothing_from_the_counter_of_the_new_one() {
    for old in every_algorithm(10) {
        let new = Rule { limit: 1_000, burst: 1_000, ..old };
        let mut counter = Counter::new(&new, START_MS);
        counter.take(&new, 500);
        let before = counter.standing(&new, START_MS, 1).remaining;
        counter.settle(&old, START_MS, -1);
        assert_eq!(counter.standing(&new, START_MS, 1).remaining, before + 1, "{old:?}");
    }
}

#[test]
fn a_limit_that_is_lowered_counts_at_once() {
    let mut memory = Memory::default();
    let wide = Rule { algorithm: Algorithm::TokenBucket, limit: 100, window: 60_000, burst: 100, tick_ms: 1 };
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
    let narrow = Rule { algorithm: Algorithm::FixedWindow, limit: 1, window: 60_000, burst: 1, tick_ms: 1 };
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

#[test]
fn what_is_told_too_late_changes_nothing() {
    let server = RedisServer::start(&[]);
    let mut shared = Shared::new(&server);
    let rule = Rule { algorithm: Algorithm::FixedWindow, limit: 10, window: 60_000, burst: 10, tick_ms: 1 };
    shared.take_one(START_MS, &rule, 1);
    for script in [&shared.take, &shared.settle] {
        let mut invocation = script.prepare_invoke();
        add_rule(invocation.key(format!("{} k", shared.course)), &rule).arg(1).arg(1);
        let until = START_MS - 1;
        let reply: Vec<u64> = invocation.arg(until).arg(START_MS).invoke(&mut shared.connection).unwrap();
        assert_eq!(reply, [START_MS]);
    }
    assert_eq!(shared.take_one(START_MS, &rule, 1).remaining, 8, "two were taken");
}

#[test]
fn what_is_owed_by_a_counter_that_has_expired_is_owed_still_and_nothing_comes_back_to_it() {
    let server = RedisServer::start(&[]);
    for rule in every_algorithm(10) {
        for (beyond, remaining) in [(7, 3), (-1, 10)] {
            let mut shared = Shared::new(&server);
            let now_ms = 1_790_000_000_000;
            let mut invocation = shared.settle.prepare_invoke();
            add_rule(invocation.key(format!("{} k", shared.course)), &rule).arg(now_ms).arg(beyond);
            let told: Vec<u64> = invocation.arg(now_ms).arg(now_ms).invoke(&mut shared.connection).unwrap();
            assert_eq!(told, [now_ms]);
            assert_eq!(shared.take_one(now_ms, &rule, 0).remaining, remaining, "{rule:?}");
        }
    }
}
