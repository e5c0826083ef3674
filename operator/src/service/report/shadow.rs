//! What replicas said of a policy that they only compare with the one in force.

use super::policy::{MAX_REASON_CHARACTERS, MAX_REJECTIONS};
use crate::service::acknowledgements::Answer;
use crate::service::desired::Compared;
use codecrucible_contract::ShadowAcknowledgement;
use codecrucible_crds::{Rejection, ShadowStatus};
use std::collections::BTreeMap;
use std::time::Duration;

/// Pause between two looks while replicas are on their way to it, seconds.
const UNDER_WAY_SECONDS: u64 = 1;
/// Pause while they compare, seconds: what they see they do not tell by themselves.
const COMPARING_SECONDS: u64 = 30;

impl From<&ShadowStatus> for Compared {
    fn from(status: &ShadowStatus) -> Self {
        Self { revision: status.revision.clone(), hash: status.hash.clone() }
    }
}

/// From what was handed out to be compared and what the replicas said.
pub(super) fn status(compared: &Compared, answers: &BTreeMap<String, Answer>) -> ShadowStatus {
    let Compared { revision, hash } = compared;
    let told =
        || answers.iter().filter_map(|(pod, answer)| Some((pod, answer.as_ref().ok()?.shadow.as_ref()?)));
    let applied = || told().filter(|(_, told)| (&told.revision, &told.hash) == (revision, hash));
    let rejected = told().filter_map(|(pod, ShadowAcknowledgement { refused, .. })| {
        let reason = refused.as_ref()?.chars().take(MAX_REASON_CHARACTERS).collect();
        Some(Rejection { pod: pod.clone(), reason })
    });
    let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    ShadowStatus {
        revision: revision.clone(),
        hash: hash.clone(),
        applied_replicas: count(applied().count()),
        differing_replicas: count(applied().filter(|(_, told)| told.differences > 0).count()),
        rejected: rejected.take(MAX_REJECTIONS).collect(),
    }
}

/// The longest time until the next look.
pub(super) fn look_again(shadow: &ShadowStatus, ready: usize) -> Duration {
    let told = shadow.applied_replicas.unsigned_abs() as usize + shadow.rejected.len();
    Duration::from_secs(if told < ready { UNDER_WAY_SECONDS } else { COMPARING_SECONDS })
}

/// In a sentence about the policy in force.
pub(super) fn told(shadow: &ShadowStatus) -> String {
    let ShadowStatus { revision, applied_replicas, differing_replicas, rejected, .. } = shadow;
    let count =
        format!("; {applied_replicas} compare {revision}, {differing_replicas} of them saw it differ");
    match rejected.first() {
        Some(Rejection { pod, reason }) => format!("{count}; pod {pod} refuses it: {reason}"),
        None => count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecrucible_contract::Acknowledgement;

    fn answer(shadow: Option<ShadowAcknowledgement>) -> Answer {
        Ok(Acknowledgement {
            revision: "1-x".into(),
            hash: "g".into(),
            clients: String::new(),
            certificate: None,
            shadow,
            applied_at: 1,
            refused: None,
        })
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
        let status = status(&compared, &answers);
        assert_eq!((status.applied_replicas, status.differing_replicas), (2, 1));
        assert_eq!(status.rejected, [Rejection { pod: "e".into(), reason: "too new".into() }]);
        assert_eq!(told(&status), "; 2 compare 2-x, 1 of them saw it differ; pod e refuses it: too new");
        assert_eq!(look_again(&status, 6), Duration::from_secs(1));
        assert_eq!(look_again(&status, 3), Duration::from_secs(30));
    }
}
