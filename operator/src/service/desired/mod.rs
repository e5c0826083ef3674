//! Step three: what should exist. Pure: everything random comes in as [`Facts`].

mod autoscaler;
mod certificate;
mod deployment;
mod exposure;
pub(crate) mod metadata;
mod mounts;
mod network;
mod placement;
mod replicas;
pub(crate) mod secrets;

pub(crate) use replicas::{Replicas, live as live_replicas};

use super::child::Child;
use super::document;
use super::facts::Facts;
use super::history::{Shows, Template};
use super::rollout::{Canary, Chosen, RolledBack};
use super::tls::{Certificates, server_name};
use super::tls::{Encryption, Shown};
use super::validate::Validated;
use crate::agreement::endpoint;
use codecrucible_contract::{AccessDocument, Bundle, Clients, Enforcement, canonical, sha256_hex};
use codecrucible_crds::{AccessEnforcement, AccessInForce, CodeCrucible, names};
use jiff::Timestamp;
use kube::ResourceExt as _;
use serde_json::{Value, json};

/// Digits of an object's hash in its annotation.
const HASH_DIGITS: usize = 32;
/// Digits of the hash that tells one set of secrets from another.
const SECRETS_HASH_DIGITS: usize = 12;

/// An object that is ready to be applied.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) child: Child,
    pub(crate) name: String,
    /// The whole object, with the hash of itself as an annotation.
    pub(crate) object: Value,
}

/// Everything that should exist.
#[derive(Debug)]
pub(crate) struct DesiredSet {
    /// In the order of their making.
    pub(crate) children: Vec<Prepared>,
    pub(crate) publication: Publication,
}

/// What a service is for its clients and its pods.
#[derive(Debug)]
pub(crate) struct Publication {
    /// Revision of the policy that is handed out.
    pub(crate) revision: String,
    /// SHA-256 of its canonical form.
    pub(crate) hash: String,
    /// The policy that is only compared with it.
    pub(crate) shadow: Option<Compared>,
    /// The clients of applications.
    pub(crate) clients: Clients,
    /// What they are shown, if their connections are encrypted.
    pub(crate) certificate: Option<Shown>,
    /// Why there is no certificate to show yet, although there should be.
    pub(crate) awaited: Option<String>,
    /// Where clients reach the service.
    pub(crate) endpoint: String,
    /// What is not as the resource wants it, although it is valid.
    pub(crate) notes: Vec<String>,
    /// Names everything that the pods mount; pods are touched when it changes.
    pub(crate) configuration: String,
    /// The key of what the pods are made from.
    pub(crate) template: String,
    /// What that is in place of.
    pub(crate) rolled_back: Option<RolledBack>,
    /// What is tried out beside it.
    pub(crate) canary: Option<Canary>,
    /// The access policies that are a part of it.
    pub(crate) access: Vec<AccessInForce>,
    /// Whether a person holds the policy at an older one.
    pub(crate) is_pinned: bool,
}

/// A policy that is only compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Compared {
    pub(crate) revision: String,
    /// SHA-256 of its canonical form.
    pub(crate) hash: String,
}

/// What a resource wants its pods to be made from.
pub(crate) fn wanted_template(resource: &CodeCrucible, validated: &Validated) -> Template {
    Template::new(deployment::template(resource, &validated.model_claims))
}

