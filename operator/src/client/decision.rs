//! What is to be done about a client, from what was seen. Pure: random secrets come in as an argument.

use super::observe::{Held, Observed};
use crate::agreement::{MAX_CLIENTS_OF_NAMESPACE, credentials, endpoint as endpoint_of, lets_in};
use crate::conventions::drift::contains;
use crate::conventions::{Verdict, secret, verdict};
use codecrucible_contract::secrets::{SecretError, is_random_token};
use codecrucible_contract::{MAX_CLIENTS, layout, sha256_hex};
use codecrucible_crds::{CodeCrucible, SynthesisClient, conditions as names, names as labels};
use kube::{Resource as _, ResourceExt as _};
use serde_json::{Value, json};

/// What follows from what was seen. Values of secrets are in it: it has no `Debug`.
pub(super) struct Decision {
    /// The Secret, if it is to be written.
    pub(super) write: Option<Write>,
    /// By which the service is to know the client; nothing while it is not let in.
    pub(super) secret_sha256: Option<String>,
    pub(super) accepted: Verdict,
    pub(super) ready: Verdict,
}

/// A Secret that is to be written.
pub(super) struct Write {
    pub(super) object: Value,
    /// The identity of the one that was looked at; nothing where there is none.
    pub(super) over: Option<String>,
    /// Whether the authority that it names is to go.
    pub(super) forgets_authority: bool,
}

/// Decides for a client.
pub(super) fn decide(
    client: &SynthesisClient,
    observed: &Observed,
    random_token: impl FnOnce() -> Result<String, SecretError>,
) -> Result<Decision, SecretError> {
    let target = match admission(client, observed) {
        Ok(target) => target,
        Err(refused) => {
            let ready = refused.clone();
            return Ok(Decision { write: None, secret_sha256: None, accepted: refused, ready });
        }
    };
    // One that a person chose may be weak, and its hash is for many to see.
    let kept = observed.secret.text(layout::CLIENT_SECRET_FILE).filter(|secret| is_random_token(secret));
    let secret = match kept {
        Some(secret) => secret,
        None => random_token()?,
    };
    let secret_sha256 = sha256_hex(&secret);
    let object = object(client, target, secret);
    let write = match observed.secret.document() {
        Some(live) if contains(&live, &object) && !has_old_authority(&live, &object) => None,
        live => {
            let forgets_authority = live.is_some_and(|live| has_old_authority(&live, &object));
            Some(Write { object, over: uid(&observed.secret), forgets_authority })
        }
    };
    let accepted = verdict(true, names::REASON_VALID, "the service lets this client in");
    let ready = ready(client, target, observed, &secret_sha256);
    Ok(Decision { write, secret_sha256: Some(secret_sha256), accepted, ready })
}

/// The service, if it lets the client in and nothing stands in the way.
fn admission<'a>(client: &SynthesisClient, observed: &'a Observed) -> Result<&'a CodeCrucible, Verdict> {
    let refused = |reason, message| Err(verdict(false, reason, message));
    let (namespace, name) = client.target();
    let (own, namespace) = (client.namespace().unwrap_or_default(), namespace.unwrap_or_default());
    let target = match &observed.target {
        Some(target) if lets_in(target, Some(&own)) => target,
        None if namespace == own => {
            let message = format!("spec.targetRef.name: there is no CodeCrucible {name:?} in this namespace");
            return refused(names::REASON_REFERENCE_NOT_FOUND, message);
        }
        // Whether it exists is not for everybody to know.
        _ => {
            let message = format!(
                "spec.targetRef: there is no CodeCrucible {name:?} in namespace {namespace:?} that lets clients of \
                 namespace {own:?} in; its spec.clients.allowedNamespaces must name that, and the operator watch both"
            );
            return refused(names::REASON_NAMESPACE_NOT_ALLOWED, message);
        }
    };
    if matches!(observed.secret, Held::SomebodyElse) {
        let message = format!(
            "spec.credentials.secretName: the Secret {:?} exists and is not this client's; delete it, or make the client \
             with another secretName",
            client.secret_name()
        );
        return refused(names::REASON_NOT_OWNED, message);
    }
    Ok(target)
}

fn object(client: &SynthesisClient, target: &CodeCrucible, secret_text: String) -> Value {
    // What the service is, not what it asks to be. Before it is anything, nobody can reach it anyhow.
    let status = target.status.as_ref();
    let authority = status.and_then(|status| status.certificate.as_ref()?.authority.as_deref());
    let endpoint = status.and_then(|status| status.endpoint.clone());
    let endpoint = endpoint.unwrap_or_else(|| endpoint_of(target, true));
    let texts = credentials(client.id(), secret_text, &endpoint, authority);
    let mut object = secret(texts.iter().map(|(key, text)| (*key, text.as_str())));
    object["apiVersion"] = "v1".into();
    object["kind"] = "Secret".into();
    object["metadata"] = json!({
        "name": client.secret_name(), "namespace": client.namespace(),
        "labels": {labels::LABEL_MANAGED_BY: labels::MANAGED_BY, labels::LABEL_NAME: labels::APPLICATION},
        "ownerReferences": [client.controller_owner_ref(&())],
    });
    object
}

