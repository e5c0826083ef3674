//! Which replicas run the policy that was handed out, from what they said themselves.

use super::shadow;
use crate::conventions::{Verdict, verdict, whole_seconds};
use crate::service::acknowledgements::Answer;
use crate::service::desired::{Compared, Publication};
use crate::service::observe::Observed;
use crate::service::outcome::Outcome;
use codecrucible_crds::{
    AccessInForce, CodeCrucible, PolicyStatus, Rejection, ReplicaPolicy, ShadowStatus, conditions as names,
};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// Most replicas that are listed.
const MAX_REPLICAS: usize = 100;
/// Longest revision that is believed, characters.
const MAX_REVISION_CHARACTERS: usize = 40;
/// Most refusals that are listed.
pub(super) const MAX_REJECTIONS: usize = 10;
/// Longest reason of a refusal, characters.
pub(super) const MAX_REASON_CHARACTERS: usize = 300;

/// Shortest pause between two looks for a policy that is on its way, milliseconds. The kubelet takes about a second.
const SHORTEST_PAUSE_MS: u64 = 250;
/// Longest one, milliseconds.
const LONGEST_PAUSE_MS: u64 = 60_000;
/// How many times a pause fits into the time that has been waited already.
const PAUSES_SO_FAR: u64 = 10;
/// Pause while a replica refuses: it tries again by itself, seconds.
const REJECTED_PAUSE_SECONDS: u64 = 10;

/// What is said of a policy that a person chose.
const HELD: &str = ", at which the annotation codecrucible.dev/rollback-policy holds the service";

/// How far the policy has spread that was handed out last. Nothing before the first one.
pub(super) fn spread(
    resource: &CodeCrucible,
    observed: &Observed,
    outcome: &Outcome,
    now: Timestamp,
) -> Option<Spread> {
    let before = resource.status.as_ref().and_then(|status| status.policy.as_ref());
    let known = || {
        let PolicyStatus { revision, hash, access, pinned, shadow, .. } = before?;
        Some((revision, hash, access, *pinned, shadow.as_ref().map(Compared::from)))
    };
    let (revision, hash, access, is_pinned, compared) = match outcome {
        Outcome::Applied(applied) => {
            let Publication { revision, hash, access, is_pinned, shadow, .. } = &applied.publication;
            (revision, hash, access, *is_pinned, shadow.clone())
        }
        Outcome::Invalid(_) | Outcome::Paused | Outcome::Failed(_) => known()?,
    };
    let published_at =
        before.filter(|before| before.revision == *revision).map(|before| &before.published_at);
    let published_at = published_at.map_or(Some(now), |known| known.as_ref().map(|time| time.0));
    let access = access.clone();
    let compared_before = before.and_then(|before| before.shadow.as_ref());
    let shadow = compared.map(|compared| shadow::status(&compared, &observed.answers, compared_before, now));
    Some(Spread { published_at, access, is_pinned, shadow, ..Spread::of(revision, hash, &observed.answers) })
}

/// The pause until the next look for what was handed out then, and is on its way.
pub(super) fn pause(published_at: Option<Timestamp>, now: Timestamp) -> Duration {
    // A time in the future is that of another clock: nothing was waited yet.
    let waited = published_at.map_or(0, |since| now.duration_since(since).as_millis().max(0));
    let waited = u64::try_from(waited).unwrap_or(u64::MAX);
    Duration::from_millis((waited / PAUSES_SO_FAR).clamp(SHORTEST_PAUSE_MS, LONGEST_PAUSE_MS))
}

/// How far a policy has spread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Spread {
    revision: String,
    hash: String,
    published_at: Option<Timestamp>,
    access: Vec<AccessInForce>,
    is_pinned: bool,
    /// Replicas that were asked.
    ready: usize,
    /// Replicas that run it.
    applied: usize,
    /// What each one runs.
    replicas: Vec<ReplicaPolicy>,
    /// What replicas refuse.
    rejected: Vec<Rejection>,
    /// Why a replica said nothing.
    silent: Option<String>,
    /// What they said of the policy that they only compare.
    shadow: Option<ShadowStatus>,
}