/// What should exist for a resource with so many replicas, made from `chosen`.
pub(crate) fn desired(
    resource: &CodeCrucible,
    validated: &Validated,
    facts: &Facts,
    chosen: &Chosen,
    replicas: Replicas,
    evicted_at: &[Timestamp],
) -> DesiredSet {
    let Validated {
        bundle,
        shadow,
        published: _,
        model_claims: _,
        credentials,
        clients,
        encryption,
        notes: _,
        remediation: _,
        progress_deadline,
        canary: _,
        operator_namespace,
        unserved,
    } = validated;
    let is_encrypted = chosen.template.shows() != Shows::Nothing;
    let endpoint = endpoint(resource, is_encrypted);
    let certificate = shown(resource, encryption, &facts.certificates, &chosen.template);
    let inside = server_name(resource);
    let shown_name = match chosen.template.shows() {
        Shows::Given(_) => encryption.server_name(&inside).to_owned(),
        Shows::Nothing | Shows::Own => inside,
    };
    let authority = certificate.as_ref().and_then(|shown| shown.authority.as_deref());
    let secrets = secrets::Secrets::new(resource, credentials, facts, clients, (&endpoint, authority));
    let content = |child: Child| match child {
        Child::ServiceAccount => json!({"automountServiceAccountToken": false}),
        Child::SigningKeys => secrets.signing_keys(),
        Child::OwnClient => secrets.client(),
        Child::RegisteredClients => secrets.clients(),
        Child::BackendCredentials => secrets.backend_credentials(),
        Child::Authority => secrets.authority(),
        Child::Certificate => secrets.certificate(),
        Child::Policy => document::config_map(bundle, shadow.as_ref()),
        Child::Service => network::service(resource, is_encrypted),
        Child::NetworkPolicy => network::network_policy(resource, bundle.policy(), operator_namespace),
        Child::DisruptionBudget => deployment::disruption_budget(resource),
        Child::IssuedCertificate => certificate::issued(resource),
        Child::Deployment => {
            deployment::deployment(resource, chosen, replicas, *progress_deadline, evicted_at)
        }
        Child::Canary => deployment::canary(resource, chosen, *progress_deadline),
        Child::Autoscaler => autoscaler::autoscaler(resource, chosen.canary.is_some()),
        Child::PublicAuthority => exposure::public_authority(authority),
        Child::Ingress => exposure::ingress(resource),
        Child::Route => exposure::route(resource),
        Child::RouteTrust => exposure::route_trust(resource, &shown_name, authority),
    };
    let compared = shadow.as_ref().map(|shadow| shadow.revision().to_string());
    let others = [encryption.hash(), compared.as_deref()];
    let configuration = configuration(bundle, mounts::secrets().map(content), others);
    // Gateways are told to speak TLS as long as the pods do.
    let is_told = |child: &Child| *child != Child::RouteTrust || is_encrypted;
    let wanted = Child::ALL
        .into_iter()
        .filter(|child| child.is_wanted(resource) && !unserved.contains(child) && is_told(child))
        .filter(|child| chosen.calls_for(*child));
    let children = wanted.map(|child| prepare(resource, child, content(child))).collect();
    let shown = (certificate, endpoint);
    DesiredSet { children, publication: publication(resource, validated, chosen, shown, configuration) }
}

/// What a service is for its clients, who are `shown` a certificate at an endpoint, and for its pods.
fn publication(
    resource: &CodeCrucible,
    validated: &Validated,
    chosen: &Chosen,
    (certificate, endpoint): (Option<Shown>, String),
    configuration: String,
) -> Publication {
    let Validated { bundle, shadow, clients, encryption, notes, .. } = validated;
    let compared = |shadow: &Bundle| Compared {
        revision: shadow.revision().to_string(),
        hash: shadow.hash().to_owned(),
    };
    Publication {
        revision: bundle.revision().to_string(),
        hash: bundle.hash().to_owned(),
        shadow: shadow.as_ref().map(compared),
        clients: clients.clone(),
        certificate,
        awaited: encryption.awaits().map(str::to_owned),
        endpoint,
        notes: notes.clone(),
        configuration,
        template: chosen.template.key.clone(),
        rolled_back: chosen.rolled_back.clone(),
        canary: chosen.canary.clone(),
        access: in_force(bundle),
        is_pinned: resource.annotations().contains_key(names::ANNOTATION_ROLLBACK_POLICY),
    }
}

/// What clients are shown by what the pods are, not by what the resource asks for: pods that failed may have been taken back, and
/// new ones may wait for their certificate.
fn shown(
    resource: &CodeCrucible,
    encryption: &Encryption,
    ours: &Certificates,
    template: &Template,
) -> Option<Shown> {
    let secret = match template.shows() {
        Shows::Nothing => return None,
        Shows::Own => return Some(Shown::own(ours)),
        Shows::Given(secret) => secret,
    };
    match encryption {
        Encryption::Given { shown, .. }
            if resource.spec.tls.given_secret(&resource.name_any()).as_deref() == Some(secret) =>
        {
            Some(shown.clone())
        }
        // Another Secret than the resource names now. What it had last is in the status.
        _ => resource.status.as_ref()?.certificate.as_ref().map(Shown::reported),
    }
}

fn in_force(bundle: &Bundle) -> Vec<AccessInForce> {
    let documents = bundle.policy().access.iter().flat_map(|access| &access.documents);
    let in_force = |document: &AccessDocument| AccessInForce {
        name: document.name.clone(),
        enforcement: match document.enforcement {
            Enforcement::Enforce => AccessEnforcement::Enforce,
            Enforcement::Shadow => AccessEnforcement::Shadow,
        },
        hash: document.hash(),
    };
    documents.map(in_force).collect()
}

/// The clients alone, and a name for what the pods mount then.
pub(crate) fn clients_alone(resource: &CodeCrucible, clients: &Clients) -> (Prepared, String) {
    let content = secrets::clients(clients);
    let configuration = format!("clients.{}", &clients.hash()[..SECRETS_HASH_DIGITS]);
    (prepare(resource, Child::RegisteredClients, content), configuration)
}