/// Whether an authority is left of before, which no longer vouches for the service.
fn has_old_authority(live: &Value, object: &Value) -> bool {
    let has_one = |object: &Value| object["data"].get(layout::AUTHORITY_FILE).is_some();
    has_one(live) && !has_one(object)
}

fn uid(held: &Held) -> Option<String> {
    match held {
        Held::Us(secret) => secret.metadata.uid.clone(),
        Held::Nobody | Held::SomebodyElse => None,
    }
}

/// What is said of a client that all know.
const SEEN: &str = "every ready replica was seen to know this client";

/// Whether every ready replica said that it knows the client by this secret.
fn ready(
    client: &SynthesisClient,
    target: &CodeCrucible,
    observed: &Observed,
    secret_sha256: &str,
) -> Verdict {
    let pending = |message: &str| verdict(false, names::REASON_PENDING, message);
    let Some(registered) = &observed.registered else {
        return pending("the service has not handed out its clients yet");
    };
    if registered.secret_sha256(&client.id()) != Some(secret_sha256) {
        if registered.len() >= MAX_CLIENTS {
            return pending(&format!("the service has {MAX_CLIENTS} clients already, which is the most"));
        }
        let own = format!("{}.", client.namespace().unwrap_or_default());
        if registered.iter().filter(|(id, _)| id.starts_with(&own)).count() >= MAX_CLIENTS_OF_NAMESPACE {
            let most = format!("of this namespace are {MAX_CLIENTS_OF_NAMESPACE} clients, which is the most");
            return pending(&format!("the service has not handed out this client; {most}"));
        }
        return pending("the service has not handed out this client yet");
    }
    let status = target.status.as_ref().and_then(|status| status.clients.as_ref());
    let is_asleep = status.is_some_and(|status| status.applied_replicas == 0 && status.pending_replicas == 0);
    if was_ready(client, secret_sha256) && !is_asleep {
        // Others come and go on the list; it has not left it since, so no replica has heard of one without it.
        return verdict(true, names::REASON_REGISTERED, SEEN);
    }
    match status.filter(|status| status.hash == registered.hash()) {
        None => pending("no replica was asked yet"),
        Some(status) if status.applied_replicas == 0 && status.pending_replicas == 0 => {
            verdict(false, names::REASON_NO_REPLICA, "no replica of the service is ready")
        }
        Some(status) => {
            let all = status.applied_replicas + status.pending_replicas;
            if status.pending_replicas == 0 {
                return verdict(true, names::REASON_REGISTERED, SEEN);
            }
            let known = status.applied_replicas;
            pending(&format!(
                "{known} of {all} ready replicas know this client; those of an older version never do"
            ))
        }
    }
}

