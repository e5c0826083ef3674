//! What holds of every resource and of every course of events, tried with thousands that nobody thought of.

use super::child::Child;
use super::decision::{Decision, accept};
use super::desired::merge;
use super::fixtures;
use super::history::Template;
use super::observe::Observed;
use super::outcome::Outcome;
use super::plan::Plan;
use super::remediation::{Remediation, remediate};
use super::rollout::{Chosen, Failure, Live, choose};
use super::validate::validate;
use codecrucible_contract::{Acknowledgement, Bundle};
use codecrucible_crds::{CodeCrucible, names};
use jiff::{SignedDuration, Timestamp};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any, proptest};
use proptest::{prop_assert, prop_assert_eq, prop_assert_ne, prop_oneof};
use serde_json::{Value, json};

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

/// Durations, right and wrong.
fn duration() -> impl Strategy<Value = String> {
    prop_oneof!["[1-9][0-9]{0,4}(ms|s|m|h|d)", "[0-9a-z]{0,6}"]
}

/// Specs of which the schema would let most pass, and some not: objects may be older than the schema.
fn spec() -> impl Strategy<Value = Value> {
    let names = vec("[a-z]([-a-z0-9]{0,8}[a-z0-9])?", 0..3);
    let voices = vec(("[a-z]{1,6}", any::<i16>(), ".{0,20}"), 0..3);
    let parts = (names, voices, duration(), duration(), -2_i32..70, any::<[bool; 4]>(), 0_i32..200);
    parts.prop_map(|(namespaces, voices, lifetime, after, count, [asleep, paused, scaled, closed], percent)| {
        let voices: Vec<Value> = voices
            .into_iter()
            .map(|(name, temperature, prompt)| json!({"name": name, "temperaturePercent": temperature, "prompt": prompt}))
            .collect();
        let mut spec = json!({
            "replicas": count,
            "auth": {"accessTokenLifetime": lifetime},
            "synthesis": {"voices": voices},
            "rollout": {"progressDeadline": after},
            "remediation": {"after": after, "maxPerHour": count},
            "clients": {"allowedNamespaces": namespaces},
            "maintenance": {"hibernate": asleep, "paused": paused},
        });
        if scaled {
            spec["autoscaling"] = json!({"minReplicas": count, "maxReplicas": percent, "targetCpuPercent": percent});
        }
        if closed {
            spec["network"] = json!({"allowedNamespaces": namespaces, "monitoringNamespaces": []});
        }
        spec
    })
}

fn decide(resource: &CodeCrucible, observed: &Observed) -> Decision {
    match accept(resource, observed) {
        Err(left) => left,
        Ok(validated) => Decision::make(resource, validated, &fixtures::facts(), observed, true, NOW),
    }
}

/// As the API server does it: what is applied is added to what there is.
fn carry_out(plan: Plan, observed: &mut Observed) {
    for prepared in plan.changes {
        let live = observed.children.get(&prepared.child);
        let mut object = live.map_or(Value::Null, |live| serde_json::to_value(live).unwrap());
        merge(&mut object, prepared.object);
        observed.children.insert(prepared.child, serde_json::from_value(object).unwrap());
    }
}

