//! Whether a rollout has failed: it makes no progress, its pods crash, or they serve without ever applying the policy.

use super::progress::Progress;
use super::trouble::{is_crashing, trouble};
use crate::service::acknowledgements::Answer;
use codecrucible_contract::Bundle;
use codecrucible_crds::names;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use std::collections::BTreeMap;
use std::time::Duration;

/// Crashes of one container that are no accident any more.
const MAX_CRASHES: i32 = 3;
/// Longest reason, characters: it is kept in an annotation.
const MAX_REASON_CHARACTERS: usize = 400;

/// Why a rollout failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure(pub(crate) String);

/// What a rollout is judged by.
pub(crate) struct Judged<'a> {
    /// The key of the template that is rolled out.
    pub(crate) template: &'a str,
    /// The policy that its pods are to apply.
    pub(crate) policy: &'a Bundle,
    pub(crate) progress: &'a Progress,
    pub(crate) pods: &'a [Pod],
    pub(crate) answers: &'a BTreeMap<String, Answer>,
    /// When that policy was handed out, if it was.
    pub(crate) published_at: Option<Timestamp>,
    /// Since when the deployment asks for that template, if it is known.
    pub(crate) since: Option<Timestamp>,
    pub(crate) deadline: Duration,
}

impl Judged<'_> {
    /// Why it has failed, if it has.
    pub(crate) fn failure(&self, now: Timestamp) -> Option<Failure> {
        let reason = self.stuck(now).or_else(|| self.crashing()).or_else(|| self.deaf(now))?;
        Some(Failure(reason.chars().take(MAX_REASON_CHARACTERS).collect()))
    }

    /// The deployment's controller may leave standing what it said of an earlier template.
    fn stuck(&self, now: Timestamp) -> Option<String> {
        let Progress { is_observed, deadline_exceeded, exceeded_at, .. } = self.progress;
        let is_of_this = self
            .since
            .is_none_or(|since| exceeded_at.is_some_and(|at| at > since) || self.is_over(since, now));
        if !(*is_observed && *deadline_exceeded && is_of_this) {
            return None;
        }
        let told = trouble(self.progress, self.pods);
        Some(told.unwrap_or_else(|| "the deployment made no progress in time".into()))
    }

    /// Whether the deadline is over for what began then.
    fn is_over(&self, since: Timestamp, now: Timestamp) -> bool {
        now > since && now.duration_since(since).unsigned_abs() > self.deadline
    }

    fn crashing(&self) -> Option<String> {
        let crashing = self.new_pods().find(|pod| is_crashing(pod, MAX_CRASHES))?;
        trouble(self.progress, std::slice::from_ref(crashing))
    }

    /// A pod that has been ready for long, and says that it does not run a policy that was handed out long ago. Silence
    /// is no reason: the operator itself may be what is broken, and the pod somebody else's.
    fn deaf(&self, now: Timestamp) -> Option<String> {
        let published_at = self.published_at?;
        let mut overdue = self
            .new_pods()
            .filter(|pod| ready_since(pod).is_some_and(|ready| self.is_over(ready.max(published_at), now)));
        overdue.find_map(|pod| Some(format!("pod {}: {}", pod.name_any(), self.deafness(pod)?)))
    }

    fn deafness(&self, pod: &Pod) -> Option<String> {
        let revision = self.policy.revision().to_string();
        let told = self.answers.get(&pod.name_any())?.as_ref().ok()?;
        if (&*told.revision, &*told.hash) == (&*revision, self.policy.hash()) {
            return None;
        }
        Some(match &told.refused {
            Some(refused) => format!("refuses the policy {revision}: {}", refused.reason),
            None => format!("runs the policy {}, not {revision}", told.revision),
        })
    }

    fn new_pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.iter().filter(|pod| is_made_from(pod, self.template))
    }
}

/// Whether a pod is to stay, and made from a template.
pub(super) fn is_made_from(pod: &Pod, template: &str) -> bool {
    pod.metadata.deletion_timestamp.is_none()
        && pod.annotations().get(names::ANNOTATION_TEMPLATE).is_some_and(|key| key == template)
}

