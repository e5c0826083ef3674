//! What is lent is what limits mean: beside a model that is plain, in memory and in a real Redis, which is lost, and whose replicas are.

use super::super::fixtures::daily;
use super::super::shared::AskedStore;
use super::super::together::{PATIENCE_SECONDS, Replica, denying, in_time, settings};
use super::super::{Allowance, Asked, Limiter, Limits};
use super::leases::LEASE_MS;
use crate::store::redis_server::RedisServer;
use crate::telemetry::Metrics;
use codecrucible_contract::{Limit, LimitedRoute, Limits as LimitsPolicy, Subject, Unit};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::sync::Arc;
use std::time::Duration;

// What is never given back must not seem to be.
const _: () = assert!(PATIENCE_SECONDS * 1_000 < LEASE_MS);

const CLIENTS: [&str; 3] = ["apps.a", "apps.b", "tools.c"];

fn at_once(name: &str, per: Subject, limit: u64) -> Limit {
    let limit = Limit { limit, burst: limit, ..daily(name, 1) };
    denying(Limit { unit: Unit::ConcurrentRequests, per, ..limit })
}

/// Two for each client, three for each namespace, and one that only tells that there are more than four.
fn rules() -> Vec<Limit> {
    let shadow = Limit { is_shadow: true, ..at_once("shadow", Subject::Service, 4) };
    vec![at_once("client", Subject::Client, 2), at_once("team", Subject::Namespace, 3), shadow]
}

/// What happens.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A client asks.
    Ask(usize),
    /// One of the requests that are under way ends.
    End(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    vec(prop_oneof![(0..CLIENTS.len()).prop_map(Step::Ask), (0..8_usize).prop_map(Step::End)], 1..40)
}

async fn ask(limiter: &Arc<Limiter>, limits: &Limits, client: &str) -> Option<Allowance> {
    let asked = Asked {
        route: LimitedRoute::ChatCompletions,
        model: None,
        or_model: None,
        client: Some(client),
        address: [127, 0, 0, 1].into(),
        tokens: 0,
    };
    limiter.admit(limits, &asked).await.ok()
}

/// Lets requests come and go as the steps say, and compares who is admitted with a plain list of those who are there.
async fn follow(limiter: &Arc<Limiter>, limits: &Limits, steps: &[Step]) {
    let mut under_way: Vec<(usize, Allowance)> = Vec::new();
    for step in steps {
        match *step {
            Step::Ask(client) => {
                let team = |client: usize| CLIENTS[client].split_once('.').unwrap().0;
                let own = under_way.iter().filter(|(other, _)| *other == client).count();
                let of_team = under_way.iter().filter(|(other, _)| team(*other) == team(client)).count();
                let allowance = ask(limiter, limits, CLIENTS[client]).await;
                assert_eq!(allowance.is_some(), own < 2 && of_team < 3, "{steps:?}");
                let Some(allowance) = allowance else { continue };
                let remaining: Vec<_> = allowance.told.iter().map(|told| told.remaining).collect();
                assert_eq!(remaining, [1 - own as u64, 2 - of_team as u64], "{steps:?}");
                // Whom a limit in shadow would have refused, it does not count.
                let in_shadow = under_way.iter().filter(|(_, other)| other.refused_in_shadow.is_none());
                assert_eq!(allowance.refused_in_shadow.is_some(), in_shadow.count() >= 4, "{steps:?}");
                under_way.push((client, allowance));
            }
            Step::End(index) if index < under_way.len() => {
                under_way.swap_remove(index);
                // What is given back is on its way before the next one asks.
                tokio::task::yield_now().await;
            }
            Step::End(_) => {}
        }
    }
    drop(under_way);
    tokio::task::yield_now().await;
}

#[test]
fn in_memory_requests_come_and_go_as_a_plain_list_has_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let limiter = Arc::new(Limiter::new(Arc::new(Metrics::new().unwrap())));
    let policy = LimitsPolicy { rules: rules(), ..LimitsPolicy::default() };
    let limits = Limits::new("http://demo", &policy);
    TestRunner::new(Config::with_cases(200))
        .run(&steps(), |steps| {
            runtime.block_on(follow(&limiter, &limits, &steps));
            Ok(())
        })
        .unwrap();
}

#[test]
fn in_redis_they_do_so_too() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = RedisServer::start(&[]);
    let replica = runtime.block_on(Replica::new(rules(), &settings(server.url(), None, false)));
    TestRunner::new(Config::with_cases(50))
        .run(&steps(), |steps| {
            runtime.block_on(follow(&replica.limiter, &replica.limits, &steps));
            Ok(())
        })
        .unwrap();
}

fn two_at_once() -> Vec<Limit> {
    vec![at_once("l", Subject::Client, 2)]
}