proptest! {
    // A failure is mended, with a test that names it, and not kept in a file.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_resource_says_it_is_refused_with_a_path_or_made_once(spec in spec()) {
        let (resource, mut observed) = (fixtures::resource(spec), fixtures::observed());
        match decide(&resource, &observed) {
            Decision::Leave(Outcome::Invalid(invalid)) => {
                let path = invalid.message.split(':').next().unwrap_or_default();
                prop_assert!(path.starts_with("spec.") && !path.contains(' '), "{}", invalid.message);
            }
            Decision::Leave(left) => {
                let is_paused = matches!(left, Outcome::Paused);
                prop_assert!(is_paused);
            }
            Decision::Apply(plan) => {
                for prepared in &plan.changes {
                    let metadata = &prepared.object["metadata"];
                    prop_assert_eq!(&metadata["ownerReferences"][0]["uid"], "1-2-3");
                    prop_assert_eq!(&metadata["namespace"], "team");
                }
                carry_out(*plan, &mut observed);
                // What decides the replicas is handed over once there are some.
                if let Decision::Apply(plan) = decide(&resource, &observed) {
                    let is_handover = plan.changes.iter().all(|prepared| prepared.child == Child::Deployment);
                    prop_assert!(is_handover && (plan.is_empty() || resource.spec.autoscaling.is_some()));
                    carry_out(*plan, &mut observed);
                }
                prop_assert!(decide(&resource, &observed).is_settled(), "what was made is made again");
            }
        }
    }

    #[test]
    fn what_compiles_is_read_back_by_the_replicas(spec in spec()) {
        if let Ok(validated) = validate(&fixtures::resource(spec), &fixtures::observed()) {
            let read = Bundle::parse(validated.bundle.to_json().as_bytes());
            prop_assert_eq!(read.ok(), Some(validated.bundle));
        }
    }

    /// Each step asks for one of four templates, of which some fail.
    #[test]
    fn a_template_that_failed_is_not_tried_again_while_it_is_asked_for(steps in vec((0_usize..4, any::<bool>()), 1..60)) {
        let templates: Vec<_> = (0..4).map(|image| Template::new(json!({"image": image}))).collect();
        let (mut live, mut last_good): (Live, Option<Template>) = (Live::default(), None);
        let mut failed: Option<(usize, String)> = None;
        for (wanted, fails) in steps {
            let asked = templates[wanted].clone();
            let on_the_way = last_good.as_ref().filter(|good| live.is_on_the_way(&good.key));
            let Chosen { template, rolled_back, since, .. } = choose(asked.clone(), &live, on_the_way, NOW, || {
                fails.then(|| Failure("it fails".into()))
            });
            if failed.as_ref().is_some_and(|(earlier, _)| *earlier == wanted) && last_good.is_some() {
                prop_assert_ne!(&template.key, &asked.key);
            }
            match &rolled_back {
                Some(rolled_back) => {
                    prop_assert_eq!(&rolled_back.from, &asked.key);
                    prop_assert_eq!(Some(&template), last_good.as_ref(), "to what ran well, and nothing else");
                    failed = Some((wanted, rolled_back.because.clone()));
                }
                None => {
                    prop_assert_eq!(&template, &asked);
                    failed = None;
                    let runs = live.template.as_deref() == Some(&*asked.key);
                    if runs && !fails {
                        last_good = Some(asked);
                    }
                }
            }
            live = Live { template: Some(template.key), rolled_back, since };
        }
    }

    /// Each step lets time pass, and tells which of four replicas are behind.
    #[test]
    fn replicas_are_replaced_seldom_and_never_the_last_one_that_is_well(steps in vec((1_i64..1_000, any::<[bool; 4]>()), 1..80)) {
        let mut service = Service::new();
        let mut evictions: Vec<Timestamp> = Vec::new();
        let mut now = NOW;
        for (seconds, behind) in steps {
            now += SignedDuration::from_secs(seconds);
            let Remediation { eviction, at } = service.remediation(behind, now);
            let Some(eviction) = eviction else { continue };
            let index: usize = eviction.pod.parse().unwrap();
            prop_assert!(behind[index], "a replica that is well goes");
            prop_assert!(behind.iter().any(|behind| !behind), "no replica is well");
            evictions.push(now);
            let lately = evictions.iter().filter(|at| now.duration_since(**at) < SignedDuration::from_hours(1));
            prop_assert!(lately.count() <= 2, "more than two in an hour");
            service.note(&at);
        }
    }
}

/// A service of four replicas, of which two may be replaced within an hour.
struct Service {
    resource: CodeCrucible,
    observed: Observed,
}

impl Service {
    fn new() -> Self {
        let mut resource = fixtures::resource(json!({"remediation": {"after": "10s", "maxPerHour": 2}}));
        let mut observed = fixtures::observed();
        let Ok(validated) = validate(&resource, &observed) else { panic!("it is not valid") };
        let since = NOW.to_string();
        let (bundle, clients) = (&validated.bundle, validated.clients.hash());
        let policy =
            json!({"revision": bundle.revision().to_string(), "hash": bundle.hash(), "publishedAt": since});
        let clients = json!({"registered": 0, "hash": clients, "publishedAt": since});
        resource.status =
            Some(serde_json::from_value(json!({"policy": policy, "clients": clients})).unwrap());
        let ready = json!([{"type": "Ready", "status": "True", "lastTransitionTime": since}]);
        let pod = |name: usize| json!({"metadata": {"name": name.to_string(), "uid": "u"}, "status": {"conditions": ready}});
        observed.pods = (0..4).map(|name| serde_json::from_value(pod(name)).unwrap()).collect();
        let mut service = Self { resource, observed };
        service.note(&[]);
        service
    }

    fn remediation(&mut self, behind: [bool; 4], now: Timestamp) -> Remediation {
        let Ok(validated) = validate(&self.resource, &self.observed) else { panic!("it is not valid") };
        let bundle = &validated.bundle;
        for (pod, is_behind) in behind.into_iter().enumerate() {
            let revision = if is_behind { "0-x".to_owned() } else { bundle.revision().to_string() };
            let (hash, clients) = (bundle.hash().to_owned(), validated.clients.hash());
            let told = Acknowledgement { clients, ..fixtures::acknowledgement(&revision, &hash) };
            self.observed.answers.insert(pod.to_string(), Ok(told));
        }
        remediate(&self.resource, &validated, &self.observed, true, now)
    }

    fn note(&mut self, evicted_at: &[Timestamp]) {
        let evicted_at: Vec<_> = evicted_at.iter().map(Timestamp::to_string).collect();
        let annotations: Value = json!({names::ANNOTATION_EVICTED_AT: evicted_at.join(",")});
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "demo", "generation": 1, "annotations": annotations},
            "spec": {"replicas": 4, "selector": {}, "template": {}},
            "status": {"observedGeneration": 1, "replicas": 4, "updatedReplicas": 4, "availableReplicas": 4},
        });
        self.observed.children.insert(Child::Deployment, serde_json::from_value(deployment).unwrap());
    }
}
