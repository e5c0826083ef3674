//! Replicas that count together in a real Redis, which is killed, paused, flushed, locked and spread over several nodes.

use super::fixtures::daily;
use super::shared::SharedCounters;
use super::{Allowance, Asked, Limiter, Limits, PATIENCE_MS, Refusal, StoreSettings};
use crate::store::redis_server::RedisServer;
use crate::telemetry::Metrics;
use codecrucible_contract::{
    Limit, LimitedRoute, Limits as LimitsPolicy, Store, Subject, Unit, WithoutStore,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How long the store may take to come, to go and to answer, seconds: a test machine may have much to do.
pub(super) const PATIENCE_SECONDS: u64 = 15;
/// Replicas.
const SHARES: u16 = 3;

pub(super) struct Replica {
    pub(super) limiter: Arc<Limiter>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) limits: Limits,
}

pub(super) fn settings(url: String, password: Option<&str>, is_cluster: bool) -> StoreSettings {
    let store = Store { url, username: None, has_credential: password.is_some(), is_cluster };
    StoreSettings { store, password: password.map(str::to_owned), prefix: "{http://demo}".into() }
}

pub(super) fn denying(limit: Limit) -> Limit {
    Limit { without_store: WithoutStore::Deny, ..limit }
}

impl Replica {
    /// One that waits for the store for so long.
    pub(super) async fn with_patience(
        patience: Duration,
        rules: Vec<Limit>,
        settings: &StoreSettings,
    ) -> Self {
        let metrics = Arc::new(Metrics::new().unwrap());
        let policy = LimitsPolicy { rules, shares: SHARES, ..LimitsPolicy::default() };
        let limits = Limits::new("http://demo", &policy);
        let limiter = Arc::new(Limiter::with_patience(patience, Arc::clone(&metrics)));
        limiter.follow(&limits, Some(settings));
        let replica = Self { limiter, metrics, limits };
        replica.until(true).await;
        replica
    }

    pub(super) async fn new(rules: Vec<Limit>, settings: &StoreSettings) -> Self {
        Self::with_patience(Duration::from_secs(PATIENCE_SECONDS), rules, settings).await
    }

    pub(super) async fn ask(&self) -> Result<Allowance, Refusal> {
        let asked = Asked {
            route: LimitedRoute::ChatCompletions,
            model: None,
            or_model: None,
            client: Some("apps.shop"),
            address: [127, 0, 0, 1].into(),
            tokens: 10,
        };
        self.limiter.admit(&self.limits, &asked).await
    }

    /// What is left of each limit after another request.
    async fn remaining(&self) -> Vec<u64> {
        self.ask().await.unwrap().told.iter().map(|told| told.remaining).collect()
    }

    pub(super) fn fallbacks(&self, what: &str) -> u64 {
        self.metrics.limits.fallbacks.with_label_values(&["l", what]).get()
    }

    fn is_connected(&self) -> bool {
        self.limiter.store.load().as_ref().is_some_and(|store| store.asked().is_connected())
    }