/// Whether it was known by this secret when it was looked at last.
fn was_ready(client: &SynthesisClient, secret_sha256: &str) -> bool {
    client.status.as_ref().is_some_and(|status| {
        status.secret_sha256.as_deref() == Some(secret_sha256)
            && status.conditions.iter().any(|one| one.type_ == names::READY && one.status == "True")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::fixtures;
    use codecrucible_contract::{Clients, RegisteredClient};

    /// A secret as it is made.
    const FRESH: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG";

    fn client(namespace: &str) -> SynthesisClient {
        let target = json!({"name": "demo", "namespace": "team"});
        let mut client =
            SynthesisClient::new("app", serde_json::from_value(json!({"targetRef": target})).unwrap());
        client.metadata.namespace = Some(namespace.into());
        client.metadata.uid = Some("4-5-6".into());
        client
    }

    fn observed(target: Option<CodeCrucible>) -> Observed {
        Observed { target, secret: Held::Nobody, registered: None }
    }

    fn service() -> CodeCrucible {
        fixtures::resource(json!({"clients": {"allowedNamespaces": ["apps"]}}))
    }

    fn decided(client: &SynthesisClient, observed: &Observed) -> Decision {
        decide(client, observed, || Ok(FRESH.into())).unwrap_or_else(|_| panic!("no secret"))
    }

    /// What is seen once a decision was carried out.
    fn carried_out(decision: Decision) -> Held {
        let mut object = decision.write.unwrap().object;
        object["metadata"]["uid"] = "7-8-9".into();
        Held::Us(Box::new(serde_json::from_value(object).unwrap()))
    }

    #[test]
    fn a_client_of_an_allowed_namespace_gets_a_secret_once() {
        let (client, mut observed) = (client("apps"), observed(Some(service())));
        let first = decided(&client, &observed);
        assert_eq!(first.secret_sha256.as_deref(), Some(&*sha256_hex(FRESH)));
        assert_eq!((first.ready.is_true, first.ready.reason), (false, "Pending"));
        observed.secret = carried_out(first);
        let again =
            decide(&client, &observed, || panic!("it has one")).unwrap_or_else(|_| panic!("no secret"));
        assert!(again.write.is_none());
        assert_eq!(observed.secret.text("client-id").as_deref(), Some("apps.app"));
        assert_eq!(observed.secret.text("base-url").as_deref(), Some("https://demo.team.svc:8080/v1"));
    }

    #[test]
    fn an_authority_that_no_longer_vouches_for_the_service_goes() {
        let (client, mut observed) = (client("apps"), observed(Some(service())));
        let first = decided(&client, &observed).write.unwrap();
        assert!(!first.forgets_authority);
        observed.secret = carried_out(decided(&client, &observed));
        let Held::Us(held) = &mut observed.secret else { panic!("it is ours") };
        held.data["data"]["ca.crt"] = "b2xk".into();
        held.data["data"]["of-a-person"] = "b2xk".into();
        assert!(decided(&client, &observed).write.unwrap().forgets_authority);
        let Held::Us(held) = &mut observed.secret else { panic!("it is ours") };
        held.data["data"].as_object_mut().unwrap().remove("ca.crt");
        assert!(decided(&client, &observed).write.is_none(), "what others added is theirs");
    }

    #[test]
    fn a_secret_that_was_emptied_or_that_a_person_chose_is_made_anew_over_the_one_that_was_seen() {
        let (client, mut observed) = (client("apps"), observed(Some(service())));
        observed.secret = carried_out(decided(&client, &observed));
        let Held::Us(held) = &mut observed.secret else { panic!("it is ours") };
        // Nothing, and "hunter2".
        for chosen in ["", "aHVudGVyMg=="] {
            held.data["data"]["client-secret"] = chosen.into();
            let observed =
                Observed { secret: Held::Us(held.clone()), ..super::tests::observed(Some(service())) };
            let write = decided(&client, &observed).write.unwrap();
            assert_eq!(write.over.as_deref(), Some("7-8-9"), "{chosen}");
        }
    }

    #[test]
    fn who_may_not_know_whether_a_service_exists_is_told_the_same_either_way() {
        let refusal = |namespace: &str, target| decided(&client(namespace), &observed(target)).accepted;
        let (absent, closed) = (refusal("other", None), refusal("other", Some(service())));
        assert_eq!((absent.reason, &absent), ("NamespaceNotAllowed", &closed));
        assert_eq!(refusal("team", None).reason, "ReferenceNotFound");
        assert!(refusal("team", Some(service())).is_true, "its own namespace");
    }

    #[test]
    fn a_secret_of_somebody_else_is_left_alone_and_lets_nobody_in() {
        let observed = Observed { secret: Held::SomebodyElse, ..observed(Some(service())) };
        let decision = decided(&client("apps"), &observed);
        assert_eq!(decision.accepted.reason, "NotOwned");
        assert!(decision.write.is_none() && decision.secret_sha256.is_none());
    }

    #[test]
    fn a_client_is_ready_when_every_replica_said_that_it_knows_it() {
        let client = client("apps");
        let registered = |secret: &str| {
            let registered = RegisteredClient { id: "apps.app".into(), secret_sha256: sha256_hex(secret) };
            Clients::new([registered]).unwrap()
        };
        let ready_of = |client: &SynthesisClient,
                        clients: Clients,
                        hash: &str,
                        applied: i32,
                        pending: i32| {
            let mut target = service();
            let status = json!({"clients": {"registered": 1, "hash": hash, "appliedReplicas": applied, "pendingReplicas": pending}});
            target.status = Some(serde_json::from_value(status).unwrap());
            let observed = Observed { registered: Some(clients), ..observed(Some(target)) };
            let ready = decided(client, &observed).ready;
            (ready.is_true, ready.reason)
        };
        let ready =
            |clients, hash: &str, applied, pending| ready_of(&client, clients, hash, applied, pending);
        let known = registered(FRESH);
        let hash = known.hash();
        assert_eq!(ready(known.clone(), &hash, 3, 0), (true, "Registered"));
        assert_eq!(ready(known.clone(), &hash, 2, 1), (false, "Pending"));
        assert_eq!(ready(known.clone(), &hash, 0, 0), (false, "NoReplica"));
        assert_eq!(ready(known, "of others", 3, 0), (false, "Pending"));
        let mut others = client.clone();
        let condition = json!({"type": "Ready", "status": "True", "reason": "Registered", "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let before = json!({"secretSha256": sha256_hex(FRESH), "conditions": [condition]});
        others.status = Some(serde_json::from_value(before).unwrap());
        let stays = |applied, pending| ready_of(&others, registered(FRESH), "of others", applied, pending);
        assert_eq!(stays(1, 2), (true, "Registered"), "another one came onto the list");
        let known = registered(FRESH);
        let asleep = ready_of(&others, known.clone(), &known.hash(), 0, 0);
        assert_eq!(asleep, (false, "NoReplica"));
        let stale = registered("earlier");
        let hash = stale.hash();
        assert_eq!(ready(stale, &hash, 3, 0), (false, "Pending"));
    }
}
