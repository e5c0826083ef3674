//! Replicas that do not run what they were given: replaced, unless too many are.

use crate::support::{Namespace, Second, eventually};
use codecrucible_tests::cluster::HeldVolume;
use codecrucible_tests::operator::Operator;
use serde_json::json;

const SERVICES: [&str; 3] = ["a", "b", "c"];
const BLOWN: &str = "codecrucible_operator_fuse_blown ";
const EVICTIONS: &str = "codecrucible_operator_evictions_total ";

/// A pod whose policy stays as it is, as on a node whose disk fails.
struct Stuck {
    service: String,
    pod: String,
    _volume: HeldVolume,
}

fn stick(namespace: &Namespace<'_>, service: &str) -> Stuck {
    let shown = "jsonpath={.items[0].metadata.name} {.items[0].metadata.uid}";
    let label = format!("app.kubernetes.io/instance={service}");
    let first = namespace.kubectl(&["get", "pods", "-l", &label, "-o", shown]).unwrap();
    let (pod, uid) = first.split_once(' ').unwrap();
    let volume = namespace.cluster.hold_volume(uid, "kubernetes.io~configmap/policy").unwrap();
    Stuck { service: service.to_owned(), pod: pod.to_owned(), _volume: volume }
}

fn is_going(namespace: &Namespace<'_>, pod: &str) -> bool {
    let pod = namespace.get(&format!("pod/{pod}"));
    pod.is_none_or(|pod| !pod["metadata"]["deletionTimestamp"].is_null())
}

fn events(namespace: &Namespace<'_>, reason: &str) -> Vec<String> {
    let selector = format!("--field-selector=reason={reason}");
    let shown = "jsonpath={range .items[*]}{.message}{\"\\n\"}{end}";
    let events = namespace.kubectl(&["get", "events", &selector, "-o", shown]).unwrap();
    events.lines().map(str::to_owned).collect()
}

#[test]
fn a_replica_that_stays_behind_is_replaced_until_too_many_services_have_one() {
    let second = Second::with_roles();
    let namespace = Namespace::on(&second.cluster, "remediation");
    let operator = Operator::start(&second.cluster, "remediation").unwrap();
    namespace.with_remote_backend();
    for service in SERVICES {
        namespace.crucible(service, "remote", "  remediation: {after: 10s}").unwrap();
        let patch = |change: &str| {
            namespace.kubectl(&["patch", "codecrucible", service, "--type=merge", "-p", change]).unwrap()
        };
        patch(&json!({"spec": {"replicas": 2}}).to_string());
    }
    for service in SERVICES {
        namespace.wait_until_ready(service);
        eventually("both replicas run the policy", || applied(&namespace, service) == "1- 2");
    }
    let mut stuck: Vec<Stuck> = SERVICES.iter().map(|service| stick(&namespace, service)).collect();
    let change = json!({"spec": {"observability": {"logLevel": "Debug"}}}).to_string();
    for service in SERVICES {
        namespace.kubectl(&["patch", "codecrucible", service, "--type=merge", "-p", &change]).unwrap();
    }
    eventually("two are evicted", || {
        stuck.iter().filter(|stuck| is_going(&namespace, &stuck.pod)).count() == 2
    });
    eventually("the third one is held back", || operator.metric(BLOWN) > 0.0);
    eventually("that is told", || events(&namespace, "FuseBlown").len() == 1);
    assert_eq!(operator.metric(EVICTIONS), 2.0);
    stuck.retain(|stuck| !is_going(&namespace, &stuck.pod));
    let [held] = &stuck[..] else { panic!("{} stay", stuck.len()) };
    let told = events(&namespace, "FuseBlown").remove(0);
    assert!(told.contains(&format!("pod {} stays, although it ", held.pod)), "{told}");
    let evicted = events(&namespace, "ReplicaEvicted");
    assert_eq!(evicted.len(), 2, "{evicted:?}");
    assert!(evicted.iter().all(|told| told.contains("was evicted: it ")), "{evicted:?}");
    namespace.kubectl(&["annotate", "codecrucible", &held.service, "example.com/touched=yes"]).unwrap();
    eventually("new replicas run the policy in their places", || {
        SERVICES.iter().filter(|service| applied(&namespace, service) == "2- 2").count() == 2
    });
    eventually("what is told again stays one Event, although its service has changed", || {
        times_told(&namespace, "FuseBlown").is_some_and(|times| times > 2)
    });
    assert_eq!(events(&namespace, "FuseBlown").len(), 1);
    assert!(operator.terminate().unwrap());
}

/// How often an Event was told that was told more than once.
fn times_told(namespace: &Namespace<'_>, reason: &str) -> Option<u32> {
    let selector = format!("--field-selector=reason={reason}");
    let shown = "jsonpath={.items[*].series.count}";
    namespace.kubectl(&["get", "events.v1.events.k8s.io", &selector, "-o", shown]).unwrap().parse().ok()
}

/// The counter of the policy, and how many replicas said that they run it.
fn applied(namespace: &Namespace<'_>, service: &str) -> String {
    let policy = namespace.get(&format!("codecrucible/{service}")).unwrap()["status"]["policy"].clone();
    let revision = policy["revision"].as_str().unwrap_or_default();
    let (counter, _) = revision.split_once('-').unwrap_or_default();
    format!("{counter}- {}", policy["appliedReplicas"])
}
