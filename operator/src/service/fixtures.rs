//! A small service as tests see it: its resource, a backend, secrets that do not change.

use super::desired::Publication;
use super::facts::Facts;
use super::history::Template;
use super::observe::Observed;
use super::rollout::Canary;
use super::tls::{Certificates, Lasting};
use super::validate::validate;
use codecrucible_contract::certificates::Certified;
use codecrucible_contract::{Access, Acknowledgement, Bundle, Clients, Policy, Served};
use codecrucible_crds::{CodeCrucible, ModelBackend};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(crate) fn resource(spec: Value) -> CodeCrucible {
    let mut whole = json!({"image": {"repository": "workload", "tag": "1"}, "backends": ["remote"]});
    if let (Some(whole), Value::Object(spec)) = (whole.as_object_mut(), spec) {
        whole.extend(spec);
    }
    let mut resource = CodeCrucible::new("demo", serde_json::from_value(whole).unwrap());
    resource.metadata.namespace = Some("team".into());
    resource.metadata.uid = Some("1-2-3".into());
    resource.metadata.generation = Some(1);
    resource
}

pub(crate) fn backend(name: &str, spec: Value) -> ModelBackend {
    ModelBackend::new(name, serde_json::from_value(spec).unwrap())
}

pub(crate) fn observed() -> Observed {
    let remote =
        backend("remote", json!({"type": "OpenAI", "url": "http://vllm:8000/v1", "models": [{"name": "m"}]}));
    let backends = BTreeMap::from([("remote".to_owned(), remote)]);
    Observed::of_names(backends, BTreeMap::new(), "codecrucible-system")
}

impl Observed {
    /// Puts who may do what into the policy that is in force.
    pub(crate) fn hand_out(&mut self, access: Option<Access>) {
        let Ok(validated) = validate(&resource(json!({})), self) else { panic!("it is not valid") };
        let policy = Policy { access, ..validated.bundle.policy().clone() };
        self.in_force = Some(Bundle::compile(policy, None).unwrap());
    }
}

pub(crate) fn facts() -> Facts {
    let certified = |name: &str| Certified { certificate: name.into(), key: format!("{name} PRIVATE KEY") };
    let lasting = |name| Lasting { certified: certified(name), not_after: 1_000 };
    let (authority, operator, replica) = (certified("authority"), lasting("operator"), lasting("replica"));
    Facts {
        signing_key_pem: "-----BEGIN PRIVATE KEY-----".into(),
        client_secret: "fixed-secret".into(),
        certificates: Certificates { authority, operator, replica },
    }
}

/// What a service is for its clients and its pods, at the policy `1-x`.
pub(crate) fn publication() -> Publication {
    Publication {
        access: Vec::new(),
        notes: Vec::new(),
        certificate: None,
        awaited: None,
        revision: "1-x".into(),
        hash: "x".into(),
        shadow: None,
        clients: Clients::default(),
        endpoint: "http://x".into(),
        configuration: "x".into(),
        template: "x".into(),
        rolled_back: None,
        canary: None,
        is_pinned: false,
    }
}

/// What a replica says that runs a policy, and has nothing else to say.
pub(crate) fn acknowledgement(revision: &str, hash: &str) -> Acknowledgement {
    Acknowledgement {
        revision: revision.to_owned(),
        hash: hash.to_owned(),
        clients: String::new(),
        certificate: None,
        shadow: None,
        served: Served::default(),
        store: None,
        applied_at: 1,
        refused: None,
    }
}

/// A pod beside others, in the first of two steps.
pub(crate) fn canary() -> Canary {
    Canary {
        template: Template::new(json!({"spec": {"containers": [{"name": "new"}]}})),
        step: 0,
        steps: 2,
        replicas: 1,
        since: Timestamp::UNIX_EPOCH,
        step_since: Timestamp::UNIX_EPOCH,
        ready: 1,
        is_barred: false,
        waits_for: Some("20 requests".into()),
        served: Served { requests: 12, failed: 1, within: Vec::new() },
    }
}
