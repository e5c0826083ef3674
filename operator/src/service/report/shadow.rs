//! What replicas said of a policy that they only compare with the one in force.

use super::policy::{MAX_REASON_CHARACTERS, MAX_REJECTIONS, pause};
use crate::conventions::whole_seconds;
use crate::service::acknowledgements::Answer;
use crate::service::desired::Compared;
use codecrucible_contract::ShadowAcknowledgement;
use codecrucible_crds::{Rejection, ShadowStatus};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// Pause while they compare, seconds: what they see they do not tell by themselves.
const COMPARING_SECONDS: u64 = 30;

impl From<&ShadowStatus> for Compared {
    fn from(status: &ShadowStatus) -> Self {
        Self { revision: status.revision.clone(), hash: status.hash.clone() }
    }
}

/// From what was handed out to be compared and what the replicas said; `before` is what was said of them last.
pub(super) fn status(
    compared: &Compared,
    answers: &BTreeMap<String, Answer>,
    before: Option<&ShadowStatus>,
    now: Timestamp,
) -> ShadowStatus {
    let Compared { revision, hash } = compared;
    let told =
        || answers.iter().filter_map(|(pod, answer)| Some((pod, answer.as_ref().ok()?.shadow.as_ref()?)));
    let applied = || told().filter(|(_, told)| (&told.revision, &told.hash) == (revision, hash));
    let rejected = told().filter_map(|(pod, ShadowAcknowledgement { refused, .. })| {
        let reason = refused.as_ref()?.chars().take(MAX_REASON_CHARACTERS).collect();
        Some(Rejection { pod: pod.clone(), reason })
    });
    let known =
        before.filter(|before| before.revision == *revision).map(|before| before.published_at.clone());
    let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    ShadowStatus {
        revision: revision.clone(),
        hash: hash.clone(),
        published_at: known.unwrap_or_else(|| Some(whole_seconds(now))),
        applied_replicas: count(applied().count()),
        compared_replicas: count(applied().filter(|(_, told)| told.comparisons > 0).count()),
        differing_replicas: count(applied().filter(|(_, told)| told.differences > 0).count()),
        rejected: rejected.take(MAX_REJECTIONS).collect(),
    }
}

/// The longest time until the next look. Those that never say that they compare, because they are of an older version or
/// refuse, are asked ever more seldom.
pub(super) fn look_again(shadow: &ShadowStatus, ready: usize, now: Timestamp) -> Duration {
    let comparing = Duration::from_secs(COMPARING_SECONDS);
    if usize::try_from(shadow.applied_replicas).is_ok_and(|applied| applied >= ready) {
        return comparing;
    }
    pause(shadow.published_at.as_ref().map(|time| time.0), now).min(comparing)
}

/// In a sentence about the policy in force.
pub(super) fn told(shadow: &ShadowStatus) -> String {
    let ShadowStatus { revision, applied_replicas, compared_replicas, differing_replicas, rejected, .. } =
        shadow;
    let count = format!(
        "; {applied_replicas} have {revision} to compare, {compared_replicas} of them compared a request, and \
         {differing_replicas} saw it differ"
    );
    match rejected.first() {
        Some(Rejection { pod, reason }) => format!("{count}; pod {pod} refuses it: {reason}"),
        None => count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::fixtures;
    use codecrucible_contract::Acknowledgement;

    fn answer(shadow: Option<ShadowAcknowledgement>) -> Answer {
        Ok(Acknowledgement { shadow, ..fixtures::acknowledgement("1-x", "g") })
    }

    fn compares(hash: &str, differences: u64) -> Answer {
        let (revision, hash) = ("2-x".into(), hash.into());
        answer(Some(ShadowAcknowledgement { revision, hash, comparisons: 9, differences, refused: None }))
    }

    #[test]
    fn a_replica_counts_when_it_compares_just_this_policy_and_differs_when_it_has_seen_that() {
        let compared = Compared { revision: "2-x".into(), hash: "h".into() };
        let answers = [
            ("a", compares("h", 0)),
            ("b", compares("h", 3)),
            ("c", compares("of another one", 5)),
            ("d", answer(None)),
            ("e", answer(Some(ShadowAcknowledgement::refusal("too new")))),
            ("f", Err("no answer".into())),
        ];
        let answers: BTreeMap<_, _> =
            answers.into_iter().map(|(pod, answer)| (pod.to_owned(), answer)).collect();
        let now = Timestamp::from_second(1_000).unwrap();
        let first = status(&compared, &answers, None, now);
        let later = Timestamp::from_second(2_000).unwrap();
        let status = status(&compared, &answers, Some(&first), later);
        assert_eq!(status, first, "nothing is new");
        assert_eq!((status.applied_replicas, status.compared_replicas, status.differing_replicas), (2, 2, 1));
        assert_eq!(status.rejected, [Rejection { pod: "e".into(), reason: "too new".into() }]);
        assert!(
            told(&status).ends_with("and 1 saw it differ; pod e refuses it: too new"),
            "{}",
            told(&status)
        );
        assert_eq!(look_again(&status, 6, now), Duration::from_millis(250));
        assert_eq!(look_again(&status, 6, later), Duration::from_secs(30));
        assert_eq!(look_again(&status, 2, now), Duration::from_secs(30));
    }
}
