//! An API server that is slow, refuses, forgets and lags behind: it takes longer, and comes to the same.

use crate::audit::{audit_length, writes_since};
use crate::state::{self, assert_same};
use crate::support::{Namespace, Second, eventually};
use codecrucible_tests::operator::{Operator, SERVICE_ACCOUNT};
use codecrucible_tests::proxy::{Asked, Fate, Proxy, Script};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Time in which nothing is written once all is well.
const QUIET: Duration = Duration::from_secs(60);

/// Faults by turns, each as often as an operator can be expected to live with, and a count of them.
fn faults(count: Arc<AtomicUsize>) -> Script {
    let (mut reads, mut writes) = (0_usize, 0_usize);
    Box::new(move |asked| {
        let fate = fate(asked, &mut reads, &mut writes);
        count.fetch_add(usize::from(fate != Fate::Pass), Ordering::Relaxed);
        fate
    })
}

fn fate(asked: &Asked, reads: &mut usize, writes: &mut usize) -> Fate {
    if asked.is_write() {
        *writes += 1;
        return match *writes % 16 {
            3 => Fate::Refused([409, 429, 500][*writes / 16 % 3]),
            5 => Fate::Late(Duration::from_millis(300)),
            _ => Fate::Pass,
        };
    }
    if asked.is_watch() {
        return Fate::Cut(Duration::from_secs(2));
    }
    if asked.path.contains("/leases") {
        return Fate::Pass;
    }
    *reads += 1;
    // Whoever asks for the next page has to begin anew now and then.
    if asked.path.contains("continue=") && reads.is_multiple_of(3) {
        return Fate::Refused(410);
    }
    match *reads % 83 {
        11 => Fate::Refused([429, 500, 503][*reads / 83 % 3]),
        17 | 43 => Fate::Late(Duration::from_millis(300)),
        _ => Fate::Pass,
    }
}

/// Makes a service and changes it, and gives its state after each.
fn two_states(namespace: &Namespace<'_>) -> [BTreeMap<String, Value>; 2] {
    namespace.crucible("demo", "remote", "").unwrap();
    let patch = |patch: &Value| {
        namespace.kubectl(&["patch", "codecrucible/demo", "--type=merge", "-p", &patch.to_string()]).unwrap();
    };
    let at_rest = || {
        eventually("it is at rest", || {
            let resource = namespace.get("codecrucible/demo").unwrap_or_default();
            resource["status"]["observedGeneration"] == resource["metadata"]["generation"]
                && namespace.condition("demo", "Reconciling").0 == "False/Stable"
        });
        state::of(namespace, "demo")
    };
    patch(&json!({"spec": {"replicas": 0}}));
    let first = at_rest();
    patch(
        &json!({"spec": {"resources": {"requests": {"cpu": "30m"}}, "auth": {"accessTokenLifetime": "5m"}}}),
    );
    [first, at_rest()]
}

fn clear(namespace: &Namespace<'_>) {
    namespace.kubectl(&["delete", "codecrucible", "demo"]).unwrap();
    eventually("nothing is left of the service", || state::children(namespace, "demo").is_empty());
}

/// The states that a disturbed operator leads to are those that an undisturbed one does; then it rests.
fn comes_to_the_same(name: &str, script: Script) {
    let second = Second::with_roles();
    let namespace = Namespace::on(&second.cluster, name);
    namespace.with_remote_backend();
    let undisturbed = Operator::start(&second.cluster, "fault-test").unwrap();
    let expected = two_states(&namespace);
    clear(&namespace);
    undisturbed.kill().unwrap();

    let proxy = Proxy::start(&second.cluster, script).unwrap();
    let disturbed = Operator::start_behind(&second.cluster, "fault-test", &proxy).unwrap();
    for (seen, expected) in two_states(&namespace).iter().zip(&expected) {
        assert_same(name, seen, expected);
    }
    disturbed.kill().unwrap();
    rests(&namespace);
    assert_same(name, &state::of(&namespace, "demo"), &expected[1]);
}

/// A minute in which an operator finds nothing to write.
fn rests(namespace: &Namespace<'_>) {
    let after = Operator::start(namespace.cluster, "fault-test").unwrap();
    after.wait_for_reconciles(1.0).unwrap();
    let (offset, start) = (audit_length(namespace.cluster), Instant::now());
    eventually("a quiet minute is over", || start.elapsed() > QUIET);
    let writes = writes_since(namespace.cluster, offset, SERVICE_ACCOUNT, &namespace.name);
    assert_eq!(writes, Vec::<String>::new());
    after.kill().unwrap();
}

#[test]
fn refusals_conflicts_delays_and_cut_watches_lead_to_the_same_service_and_then_to_silence() {
    let count = Arc::new(AtomicUsize::new(0));
    comes_to_the_same("faults", faults(Arc::clone(&count)));
    println!("{} faults", count.load(Ordering::Relaxed));
    assert!(count.load(Ordering::Relaxed) > 20);
}

#[test]
fn an_api_server_that_remembers_only_the_past_leads_to_the_same_service() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let script = move |asked: &Asked| {
        // Whoever says how old an answer may be asks for what is remembered.
        let is_stale = asked.method == "GET" && asked.path.contains("resourceVersion=") && !asked.is_watch();
        counted.fetch_add(usize::from(is_stale), Ordering::Relaxed);
        if is_stale { Fate::Stale } else { Fate::Pass }
    };
    comes_to_the_same("stale", Box::new(script));
    println!("{} stale answers", count.load(Ordering::Relaxed));
    assert!(count.load(Ordering::Relaxed) > 20);
}
