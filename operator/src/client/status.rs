//! What is said of a client in its `status`. Pure.

use super::decision::Decision;
use crate::conventions::{condition, reconciling, stalled};
use codecrucible_crds::{SynthesisClient, SynthesisClientStatus, conditions as names};
use jiff::Timestamp;

/// The status of a client. The same state gives the same status.
pub(super) fn status(client: &SynthesisClient, decision: &Decision, now: Timestamp) -> SynthesisClientStatus {
    let Decision { write: _, secret_sha256, accepted, ready } = decision;
    let before = client.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let generation = client.metadata.generation;
    let is_admitted = secret_sha256.is_some();
    let conditions = [
        (names::ACCEPTED, accepted.clone()),
        (names::READY, ready.clone()),
        (names::RECONCILING, reconciling(accepted, ready)),
        (names::STALLED, stalled(accepted)),
    ];
    SynthesisClientStatus {
        observed_generation: generation,
        conditions: conditions
            .map(|(type_, verdict)| condition(type_, verdict, generation, before, now))
            .to_vec(),
        client_id: is_admitted.then(|| client.id()),
        secret_name: is_admitted.then(|| client.secret_name()),
        secret_sha256: secret_sha256.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conventions::{Verdict, verdict};
    use serde_json::json;

    fn decision(secret_sha256: Option<&str>, accepted: Verdict, ready: Verdict) -> Decision {
        Decision { write: None, secret_sha256: secret_sha256.map(str::to_owned), accepted, ready }
    }

    fn client() -> SynthesisClient {
        let mut client = SynthesisClient::new(
            "app",
            serde_json::from_value(json!({"targetRef": {"name": "demo"}})).unwrap(),
        );
        client.metadata.namespace = Some("apps".into());
        client.metadata.generation = Some(3);
        client
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// The conditions that are true.
    fn holds(status: &SynthesisClientStatus) -> Vec<&str> {
        let true_ones = status.conditions.iter().filter(|condition| condition.status == "True");
        true_ones.map(|condition| &*condition.type_).collect()
    }

    #[test]
    fn a_client_that_waits_is_on_its_way_and_one_that_sleeps_or_is_ready_is_not() {
        let accepted = || verdict(true, names::REASON_VALID, "let in");
        let status_with = |ready| status(&client(), &decision(Some("h"), accepted(), ready), at(1));
        let waits = status_with(verdict(false, names::REASON_PENDING, "not yet"));
        assert_eq!(holds(&waits), ["Accepted", "Reconciling"]);
        assert_eq!((waits.observed_generation, waits.client_id.as_deref()), (Some(3), Some("apps.app")));
        let sleeps = status_with(verdict(false, names::REASON_NO_REPLICA, "hibernates"));
        assert_eq!(holds(&sleeps), ["Accepted"]);
        assert_eq!(
            holds(&status_with(verdict(true, names::REASON_REGISTERED, "known"))),
            ["Accepted", "Ready"]
        );
    }

    #[test]
    fn a_client_that_is_refused_is_stalled_and_has_no_name() {
        let refused = verdict(false, names::REASON_NAMESPACE_NOT_ALLOWED, "ask its owner");
        let status = status(&client(), &decision(None, refused.clone(), refused), at(1));
        assert_eq!(holds(&status), ["Stalled"]);
        assert_eq!((status.client_id, status.secret_name, status.secret_sha256), (None, None, None));
    }

    #[test]
    fn the_same_state_gives_the_same_status_later() {
        let mut client = client();
        let decision =
            || decision(Some("h"), verdict(true, "Valid", "in"), verdict(true, "Registered", "known"));
        let first = status(&client, &decision(), at(1));
        client.status = Some(first.clone());
        assert_eq!(status(&client, &decision(), at(99)), first);
    }
}
