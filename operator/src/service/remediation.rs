//! Which replica is to be replaced: one that serves and says that it does not run what it was given, for so long that it
//! will not mend by itself, while another one does. Where none does, the fault is not the replica's, and a new one would not
//! even start.

use super::acknowledgements::Answer;
use super::child::Child;
use super::observe::Observed;
use super::rollout::{Progress, ready_since};
use super::validate::Validated;
use codecrucible_contract::Acknowledgement;
use codecrucible_crds::{CodeCrucible, names};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::DynamicObject;
use std::time::Duration;

/// The time in which evictions are counted.
const WINDOW: SignedDuration = SignedDuration::from_hours(1);
/// Longest reason, characters.
const MAX_REASON_CHARACTERS: usize = 200;

/// A replica that is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Eviction {
    pub(crate) pod: String,
    pub(crate) uid: String,
    pub(crate) because: String,
    /// Whether it stays, because the operator has acted on too many services lately; that is told.
    pub(crate) is_held_back: bool,
}

/// What is to be replaced now, and when that was done before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Remediation {
    pub(crate) eviction: Option<Eviction>,
    /// The evictions that count, this one among them; whole seconds. They are written before the eviction: one that did not
    /// happen counts, and none happens without.
    pub(crate) at: Vec<Timestamp>,
}

/// How often and when a resource wants replicas replaced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) after: Duration,
    pub(crate) max_per_hour: usize,
}

/// Decides for a service. `may_act` is whether the operator has not acted on too many services lately.
pub(crate) fn remediate(
    resource: &CodeCrucible,
    validated: &Validated,
    observed: &Observed,
    may_act: bool,
    now: Timestamp,
) -> Remediation {
    let deployment = observed.children.get(&Child::Deployment);
    let before = evicted_at(deployment);
    let recent: Vec<_> =
        before.iter().copied().filter(|at| *at <= now && now.duration_since(*at) < WINDOW).collect();
    // Pods that are tried out are judged otherwise.
    let is_calm = Progress::of(deployment).is_complete() && !observed.children.contains_key(&Child::Canary);
    // One that the budget keeps is tried again after a while, not at each look.
    let is_spaced = recent
        .last()
        .is_none_or(|last| now.duration_since(*last).unsigned_abs() >= validated.remediation.after);
    let may_go = is_calm && is_spaced && recent.len() < validated.remediation.max_per_hour;
    let eviction = may_go.then(|| sick(resource, validated, observed, now)).flatten();
    match eviction {
        // What is over long ago is forgotten when something is to be written anyway.
        None => Remediation { eviction: None, at: before },
        Some(eviction) if !may_act => {
            Remediation { eviction: Some(Eviction { is_held_back: true, ..eviction }), at: before }
        }
        Some(eviction) => {
            let this = Timestamp::from_second(now.as_second()).unwrap_or(now);
            Remediation { eviction: Some(eviction), at: recent.into_iter().chain([this]).collect() }
        }
    }
}

/// When replicas were evicted, as the live deployment has it.
fn evicted_at(deployment: Option<&DynamicObject>) -> Vec<Timestamp> {
    let noted = deployment.and_then(|deployment| deployment.annotations().get(names::ANNOTATION_EVICTED_AT));
    noted.map_or_else(Vec::new, |noted| noted.split(',').filter_map(|at| at.parse().ok()).collect())
}

/// The first replica that is to go, if any is.
fn sick(
    resource: &CodeCrucible,
    validated: &Validated,
    observed: &Observed,
    now: Timestamp,
) -> Option<Eviction> {
    let given = Given::of(resource, validated)?;
    let told = |pod: &Pod| observed.answers.get(&pod.name_any());
    let is_well = |answer: &Answer| answer.as_ref().is_ok_and(|told| given.trouble(told).is_none());
    observed.pods.iter().filter_map(told).find(|answer| is_well(answer))?;
    observed.pods.iter().find_map(|pod| {
        let told = told(pod)?.as_ref().ok()?;
        let because = given.trouble(told)?;
        let since = ready_since(pod)?.max(given.since).max(refused_at(told, now));
        let is_long = now > since && now.duration_since(since).unsigned_abs() >= validated.remediation.after;
        is_long.then(|| Eviction {
            pod: pod.name_any(),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            because: because.chars().take(MAX_REASON_CHARACTERS).collect(),
            is_held_back: false,
        })
    })
}