fn store_of(replica: &Replica) -> Arc<AskedStore> {
    replica.limiter.store.load().as_ref().unwrap().asked()
}

/// Waits until a request is admitted.
async fn admitted(replica: &Replica) -> Allowance {
    in_time(async {
        loop {
            if let Ok(allowance) = replica.ask().await {
                return allowance;
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_together_have_as_many_places_as_one_would() {
    let server = RedisServer::start(&[]);
    let settings = settings(server.url(), None, false);
    let (one, other) =
        (Replica::new(two_at_once(), &settings).await, Replica::new(two_at_once(), &settings).await);
    let held = [one.ask().await.unwrap(), other.ask().await.unwrap()];
    for replica in [&one, &other] {
        let refusal = replica.ask().await.err().unwrap();
        assert_eq!((refusal.limit.as_deref(), refusal.retry_seconds()), (Some("l"), 1));
        assert_eq!(refusal.description, "The limit \"l\" is 2 requests at once for each client.");
        assert_eq!(&*refusal.told[0].policy, "\"l\";q=2;qu=\"concurrent-requests\"");
        assert_eq!((refusal.told[0].remaining, refusal.told[0].reset_ms), (0, None));
    }
    drop(held);
    let _again = [admitted(&one).await, admitted(&other).await];
}

#[tokio::test(flavor = "multi_thread")]
async fn places_of_a_replica_that_is_gone_come_back_by_themselves_and_those_of_one_that_lives_do_not() {
    let server = RedisServer::start(&[]);
    let settings = settings(server.url(), None, false);
    let (gone, other) =
        (Replica::new(two_at_once(), &settings).await, Replica::new(two_at_once(), &settings).await);
    let claims = |replica: &Replica| {
        let asked = Asked {
            route: LimitedRoute::ChatCompletions,
            model: None,
            or_model: None,
            client: Some("apps.shop"),
            address: [127, 0, 0, 1].into(),
            tokens: 0,
        };
        replica.limits.claims(&asked)
    };
    let lease_ms = 400;
    let (_, lost) = store_of(&gone).borrow_for(&claims(&gone), lease_ms).await.ok().unwrap();
    let (_, kept) = store_of(&other).borrow_for(&claims(&other), lease_ms).await.ok().unwrap();
    // A process that is killed gives nothing back.
    std::mem::forget(lost);
    store_of(&other).renew(LEASE_MS).await;
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let (now, _): (u64, u64) = redis::cmd("TIME").query(&mut connection).unwrap();
    let lent_for_long = redis::cmd("ZCOUNT")
        .arg("{http://demo}:limit:l:c:apps.shop")
        .arg(now * 1_000 + LEASE_MS / 2)
        .arg("+inf")
        .query::<u64>(&mut connection);
    assert_eq!(lent_for_long.unwrap(), 1, "of the two, the one whose replica lives");
    drop((admitted(&other).await, kept));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_forgot_all_is_told_again_who_is_under_way() {
    let mut server = RedisServer::start(&[]);
    let replica = Replica::new(two_at_once(), &settings(server.url(), None, false)).await;
    let held = [replica.ask().await.unwrap(), replica.ask().await.unwrap()];
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    redis::cmd("FLUSHALL").exec(&mut connection).unwrap();
    store_of(&replica).renew(LEASE_MS).await;
    assert!(replica.ask().await.is_err());
    server.kill();
    replica.until(false).await;
    server.start_anew();
    replica.until(true).await;
    in_time(async {
        // It is told as soon as it is back.
        while replica.ask().await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(held);
    drop(admitted(&replica).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_store_each_replica_has_its_part() {
    let mut server = RedisServer::start(&[]);
    let local = |name| {
        let limit = at_once(name, Subject::Client, 6);
        Limit { without_store: codecrucible_contract::WithoutStore::Local, ..limit }
    };
    let replica = Replica::new(vec![local("l")], &settings(server.url(), None, false)).await;
    server.kill();
    replica.until(false).await;
    let held = [replica.ask().await.unwrap(), replica.ask().await.unwrap()];
    assert_eq!(&*held[1].told[0].policy, "\"l\";q=2;qu=\"concurrent-requests\"");
    assert!(replica.ask().await.is_err(), "a third of six");
    assert_eq!(replica.fallbacks("local"), 3);
    drop(held);
    assert!(replica.ask().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_answers_too_late_keeps_no_place() {
    let server = RedisServer::start(&[]);
    let settings = settings(server.url(), None, false);
    let hasty = Replica::with_patience(Duration::from_millis(200), two_at_once(), &settings).await;
    let patient = Replica::new(two_at_once(), &settings).await;
    server.pause();
    assert!(hasty.ask().await.is_err());
    server.go_on();
    let _both = [admitted(&patient).await, admitted(&patient).await];
}
