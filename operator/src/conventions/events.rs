//! Events: which changes of conditions are worth one.

use codecrucible_crds::conditions as names;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;
use kube::runtime::events::{Event, EventType};

/// Conditions whose changes people follow; the others restate them.
const ANNOUNCED: [&str; 7] = [
    names::ACCEPTED,
    names::AVAILABLE,
    names::POLICY_SYNCED,
    names::CERTIFICATE_VALID,
    names::EXPOSED,
    names::STORE_CONNECTED,
    names::READY,
];
/// Longest note (the API server's limit is 1024 bytes).
const MAX_NOTE_CHARACTERS: usize = 250;

/// An Event for each announced condition whose status or reason changed.
pub(crate) fn announcements(before: &[Condition], after: &[Condition]) -> Vec<Event> {
    let announced = after.iter().filter(|condition| is_announced(condition));
    announced.filter_map(|condition| announcement(before, condition)).collect()
}

fn is_announced(condition: &Condition) -> bool {
    ANNOUNCED.contains(&condition.type_.as_str())
        || (condition.type_ == names::PROGRESSING
            && [names::REASON_ROLLED_BACK, names::REASON_CANARY].contains(&condition.reason.as_str()))
}

fn announcement(before: &[Condition], condition: &Condition) -> Option<Event> {
    let earlier = before.iter().find(|earlier| earlier.type_ == condition.type_);
    let is_same = earlier
        .is_some_and(|earlier| (&earlier.status, &earlier.reason) == (&condition.status, &condition.reason));
    if is_same || is_passing(&condition.reason) {
        return None;
    }
    let was_true = earlier.is_some_and(|earlier| earlier.status == "True");
    let is_trouble = is_trouble(condition, was_true);
    // That all begins as it should is told by one Event, not by one for each condition.
    if earlier.is_none() && !is_trouble && condition.type_ != names::READY {
        return None;
    }
    let kind = if is_trouble { EventType::Warning } else { EventType::Normal };
    Some(event(
        kind,
        &condition.reason,
        &format!("{}={}: {}", condition.type_, condition.status, condition.message),
    ))
}

/// What only leads to the next state is not worth an Event.
fn is_passing(reason: &str) -> bool {
    [
        names::REASON_QUEUED,
        names::REASON_PENDING,
        names::REASON_NO_REPLICA,
        names::REASON_UNREACHABLE,
        names::REASON_NOT_PUBLISHED,
        names::REASON_AWAITING_CONTROLLER,
    ]
    .contains(&reason)
}

/// Being wrong is trouble, and so is losing replicas; waiting for the first ones is the normal course of things.
fn is_trouble(condition: &Condition, was_true: bool) -> bool {
    condition.status == "False"
        && match condition.reason.as_str() {
            names::REASON_SCALED_TO_ZERO | names::REASON_DISABLED => false,
            names::REASON_REPLICAS_UNAVAILABLE => was_true,
            _ => true,
        }
}

/// Whom an Event is about. The object's version stays out: what is told of each version of it would never be one Event.
pub(crate) fn about(object: &impl Resource<DynamicType = ()>) -> ObjectReference {
    ObjectReference { resource_version: None, ..object.object_ref(&()) }
}

/// An Event for something that went wrong.
pub(crate) fn warning(reason: &str, message: &str) -> Event {
    event(EventType::Warning, reason, message)
}

fn event(type_: EventType, reason: &str, note: &str) -> Event {
    Event {
        type_,
        reason: reason.to_owned(),
        note: Some(note.chars().take(MAX_NOTE_CHARACTERS).collect()),
        action: "Reconcile".into(),
        secondary: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::fixtures;
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;

    fn condition(type_: &str, status: &str, reason: &str) -> Condition {
        Condition {
            type_: type_.into(),
            status: status.into(),
            reason: reason.into(),
            message: "m".into(),
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
            observed_generation: None,
        }
    }

    #[test]
    fn what_is_told_of_a_changed_object_is_told_of_the_same_one() {
        let mut object = fixtures::resource(json!({}));
        object.metadata.resource_version = Some("1".into());
        let before = about(&object);
        object.metadata.resource_version = Some("2".into());
        assert_eq!(about(&object), before);
        assert_eq!(before.uid, object.metadata.uid);
    }

    #[test]
    fn only_changes_are_told() {
        let ready = [condition("Ready", "True", "Stable")];
        assert_eq!(announcements(&[], &ready).len(), 1);
        assert_eq!(announcements(&ready, &ready).len(), 0);
        assert_eq!(announcements(&ready, &[condition("Ready", "True", "Other")]).len(), 1);
    }

    #[test]
    fn a_resource_that_begins_well_is_told_of_once() {
        let begun = [
            condition("Accepted", "True", "Valid"),
            condition("Available", "False", "ReplicasUnavailable"),
            condition("CertificateValid", "True", "Valid"),
            condition("Ready", "False", "ReplicasUnavailable"),
        ];
        assert_eq!(announcements(&[condition("Ready", "Unknown", "Pending")], &begun).len(), 1);
        let refused =
            [condition("Accepted", "False", "Invalid"), condition("CertificateValid", "False", "Expired")];
        assert_eq!(announcements(&[], &refused).len(), 2);
    }

    #[test]
    fn a_refusal_or_a_loss_is_a_warning_and_waiting_is_not() {
        let warned = |before: &[Condition], reason| {
            let event = announcement(before, &condition("Ready", "False", reason)).unwrap();
            matches!(event.type_, EventType::Warning)
        };
        assert!(warned(&[], "Invalid") && warned(&[], "NotOwned"));
        assert!(!warned(&[], "ReplicasUnavailable"));
        assert!(warned(&[condition("Ready", "True", "MinimumReplicasAvailable")], "ReplicasUnavailable"));
    }
}
