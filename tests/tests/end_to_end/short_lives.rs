//! Pods that are no longer wanted when they have only begun. The first process of a container does not hear a signal that it has not asked for
//! yet, and would then run on until its grace period is over.

use crate::served::select;
use crate::support::{Namespace, eventually};
use serde_json::{Value, json};

/// Pods that start at once, and so slowly.
const STARTING: usize = 8;
const ROUNDS: usize = 5;
/// Longer than anything is waited for, seconds.
const GRACE_SECONDS: u32 = 600;

#[test]
fn pods_that_are_told_to_end_while_they_start_do_so() {
    let namespace = Namespace::new("short-lives");
    namespace.with_remote_backend().crucible("demo", "remote", "").unwrap();
    select(&namespace, &json!({"terminationGracePeriodSeconds": GRACE_SECONDS, "replicas": STARTING}));
    let is_to_end = |pod: &Value| pod["metadata"]["deletionTimestamp"].is_string();
    for _ in 0..ROUNDS {
        // The others are about to run, or have since the last look.
        eventually("one of the new pods runs", || {
            let mut new = pods(&namespace).into_iter().filter(|pod| !is_to_end(pod));
            new.any(|pod| pod["status"]["containerStatuses"][0]["state"]["running"].is_object())
        });
        namespace.kubectl(&["delete", "pods", "--all", "--wait=false"]).unwrap();
    }
    eventually("those that were to end have ended", || {
        let pods = pods(&namespace);
        pods.len() == STARTING && !pods.iter().any(is_to_end)
    });
}

fn pods(namespace: &Namespace<'_>) -> Vec<Value> {
    namespace.get("pods").and_then(|list| list["items"].as_array().cloned()).unwrap_or_default()
}