    pub(super) async fn until(&self, is_connected: bool) {
        in_time(async {
            while self.is_connected() != is_connected {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

pub(super) async fn in_time<T>(what: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(PATIENCE_SECONDS), what).await.expect("in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_together_admit_as_many_as_one_would() {
    let server = RedisServer::start(&[]);
    let mut asking = Vec::new();
    for _ in 0..SHARES {
        let rules = vec![denying(daily("l", 50))];
        let replica = Arc::new(Replica::new(rules, &settings(server.url(), None, false)).await);
        for _ in 0..40 {
            let replica = Arc::clone(&replica);
            asking.push(tokio::spawn(async move {
                let outcome = replica.ask().await;
                assert_eq!(replica.fallbacks("deny"), 0, "the store was asked");
                outcome.is_ok()
            }));
        }
    }
    let mut admitted = 0;
    for asked in asking {
        admitted += u32::from(asked.await.unwrap());
    }
    assert_eq!(admitted, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_store_a_limit_does_what_it_says_and_afterwards_they_count_together_again() {
    for without_store in [WithoutStore::Local, WithoutStore::Deny, WithoutStore::Allow] {
        let mut server = RedisServer::start(&[]);
        let rules = vec![Limit { without_store, ..daily("l", 9) }];
        let replica = Replica::new(rules, &settings(server.url(), None, false)).await;
        assert_eq!(replica.remaining().await, [8]);
        server.kill();
        replica.until(false).await;
        let mut outcomes = Vec::new();
        for _ in 0..5 {
            outcomes.push(replica.ask().await);
        }
        let admitted = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        let refusal = outcomes.pop().unwrap().err();
        match without_store {
            WithoutStore::Allow => assert_eq!((admitted, replica.fallbacks("allow")), (5, 5)),
            WithoutStore::Deny => {
                let refusal = refusal.unwrap();
                assert_eq!((admitted, refusal.retry_seconds(), refusal.limit), (0, 1, None));
            }
            WithoutStore::Local => {
                assert_eq!((admitted, replica.fallbacks("local")), (3, 5), "one of three parts of nine");
                assert_eq!(refusal.unwrap().limit.as_deref(), Some("l"));
            }
        }
        server.start_anew();
        replica.until(true).await;
        assert_eq!(replica.remaining().await, [8], "it counts in a store that knows nothing yet");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_falls_silent_is_left_alone_until_it_answers() {
    let server = RedisServer::start(&[]);
    let rules = vec![Limit { without_store: WithoutStore::Allow, ..daily("l", 1_000) }];
    let short = Duration::from_millis(100);
    let replica = Replica::with_patience(short, rules, &settings(server.url(), None, false)).await;
    server.pause();
    in_time(async {
        while replica.is_connected() {
            assert!(replica.ask().await.unwrap().told.is_empty(), "admitted without being counted");
        }
    })
    .await;
    let waited_for = replica.fallbacks("allow");
    replica.ask().await.unwrap();
    assert_eq!(replica.fallbacks("allow"), waited_for + 1);
    server.go_on();
    in_time(async { while replica.ask().await.unwrap().told.is_empty() {} }).await;
}

#[tokio::test]
async fn a_request_waits_for_a_silent_store_once_whatever_it_asks_there() {
    let server = RedisServer::start(&[]);
    let at_once = Limit { unit: Unit::ConcurrentRequests, ..daily("l", 9) };
    let rules = vec![at_once, daily("l", 9)];
    let patience = Duration::from_millis(PATIENCE_MS);
    let replica = Replica::with_patience(patience, rules, &settings(server.url(), None, false)).await;
    server.pause();
    // From here on time passes only while everything waits, so it is the request's alone, however busy the machine is.
    tokio::time::pause();
    let begin = tokio::time::Instant::now();
    assert!(replica.ask().await.is_ok());
    assert_eq!(replica.fallbacks("local"), 2);
    let waited = begin.elapsed().as_millis();
    // Timers of the runtime are exact to the millisecond.
    assert!((PATIENCE_MS..=PATIENCE_MS + 1).contains(&(waited as u64)), "{waited} ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_lends_no_places_counts_all_the_same() {
    let server = RedisServer::start(&[]);
    let at_once = Limit { unit: Unit::ConcurrentRequests, ..daily("l", 9) };
    let replica = Replica::new(vec![at_once, daily("r", 9)], &settings(server.url(), None, false)).await;
    // It has a place as long as that is kept.
    let _first = replica.ask().await.unwrap();
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let keys: Vec<String> = redis::cmd("KEYS").arg("*:l:*").query(&mut connection).unwrap();
    for key in &keys {
        redis::cmd("SET").arg(key).arg("something else").exec(&mut connection).unwrap();
    }
    let told = replica.ask().await.unwrap().told;
    assert_eq!(replica.fallbacks("local"), 1, "of {keys:?}");
    assert_eq!(told.last().unwrap().remaining, 7, "it is counted there that there were two");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_forgets_everything_begins_anew() {
    let server = RedisServer::start(&[]);
    let replica = Replica::new(vec![denying(daily("l", 9))], &settings(server.url(), None, false)).await;
    assert_eq!((replica.remaining().await, replica.remaining().await), (vec![8], vec![7]));
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    redis::cmd("FLUSHALL").exec(&mut connection).unwrap();
    redis::cmd("SCRIPT").arg("FLUSH").exec(&mut connection).unwrap();
    assert_eq!(replica.remaining().await, [8]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_with_a_password_is_entered_with_it_and_not_without() {
    let server = RedisServer::start(&["--requirepass", "sesame"]);
    let told_with = |password| {
        let (tell, mut told) = mpsc::unbounded_channel();
        let settings = settings(server.url(), password, false);
        let tell = move |outcome: Result<(), &str>| drop(tell.send(outcome.map_err(str::to_owned)));
        let counters = SharedCounters::open(settings, Duration::from_secs(PATIENCE_SECONDS), None, tell);
        async move {
            let told = in_time(told.recv()).await.unwrap();
            drop(counters);
            told
        }
    };
    assert_eq!(told_with(Some("sesame")).await, Ok(()));
    for wrong in [Some("open"), None] {
        let reason = told_with(wrong).await.unwrap_err();
        assert!(reason.to_lowercase().contains("auth") && !reason.contains("open"), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_keeps_all_counters_of_a_service_on_one_node() {
    let nodes = RedisServer::cluster();
    // Whichever node is named, it is the one with the counters that is asked.
    for (index, node) in nodes.iter().enumerate() {
        let all = Limit { per: Subject::Service, ..denying(daily("all", 20)) };
        let rules = vec![denying(daily("l", 9)), all];
        let replica = Replica::new(rules, &settings(node.url(), None, true)).await;
        assert_eq!(replica.remaining().await, [8 - index as u64, 19 - index as u64]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_were_not_used_come_back_and_what_was_used_beyond_is_owed() {
    let server = RedisServer::start(&[]);
    let tokens = Limit { unit: Unit::Tokens, ..denying(daily("l", 100)) };
    let replica = Replica::new(vec![tokens], &settings(server.url(), None, false)).await;
    let settled = |allowance: Allowance, used: u64| {
        let mut reservation = allowance.reservation.unwrap();
        reservation.note(used);
        drop(reservation);
    };
    let first = replica.ask().await.unwrap();
    assert_eq!(first.told[0].remaining, 90);
    settled(first, 4);
    let remains = |expected: u64| {
        let replica = &replica;
        in_time(async move {
            loop {
                let allowance = replica.ask().await.unwrap();
                let remaining = allowance.told[0].remaining;
                settled(allowance, 0);
                if remaining == expected {
                    break;
                }
            }
        })
    };
    remains(86).await;
    settled(replica.ask().await.unwrap(), 36);
    remains(50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_for_a_request_that_nobody_waits_for_comes_back() {
    let server = RedisServer::start(&[]);
    let tokens = vec![Limit { unit: Unit::Tokens, ..denying(daily("l", 1_000)) }];
    let replica = Replica::new(tokens, &settings(server.url(), None, false)).await;
    for _ in 0..50 {
        // Asked, and mostly gone before the answer.
        let _ = futures::poll!(Box::pin(replica.ask()));
    }
    in_time(async { while replica.remaining().await != [990] {} }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn corrections_wait_for_a_store_that_is_away() {
    let server = RedisServer::start(&[]);
    let tokens = || vec![Limit { unit: Unit::Tokens, ..denying(daily("l", 100)) }];
    let replica = Replica::new(tokens(), &settings(server.url(), None, false)).await;
    let allowance = replica.ask().await.unwrap();
    assert_eq!(allowance.told[0].remaining, 90);
    let store = replica.limiter.store.load_full().unwrap().asked();
    server.pause();
    drop(allowance);
    in_time(async {
        while store.is_connected() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    server.go_on();
    replica.until(true).await;
    in_time(async { while replica.ask().await.map(|allowed| allowed.told[0].remaining).ok() != Some(90) {} })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_new_password_does_not_open_the_store_the_old_one_does() {
    let server = RedisServer::start(&["--requirepass", "sesame"]);
    let replica =
        Replica::new(vec![denying(daily("l", 9))], &settings(server.url(), Some("sesame"), false)).await;
    assert_eq!(replica.remaining().await, [8]);
    replica.limiter.follow(&replica.limits, Some(&settings(server.url(), Some("simsim"), false)));
    assert_eq!(replica.remaining().await, [7]);
    let mut connection =
        redis::Client::open(server.url().replace("//", "//:sesame@")).unwrap().get_connection().unwrap();
    redis::cmd("CONFIG").arg(&["SET", "requirepass", "simsim"]).exec(&mut connection).unwrap();
    in_time(async {
        while replica.metrics.limits.store_connected.with_label_values(&["redis"]).get() != 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(replica.remaining().await, [6]);
}