/// The certificates alone.
pub(crate) fn certificates_alone(resource: &CodeCrucible, certificates: &Certificates) -> [Prepared; 2] {
    [
        prepare(resource, Child::Authority, secrets::authority(certificates)),
        prepare(resource, Child::Certificate, secrets::certificate(certificates)),
    ]
}

/// A name for all that the pods mount. Only a hash of the secrets is in it, and of what else there may be: a certificate that is
/// not ours, and a policy that is only compared.
fn configuration(bundle: &Bundle, secrets: impl Iterator<Item = Value>, others: [Option<&str>; 2]) -> String {
    let secrets = secrets.chain(others.into_iter().flatten().map(Value::from));
    let secrets = canonical(&Value::from_iter(secrets));
    format!("{}.{}", bundle.revision(), &sha256_hex(secrets)[..SECRETS_HASH_DIGITS])
}

/// Completes an object with its identity, its owner and the hash of itself.
fn prepare(resource: &CodeCrucible, child: Child, content: Value) -> Prepared {
    let name = child.name(resource);
    let api = child.api_resource();
    let mut object = json!({
        "apiVersion": api.api_version, "kind": api.kind,
        "metadata": metadata::metadata(resource, &name),
    });
    merge(&mut object, content);
    let hash = &sha256_hex(canonical(&object))[..HASH_DIGITS];
    merge(&mut object, json!({"metadata": {"annotations": {names::ANNOTATION_APPLIED_HASH: hash}}}));
    Prepared { child, name, object }
}