impl Spread {
    /// From what was handed out and what the replicas said.
    pub(super) fn of(revision: &str, hash: &str, answers: &BTreeMap<String, Answer>) -> Self {
        let told = || answers.iter().filter_map(|(pod, answer)| Some((pod, answer.as_ref().ok()?)));
        let applied = told().filter(|(_, told)| (&*told.revision, &*told.hash) == (revision, hash));
        let rejected = told().filter_map(|(pod, told)| {
            let reason = told.refused.as_ref()?.reason.chars().take(MAX_REASON_CHARACTERS).collect();
            Some(Rejection { pod: pod.clone(), reason })
        });
        let replicas = told().map(|(pod, told)| ReplicaPolicy {
            pod: pod.clone(),
            revision: told.revision.chars().take(MAX_REVISION_CHARACTERS).collect(),
        });
        let silent =
            answers.iter().find_map(|(pod, answer)| Some(format!("pod {pod}: {}", answer.as_ref().err()?)));
        Self {
            revision: revision.to_owned(),
            hash: hash.to_owned(),
            published_at: None,
            access: Vec::new(),
            is_pinned: false,
            ready: answers.len(),
            applied: applied.count(),
            replicas: replicas.take(MAX_REPLICAS).collect(),
            rejected: rejected.take(MAX_REJECTIONS).collect(),
            silent,
            shadow: None,
        }
    }

    /// Whether a replica runs it.
    pub(super) fn is_run_by(&self, told: &codecrucible_contract::Acknowledgement) -> bool {
        (&*told.revision, &*told.hash) == (&*self.revision, &*self.hash)
    }

    /// Whether replicas are still on their way to it.
    pub(super) fn is_under_way(&self) -> bool {
        self.ready > self.applied && self.rejected.is_empty()
    }

    /// The longest time until the next look: replicas do not tell by themselves.
    pub(super) fn look_again(&self, now: Timestamp) -> Duration {
        if self.is_rejected() {
            return Duration::from_secs(REJECTED_PAUSE_SECONDS);
        }
        if self.is_under_way() {
            return pause(self.published_at, now);
        }
        self.shadow.as_ref().map_or(Duration::MAX, |shadow| shadow::look_again(shadow, self.ready, now))
    }

    /// How long it has been handed out.
    pub(super) fn took(&self, now: Timestamp) -> Option<Duration> {
        let since = self.published_at.filter(|since| *since <= now)?;
        Some(now.duration_since(since).unsigned_abs())
    }

    /// Whether there are replicas, and all of them run it.
    pub(super) fn has_arrived(&self) -> bool {
        self.ready > 0 && self.applied == self.ready && self.rejected.is_empty()
    }

    pub(super) fn is_rejected(&self) -> bool {
        !self.rejected.is_empty()
    }

    pub(super) fn verdict(&self) -> Verdict {
        let Self { revision, ready, applied, rejected, silent, .. } = self;
        let pinned = if self.is_pinned { HELD } else { "" };
        let compared = self.shadow.as_ref().map_or_else(String::new, shadow::told);
        let count = format!("{applied} of {ready} ready replicas run {revision}{pinned}{compared}");
        if let Some(Rejection { pod, reason }) = rejected.first() {
            return verdict(false, names::REASON_REJECTED, format!("{count}; pod {pod}: {reason}"));
        }
        match silent {
            _ if *ready == 0 => verdict(false, names::REASON_NO_REPLICA, "no replica is ready"),
            _ if applied == ready => verdict(true, names::REASON_APPLIED, count),
            Some(silent) => verdict(false, names::REASON_UNREACHABLE, format!("{count}; {silent}")),
            None => verdict(false, names::REASON_PENDING, count),
        }
    }