/// Since when a pod is ready, if it is.
pub(crate) fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let ready =
        conditions.iter().find(|condition| condition.type_ == "Ready" && condition.status == "True")?;
    Some(ready.last_transition_time.as_ref()?.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::fixtures;
    use crate::service::validate::validate;
    use codecrucible_contract::{Acknowledgement, Refused};
    use serde_json::{Value, json};

    const DEADLINE: u64 = 60;

    fn bundle() -> Bundle {
        let Ok(validated) = validate(&fixtures::resource(json!({})), &fixtures::observed()) else {
            panic!("it is not valid")
        };
        validated.bundle
    }

    fn pod(template: &str, status: Value) -> Pod {
        let annotations = json!({"codecrucible.dev/template": template});
        let pod = json!({"metadata": {"name": "p", "annotations": annotations}, "status": status});
        serde_json::from_value(pod).unwrap()
    }

    fn crashed(template: &str, times: i32) -> Pod {
        let container = json!({"name": "w", "image": "", "imageID": "", "ready": false, "restartCount": times,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"reason": "Error", "exitCode": 1}}});
        pod(template, json!({"containerStatuses": [container]}))
    }

    fn ready_at(second: i64) -> Pod {
        let since = Timestamp::from_second(second).unwrap().to_string();
        pod("new", json!({"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": since}]}))
    }

    fn failure(progress: &Progress, pods: &[Pod], answer: Option<Answer>, now: i64) -> Option<String> {
        let answers = answer.into_iter().map(|answer| ("p".to_owned(), answer)).collect();
        let judged = Judged {
            template: "new",
            policy: &bundle(),
            progress,
            pods,
            answers: &answers,
            published_at: Some(Timestamp::UNIX_EPOCH),
            since: Timestamp::from_second(50).ok(),
            deadline: Duration::from_secs(DEADLINE),
        };
        judged.failure(Timestamp::from_second(now).unwrap()).map(|Failure(reason)| reason)
    }

    #[test]
    fn a_rollout_that_makes_no_progress_has_failed() {
        let at = |second| Progress {
            is_observed: true,
            deadline_exceeded: true,
            exceeded_at: Timestamp::from_second(second).ok(),
            ..Progress::default()
        };
        assert!(failure(&at(60), &[], None, 60).is_some());
        // What is said of an earlier one says nothing of this one.
        assert_eq!(failure(&Progress { is_observed: false, ..at(60) }, &[], None, 60), None);
        assert_eq!(failure(&at(40), &[], None, 60), None);
        assert!(failure(&at(40), &[], None, 111).is_some(), "by now it is over for this one too");
    }

    #[test]
    fn a_new_pod_that_crashes_again_and_again_has_failed() {
        let progress = Progress::default();
        assert_eq!(failure(&progress, &[crashed("new", 2)], None, 0), None);
        let told = failure(&progress, &[crashed("new", 3)], None, 0).unwrap();
        assert_eq!(told, "pod p: CrashLoopBackOff (last time: Error, exit code 1)");
        assert_eq!(failure(&progress, &[crashed("old", 9)], None, 0), None, "the old ones are no reason");
    }

    #[test]
    fn a_new_pod_that_serves_without_the_policy_has_failed_after_the_deadline() {
        let told = |refused: Option<&str>| -> Answer {
            let refused = refused.map(|reason| Refused::new(reason, 1));
            Ok(Acknowledgement { refused, ..fixtures::acknowledgement("0-x", "x") })
        };
        let judge =
            |answer: Option<Answer>, now| failure(&Progress::default(), &[ready_at(100)], answer, now);
        assert_eq!(judge(Some(told(None)), 160), None);
        assert!(judge(Some(told(None)), 161).unwrap().starts_with("pod p: runs the policy 0-x, not 1-"));
        assert!(judge(Some(told(Some("no"))), 161).unwrap().ends_with(": no"));
        assert_eq!(judge(Some(Err("silent".into())), 1_000), None, "silence proves nothing");
        let bundle = bundle();
        let revision = bundle.revision().to_string();
        let applied = Ok(fixtures::acknowledgement(&revision, bundle.hash()));
        assert_eq!(judge(Some(applied), 1_000), None);
    }
}
