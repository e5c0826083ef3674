//! Conditions: a status, a reason and a message, and the time of the last change of the status.

use codecrucible_crds::conditions as names;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Longest message of a condition, characters (the API's limit is 32768 bytes).
const MAX_MESSAGE_CHARACTERS: usize = 1_000;

/// What is said of a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) is_true: bool,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

pub(crate) fn verdict(is_true: bool, reason: &'static str, message: impl Into<String>) -> Verdict {
    Verdict { is_true, reason, message: message.into() }
}

/// `Stalled`, of something that is refused or not.
pub(crate) fn stalled(accepted: &Verdict) -> Verdict {
    if accepted.is_true {
        return verdict(false, names::REASON_STABLE, "nothing stands in the way");
    }
    Verdict { is_true: true, ..accepted.clone() }
}

/// `Reconciling`, of something that is on its way to being ready or not.
pub(crate) fn reconciling(accepted: &Verdict, ready: &Verdict) -> Verdict {
    // A service that sleeps is not on its way to anything, and neither is what it only compares.
    let rests = [names::REASON_NO_REPLICA, names::REASON_ONLY_COMPARED].contains(&ready.reason);
    if accepted.is_true && !ready.is_true && !rests {
        return Verdict { is_true: true, ..ready.clone() };
    }
    verdict(false, names::REASON_STABLE, "nothing is left to do")
}

/// A condition as it is written. Its time moves only when its status does, so that the same state gives the same
/// condition; `before` are those that were written last, for `generation`s up to this one.
pub(crate) fn condition(
    type_: &str,
    verdict: Verdict,
    generation: Option<i64>,
    before: &[Condition],
    now: Timestamp,
) -> Condition {
    let status = if verdict.is_true { "True" } else { "False" };
    let earlier = before.iter().find(|condition| condition.type_ == type_ && condition.status == status);
    Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: verdict.reason.to_owned(),
        message: verdict.message.chars().take(MAX_MESSAGE_CHARACTERS).collect(),
        observed_generation: generation,
        last_transition_time: earlier
            .map_or_else(|| whole_seconds(now), |condition| condition.last_transition_time.clone()),
    }
}

/// The API keeps whole seconds; what it gives back must equal what was written.
pub(crate) fn whole_seconds(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).unwrap_or(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_moves_only_with_the_status() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let first = condition("Ready", verdict(false, "Pending", "m"), Some(1), &[], at(1));
        let second =
            condition("Ready", verdict(false, "Other", "m"), Some(2), std::slice::from_ref(&first), at(2));
        assert_eq!(second.last_transition_time, first.last_transition_time);
        let third = condition("Ready", verdict(true, "Other", "m"), Some(2), &[second], at(3));
        assert_eq!(third.last_transition_time.0, at(3));
    }
}