    pub(super) fn status(&self) -> PolicyStatus {
        PolicyStatus {
            revision: self.revision.clone(),
            hash: self.hash.clone(),
            published_at: self.published_at.map(whole_seconds),
            pinned: self.is_pinned,
            access: self.access.clone(),
            applied_replicas: i32::try_from(self.applied).unwrap_or(i32::MAX),
            replicas: self.replicas.clone(),
            rejected: self.rejected.clone(),
            shadow: self.shadow.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::fixtures;
    use codecrucible_contract::{Acknowledgement, Refused};

    fn told(revision: &str, refused: Option<&str>) -> Answer {
        let refused = refused.map(|reason| Refused::new(reason, 1));
        Ok(Acknowledgement { refused, ..fixtures::acknowledgement(revision, "h") })
    }

    fn spread(answers: impl IntoIterator<Item = (&'static str, Answer)>) -> Spread {
        let answers = answers.into_iter().map(|(pod, answer)| (pod.to_owned(), answer)).collect();
        Spread::of("2-x", "h", &answers)
    }

    fn state(spread: &Spread) -> (bool, &'static str) {
        let Verdict { is_true, reason, .. } = spread.verdict();
        (is_true, reason)
    }

    #[test]
    fn a_policy_has_arrived_when_every_ready_replica_says_so() {
        let all = spread([("a", told("2-x", None)), ("b", told("2-x", None))]);
        assert_eq!(state(&all), (true, "Applied"));
        assert_eq!(all.status().applied_replicas, 2);
        let some = spread([("a", told("2-x", None)), ("b", told("1-x", None))]);
        assert_eq!(state(&some), (false, "Pending"));
        assert!(some.is_under_way() && !all.is_under_way());
        assert_eq!(some.verdict().message, "1 of 2 ready replicas run 2-x");
    }

    #[test]
    fn a_revision_of_the_same_name_with_another_content_is_another_one() {
        let other = told("2-x", None).map(|told| Acknowledgement { hash: "g".into(), ..told });
        assert_eq!(spread([("a", other)]).status().applied_replicas, 0);
    }

    #[test]
    fn a_refusal_is_named_even_if_another_replica_is_silent() {
        let refused = spread([("a", Err("gone".into())), ("b", told("1-x", Some("too new")))]);
        assert_eq!(state(&refused), (false, "Rejected"));
        assert!(refused.verdict().message.ends_with("pod b: too new"));
        assert_eq!(refused.status().rejected, [Rejection { pod: "b".into(), reason: "too new".into() }]);
        assert!(refused.is_rejected() && !refused.is_under_way());
    }

    #[test]
    fn a_replica_that_says_nothing_is_not_taken_for_one_that_agrees() {
        let silent = spread([("a", told("2-x", None)), ("b", Err("no answer within 2 s".into()))]);
        assert_eq!(state(&silent), (false, "Unreachable"));
        assert!(silent.verdict().message.ends_with("pod b: no answer within 2 s"));
        assert!(silent.is_under_way());
    }

    #[test]
    fn replicas_are_asked_often_at_first_and_seldom_later() {
        let now = Timestamp::from_second(1_000).unwrap();
        let since = |second: i64| {
            let published_at = Timestamp::from_second(second).ok();
            Spread { published_at, ..spread([("a", told("1-x", None))]) }.look_again(now)
        };
        assert_eq!(since(999), Duration::from_millis(250));
        assert_eq!(since(900), Duration::from_secs(10));
        assert_eq!(since(0), Duration::from_secs(60));
        assert_eq!(since(2_000), Duration::from_millis(250), "of another clock");
        let rejected = spread([("a", told("1-x", Some("no")))]);
        assert_eq!(rejected.look_again(now), Duration::from_secs(10));
        let arrived = spread([("a", told("2-x", None))]);
        assert_eq!(arrived.look_again(now), Duration::MAX);
    }

    #[test]
    fn without_replicas_nothing_is_claimed_and_nothing_is_under_way() {
        assert_eq!(state(&spread([])), (false, "NoReplica"));
        assert!(!spread([]).is_under_way());
    }
}
