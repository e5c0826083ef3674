//! Whether replicas count together, from what they said themselves.

use super::policy::Spread;
use crate::conventions::{Verdict, verdict};
use crate::service::observe::Observed;
use codecrucible_contract::Acknowledgement;
use codecrucible_crds::{CodeCrucible, conditions as names};
use std::time::Duration;

/// The longest time until replicas are asked again: a store comes and goes by itself, seconds.
const LOOK_AGAIN_SECONDS: u64 = 60;
/// The same while one does without it, seconds.
const LOOK_AGAIN_SOON_SECONDS: u64 = 10;

/// Whether every ready replica counts together with the others. Nothing where there is no store.
pub(super) fn store_connected(
    resource: &CodeCrucible,
    observed: &Observed,
    spread: Option<&Spread>,
) -> Option<Verdict> {
    resource.spec.redis.as_ref()?;
    // One that does not run the policy yet may count elsewhere.
    let runs = |told: &&Acknowledgement| spread.is_some_and(|spread| spread.is_run_by(told));
    let all = observed.answers.len();
    let stores = observed.answers.iter().map(|(pod, answer)| {
        let store = answer.as_ref().ok().filter(runs).and_then(|told| told.store.as_ref());
        (pod, store.map(|store| store.trouble.as_deref()))
    });
    let connected = stores.clone().filter(|(_, store)| *store == Some(None)).count();
    let trouble = stores.clone().find_map(|(pod, store)| Some((pod, store??)));
    let count = format!("{connected} of {all} ready replicas count together");
    Some(match trouble {
        _ if all == 0 => verdict(false, names::REASON_NO_REPLICA, "no replica is ready"),
        Some((pod, why)) => {
            verdict(false, names::REASON_NOT_CONNECTED, format!("{count}; {pod} does without Redis: {why}"))
        }
        None if connected < all => verdict(false, names::REASON_PENDING, count),
        None => verdict(true, names::REASON_CONNECTED, count),
    })
}

/// The longest time until the next look.
pub(super) fn look_again(resource: &CodeCrucible, observed: &Observed, spread: Option<&Spread>) -> Duration {
    match store_connected(resource, observed, spread) {
        None => Duration::MAX,
        Some(verdict) if verdict.is_true => Duration::from_secs(LOOK_AGAIN_SECONDS),
        Some(_) => Duration::from_secs(LOOK_AGAIN_SOON_SECONDS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::fixtures;
    use codecrucible_contract::StoreAcknowledgement;
    use serde_json::json;

    fn with_redis() -> CodeCrucible {
        fixtures::resource(json!({"redis": {"url": "redis://redis:6379"}}))
    }

    fn told(stores: &[Option<StoreAcknowledgement>]) -> Observed {
        let mut observed = fixtures::observed();
        for (pod, store) in stores.iter().enumerate() {
            let told = Acknowledgement { store: store.clone(), ..fixtures::acknowledgement("1-x", "h") };
            observed.answers.insert(format!("demo-{pod}"), Ok(told));
        }
        observed
    }

    /// How far the policy has come that they run.
    fn spread(observed: &Observed) -> Spread {
        Spread::of("1-x", "h", &observed.answers)
    }

    fn decided(resource: &CodeCrucible, stores: &[Option<StoreAcknowledgement>]) -> Option<Verdict> {
        let observed = told(stores);
        store_connected(resource, &observed, Some(&spread(&observed)))
    }

    #[test]
    fn it_is_true_when_every_ready_replica_says_so_and_names_the_one_that_does_not() {
        let (good, bad) =
            (Some(StoreAcknowledgement::default()), Some(StoreAcknowledgement::trouble("NOAUTH")));
        let state = |stores: &[_]| decided(&with_redis(), stores).map(|told| (told.is_true, told.reason));
        assert_eq!(state(&[]), Some((false, "NoReplica")));
        assert_eq!(state(&[good.clone(), good.clone()]), Some((true, "Connected")));
        assert_eq!(
            state(&[good.clone(), None]),
            Some((false, "Pending")),
            "it has not read of the store yet"
        );
        assert_eq!(state(&[good.clone(), bad.clone()]), Some((false, "NotConnected")));
        let message = decided(&with_redis(), &[good.clone(), bad]).unwrap().message;
        assert_eq!(message, "1 of 2 ready replicas count together; demo-1 does without Redis: NOAUTH");
        assert_eq!(decided(&fixtures::resource(json!({})), &[None]), None);
        let observed = told(&[good]);
        let newer = Spread::of("2-y", "i", &observed.answers);
        let verdict = store_connected(&with_redis(), &observed, Some(&newer)).unwrap();
        assert_eq!(verdict.reason, "Pending", "it may still count elsewhere");
    }

    #[test]
    fn replicas_are_asked_again_because_a_store_comes_and_goes_by_itself() {
        let after = |stores: &[_]| {
            let observed = told(stores);
            look_again(&with_redis(), &observed, Some(&spread(&observed))).as_secs()
        };
        assert_eq!(after(&[Some(StoreAcknowledgement::default())]), LOOK_AGAIN_SECONDS);
        assert_eq!(after(&[Some(StoreAcknowledgement::trouble("x"))]), LOOK_AGAIN_SOON_SECONDS);
        assert_eq!(look_again(&fixtures::resource(json!({})), &told(&[]), None), Duration::MAX);
    }
}