/// Adds `more` to an object, key by key.
pub(crate) fn merge(object: &mut Value, more: Value) {
    match (object, more) {
        (Value::Object(object), Value::Object(more)) => {
            for (key, value) in more {
                merge(object.entry(key).or_insert(Value::Null), value);
            }
        }
        (object, more) => *object = more,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::fixtures;
    use super::super::observe::{MissingCertificate, Observed};
    use super::super::validate::validate;
    use super::*;
    use codecrucible_crds::{CodeCrucibleStatus, PolicyStatus};
    use kube::api::DynamicObject;

    /// Stores certificates where the operator finds them.
    pub(crate) fn with_secrets_of(certificates: &Certificates, observed: &mut Observed) {
        let resource = fixtures::resource(json!({}));
        let facts = Facts { certificates: certificates.clone(), ..fixtures::facts() };
        let Ok(validated) = validate(&resource, &fixtures::observed()) else { panic!("it is not valid") };
        let mut set = desired(
            &resource,
            &validated,
            &facts,
            &as_wanted(&resource, &validated),
            Replicas::Exactly(1),
            &[],
        );
        set.children.retain(|prepared| matches!(prepared.child, Child::Authority | Child::Certificate));
        applied(set, observed);
    }

    fn as_wanted(resource: &CodeCrucible, validated: &Validated) -> Chosen {
        Chosen {
            template: wanted_template(resource, validated),
            rolled_back: None,
            since: None,
            canary: None,
        }
    }

    fn set(resource: &CodeCrucible, observed: &Observed) -> DesiredSet {
        let Ok(validated) = validate(resource, observed) else { panic!("it is not valid") };
        desired(
            resource,
            &validated,
            &fixtures::facts(),
            &as_wanted(resource, &validated),
            Replicas::Exactly(1),
            &[],
        )
    }

    fn object(set: &DesiredSet, child: Child) -> &Value {
        &set.children.iter().find(|prepared| prepared.child == child).unwrap().object
    }

    fn applied(set: DesiredSet, observed: &mut Observed) {
        for prepared in set.children {
            let live: DynamicObject = serde_json::from_value(prepared.object).unwrap();
            observed.children.insert(prepared.child, live);
        }
    }

    #[test]
    fn the_same_input_gives_the_same_objects() {
        let (resource, observed) = (fixtures::resource(json!({})), fixtures::observed());
        let objects =
            |set: DesiredSet| set.children.into_iter().map(|prepared| prepared.object).collect::<Vec<_>>();
        assert_eq!(objects(set(&resource, &observed)), objects(set(&resource, &observed)));
    }

    #[test]
    fn a_new_voice_changes_the_policy_and_nothing_else() {
        let (resource, mut observed) = (fixtures::resource(json!({})), fixtures::observed());
        let first = set(&resource, &observed);
        let deployment = object(&first, Child::Deployment).clone();
        applied(first, &mut observed);
        let voice = json!({"name": "poet", "temperaturePercent": 90, "prompt": "Rhyme."});
        let changed = fixtures::resource(json!({"synthesis": {"voices": [voice]}}));
        let second = set(&changed, &observed);
        assert_eq!(object(&second, Child::Deployment), &deployment);
        assert!(second.publication.revision.starts_with("2-"), "{}", second.publication.revision);
    }

    #[test]
    fn what_clients_are_told_follows_the_pods_that_run_and_not_the_ones_that_failed() {
        let plain = fixtures::resource(json!({"profile": "Development", "tls": {"mode": "Disabled"}}));
        let encrypted = fixtures::resource(json!({}));
        let observed = fixtures::observed();
        let made_of = |pods: &CodeCrucible| {
            let Ok(validated) = validate(&encrypted, &observed) else { panic!("it is not valid") };
            let chosen = as_wanted(pods, &validated);
            desired(&encrypted, &validated, &fixtures::facts(), &chosen, Replicas::Exactly(1), &[])
        };
        let (after, back) = (made_of(&encrypted), made_of(&plain));
        assert_eq!(after.publication.endpoint, "https://demo.team.svc:8080");
        assert!(after.publication.certificate.is_some());
        assert_eq!(back.publication.endpoint, "http://demo.team.svc:8080");
        assert_eq!(back.publication.certificate, None);
        assert_eq!(object(&back, Child::Service)["spec"]["ports"][0]["name"], "http");
        assert!(object(&back, Child::OwnClient)["data"].get("ca.crt").is_none());
    }

    #[test]
    fn clients_keep_the_certificate_of_the_pods_that_serve_while_another_one_is_awaited() {
        let issued = json!({"mode": "CertManager", "issuerRef": {"name": "authority"}});
        let mut awaiting = fixtures::resource(json!({"tls": issued}));
        let mut observed = fixtures::observed();
        observed.given_certificate = Some(Err(MissingCertificate::Secret));
        let held_at = |pods: &CodeCrucible, awaiting: &CodeCrucible| {
            let Ok(validated) = validate(awaiting, &observed) else { panic!("it is not valid") };
            let chosen = as_wanted(pods, &validated);
            desired(awaiting, &validated, &fixtures::facts(), &chosen, Replicas::Exactly(1), &[])
        };
        let own = held_at(&fixtures::resource(json!({})), &awaiting);
        assert!(own.publication.awaited.is_some());
        assert_eq!(own.publication.certificate, Some(Shown::own(&fixtures::facts().certificates)));
        assert!(object(&own, Child::OwnClient)["data"].get("ca.crt").is_some());

        let given = fixtures::resource(json!({"tls": {"mode": "Secret", "secretName": "mine"}}));
        let reported = json!({"fingerprint": "f", "notAfter": "2030-01-01T00:00:00Z", "authority": "pem",
            "appliedReplicas": 1, "pendingReplicas": 0});
        let certificate = serde_json::from_value(reported).unwrap();
        awaiting.status = Some(CodeCrucibleStatus { certificate, ..Default::default() });
        let shown = held_at(&given, &awaiting).publication.certificate.unwrap();
        assert_eq!((&*shown.fingerprint, shown.authority.as_deref()), ("f", Some("pem")));
    }

    #[test]
    fn the_counter_survives_the_loss_of_the_config_map() {
        let mut resource = fixtures::resource(json!({}));
        let policy = PolicyStatus {
            revision: "7-0123456789ab".into(),
            hash: "x".into(),
            published_at: None,
            pinned: false,
            access: Vec::new(),
            applied_replicas: 0,
            replicas: Vec::new(),
            rejected: Vec::new(),
            shadow: None,
        };
        resource.status = Some(CodeCrucibleStatus { policy: Some(policy), ..Default::default() });
        assert!(set(&resource, &fixtures::observed()).publication.revision.starts_with("8-"));
    }

    #[test]
    fn every_child_is_owned_labelled_and_hashed() {
        let set = set(&fixtures::resource(json!({})), &fixtures::observed());
        assert_eq!(
            set.children.len(),
            12,
            "nobody asked for an autoscaler, cert-manager, or a way from outside"
        );
        for prepared in &set.children {
            let metadata = &prepared.object["metadata"];
            assert_eq!(metadata["ownerReferences"][0]["uid"], "1-2-3");
            assert_eq!(metadata["labels"][names::LABEL_INSTANCE], "demo");
            assert_eq!(metadata["annotations"][names::ANNOTATION_APPLIED_HASH].as_str().unwrap().len(), 32);
        }
    }

    #[test]
    fn no_secret_is_in_the_policy_or_the_deployment() {
        let set = set(&fixtures::resource(json!({})), &fixtures::observed());
        for child in [Child::Policy, Child::Deployment] {
            let text = object(&set, child).to_string();
            assert!(!text.contains("fixed-secret") && !text.contains("PRIVATE KEY"), "{child:?}");
        }
    }
}