/// When a replica says that it refused something; the beginning of time if it does not, or says what cannot be.
fn refused_at(told: &Acknowledgement, now: Timestamp) -> Timestamp {
    let at = told.refused.as_ref().and_then(|refused| i64::try_from(refused.at).ok());
    let at = at.and_then(|at| Timestamp::from_second(at).ok());
    at.filter(|at| *at <= now).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// What replicas were given, and since when.
struct Given {
    revision: String,
    hash: String,
    clients: String,
    since: Timestamp,
}

impl Given {
    /// Nothing before all of it is known to have been handed out.
    fn of(resource: &CodeCrucible, validated: &Validated) -> Option<Self> {
        let status = resource.status.as_ref()?;
        let (policy, clients) = (status.policy.as_ref()?, status.clients.as_ref()?);
        let given = Self {
            revision: validated.bundle.revision().to_string(),
            hash: validated.bundle.hash().to_owned(),
            clients: validated.clients.hash(),
            since: policy.published_at.as_ref()?.0.max(clients.published_at.as_ref()?.0),
        };
        (policy.revision == given.revision && clients.hash == given.clients).then_some(given)
    }

    /// What is wrong with a replica that says this.
    fn trouble(&self, told: &Acknowledgement) -> Option<String> {
        if let Some(refused) = &told.refused {
            return Some(format!("refuses its configuration: {}", refused.reason));
        }
        if (&told.revision, &told.hash) != (&self.revision, &self.hash) {
            return Some(format!("runs the policy {}, not {}", told.revision, self.revision));
        }
        (told.clients != self.clients).then(|| "does not know the clients that are registered".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::fixtures;
    use crate::service::validate::validate;
    use codecrucible_contract::Refused;
    use serde_json::{Value, json};

    const BEGIN: i64 = 1_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// A service of three replicas, all of which have had everything since [`BEGIN`].
    struct Service {
        resource: CodeCrucible,
        observed: Observed,
        evicted: Vec<i64>,
    }

    impl Service {
        fn new() -> Self {
            let mut resource = fixtures::resource(json!({"remediation": {"after": "60s", "maxPerHour": 2}}));
            let observed = fixtures::observed();
            let Ok(Validated { bundle, clients, .. }) = validate(&resource, &observed) else {
                panic!("invalid")
            };
            let since = at(BEGIN).to_string();
            let policy = json!({"revision": bundle.revision().to_string(), "hash": bundle.hash(), "publishedAt": since});
            let clients = json!({"registered": 0, "hash": clients.hash(), "publishedAt": since});
            resource.status =
                Some(serde_json::from_value(json!({"policy": policy, "clients": clients})).unwrap());
            let mut service = Self { resource, observed, evicted: Vec::new() };
            let well = service.well();
            for pod in ["a", "b", "c"] {
                let ready = json!([{"type": "Ready", "status": "True", "lastTransitionTime": since}]);
                let pod_object =
                    json!({"metadata": {"name": pod, "uid": pod}, "status": {"conditions": ready}});
                service.observed.pods.push(serde_json::from_value(pod_object).unwrap());
                service.says(pod, Ok(well.clone()));
            }
            service
        }

        fn well(&self) -> Acknowledgement {
            let status = self.resource.status.as_ref().unwrap();
            let (policy, clients) = (status.policy.clone().unwrap(), status.clients.clone().unwrap());
            let Ok(Validated { bundle, .. }) = validate(&self.resource, &self.observed) else {
                panic!("invalid")
            };
            Acknowledgement {
                clients: clients.hash,
                ..fixtures::acknowledgement(&policy.revision, bundle.hash())
            }
        }

        fn says(&mut self, pod: &str, answer: Answer) {
            self.observed.answers.insert(pod.into(), answer);
        }

        fn with_one_behind(mut self, pod: &str) -> Self {
            let behind = Acknowledgement { revision: "0-x".into(), ..self.well() };
            self.says(pod, Ok(behind));
            self
        }

        fn deployment(&self) -> DynamicObject {
            let evicted: Vec<_> = self.evicted.iter().map(|second| at(*second).to_string()).collect();
            let annotations: Value = json!({names::ANNOTATION_EVICTED_AT: evicted.join(",")});
            serde_json::from_value(json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": "demo", "generation": 1, "annotations": annotations},
                "spec": {"replicas": 3, "selector": {}, "template": {}},
                "status": {"observedGeneration": 1, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3},
            }))
            .unwrap()
        }

        fn remediation(&mut self, second: i64) -> Remediation {
            let deployment = self.deployment();
            self.observed.children.insert(Child::Deployment, deployment);
            let Ok(validated) = validate(&self.resource, &self.observed) else { panic!("invalid") };
            remediate(&self.resource, &validated, &self.observed, true, at(second))
        }

        fn evicts(&mut self, second: i64) -> Option<String> {
            self.remediation(second).eviction.map(|eviction| eviction.pod)
        }
    }

    #[test]
    fn a_replica_that_stays_behind_the_others_goes_after_a_while_and_that_is_noted() {
        let mut service = Service::new().with_one_behind("b");
        assert_eq!(service.evicts(BEGIN + 59), None);
        let Remediation { eviction, at: noted } = service.remediation(BEGIN + 60);
        assert_eq!(eviction.unwrap().pod, "b");
        assert_eq!(noted, [at(BEGIN + 60)]);
        assert_eq!(Service::new().evicts(BEGIN + 1_000_000), None, "all are well");
    }

    #[test]
    fn one_that_refuses_what_others_take_goes_and_one_that_says_nothing_stays() {
        let mut service = Service::new();
        let refused = Some(Refused::new("broken", u64::try_from(BEGIN + 100).unwrap()));
        let refusing = Acknowledgement { refused, ..service.well() };
        service.says("c", Ok(refusing));
        assert_eq!(service.evicts(BEGIN + 159), None, "it refused only just");
        assert_eq!(service.evicts(BEGIN + 160).as_deref(), Some("c"));
        service.says("c", Err("silent".into()));
        assert_eq!(service.evicts(BEGIN + 160), None);
    }

    #[test]
    fn one_that_does_not_know_the_clients_goes() {
        let mut service = Service::new();
        let ignorant = Acknowledgement { clients: String::new(), ..service.well() };
        service.says("a", Ok(ignorant));
        assert_eq!(service.evicts(BEGIN + 60).as_deref(), Some("a"));
    }

    #[test]
    fn where_no_replica_is_well_none_goes() {
        let mut service = Service::new().with_one_behind("a").with_one_behind("b").with_one_behind("c");
        assert_eq!(service.evicts(BEGIN + 1_000), None);
        let mut service = Service::new().with_one_behind("a").with_one_behind("b");
        assert_eq!(service.evicts(BEGIN + 1_000).as_deref(), Some("a"), "one after the other");
    }

    #[test]
    fn not_more_go_in_an_hour_than_is_wanted() {
        let mut service = Service::new().with_one_behind("a");
        service.evicted = vec![BEGIN, BEGIN + 100];
        assert_eq!(service.evicts(BEGIN + 200), None);
        assert_eq!(
            service.remediation(BEGIN + 200).at,
            [at(BEGIN), at(BEGIN + 100)],
            "nothing is to be written"
        );
        assert_eq!(service.remediation(BEGIN + 3_600).at, [at(BEGIN + 100), at(BEGIN + 3_600)]);
    }

    #[test]
    fn one_that_the_budget_kept_is_tried_again_only_after_a_while() {
        let mut service = Service::new().with_one_behind("a");
        service.evicted = vec![BEGIN + 60];
        assert_eq!(service.evicts(BEGIN + 119), None);
        assert_eq!(service.evicts(BEGIN + 120).as_deref(), Some("a"));
    }

    #[test]
    fn nobody_goes_while_a_rollout_is_under_way_or_the_operator_holds_back() {
        let mut service = Service::new().with_one_behind("a");
        let Ok(validated) = validate(&service.resource, &service.observed) else { panic!("invalid") };
        let deployment = service.deployment();
        service.observed.children.insert(Child::Deployment, deployment);
        let held = remediate(&service.resource, &validated, &service.observed, false, at(BEGIN + 60));
        assert!(held.eviction.unwrap().is_held_back && held.at.is_empty());
        let mut rolling = service.deployment();
        rolling.data["status"]["updatedReplicas"] = 1.into();
        service.observed.children.insert(Child::Deployment, rolling);
        let rolling = remediate(&service.resource, &validated, &service.observed, true, at(BEGIN + 60));
        assert_eq!(rolling.eviction, None);
    }
}
