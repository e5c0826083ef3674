//! Which changes of conditions are worth an Event.

use codecrucible_crds::conditions as names;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::events::{Event, EventType};

/// Conditions whose changes people follow; the others restate them.
const ANNOUNCED: [&str; 3] = [names::ACCEPTED, names::AVAILABLE, names::READY];
/// Longest note (the API server's limit is 1024 bytes).
const MAX_NOTE_CHARACTERS: usize = 250;

/// An Event for each announced condition whose status or reason changed.
pub(super) fn announcements(before: &[Condition], after: &[Condition]) -> Vec<Event> {
    let is_new = |condition: &&Condition| {
        let earlier = before.iter().find(|earlier| earlier.type_ == condition.type_);
        earlier.is_none_or(|earlier| {
            (&earlier.status, &earlier.reason) != (&condition.status, &condition.reason)
        })
    };
    let announced = after.iter().filter(|condition| ANNOUNCED.contains(&condition.type_.as_str()));
    announced.filter(is_new).map(event).collect()
}

fn event(condition: &Condition) -> Event {
    // Waiting for the first replicas is the normal course of things, being wrong is not.
    let is_trouble = condition.status == "False"
        && ![
            names::REASON_REPLICAS_UNAVAILABLE,
            names::REASON_SCALED_TO_ZERO,
            names::REASON_PENDING,
            names::REASON_PAUSED,
        ]
        .contains(&condition.reason.as_str());
    let note = format!("{}={}: {}", condition.type_, condition.status, condition.message);
    Event {
        type_: if is_trouble { EventType::Warning } else { EventType::Normal },
        reason: condition.reason.clone(),
        note: Some(note.chars().take(MAX_NOTE_CHARACTERS).collect()),
        action: "Reconcile".into(),
        secondary: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

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
    fn only_changes_are_told() {
        let ready = [condition("Ready", "True", "Stable")];
        assert_eq!(announcements(&[], &ready).len(), 1);
        assert_eq!(announcements(&ready, &ready).len(), 0);
        assert_eq!(announcements(&ready, &[condition("Ready", "True", "Other")]).len(), 1);
    }

    #[test]
    fn a_refusal_is_a_warning_and_waiting_is_not() {
        let warned = |reason| matches!(event(&condition("Ready", "False", reason)).type_, EventType::Warning);
        assert!(warned("Invalid") && warned("NotOwned"));
        assert!(!warned("ReplicasUnavailable"));
    }
}
