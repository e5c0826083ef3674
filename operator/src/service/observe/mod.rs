//! Step one: everything that a reconcile needs to know, read in one go.
//!
//! Within a reconcile one read follows the other: many reconciles run side by side, and each request at the same
//! time is a connection with buffers of its own.

mod certificate;
mod children;
mod look;
mod named;
mod past;
mod pods;
mod secret_value;

pub(crate) use certificate::MissingCertificate;
pub(crate) use look::Look;
pub(crate) use past::{compared, kept, policy};
pub(crate) use pods::pods;
pub(crate) use secret_value::{MAX_CREDENTIAL_BYTES, MissingCredential};

use super::acknowledgements::{self, Answer};
use super::child::Child;
use super::history::{Kept, Template};
use super::tls::Given;
use super::{Context, Known};
use crate::conventions::{is_absent, is_owned, text_at};
use children::{are_replicas_ours_alone, found};
use codecrucible_contract::Bundle;
use codecrucible_crds::{
    AccessPolicy, CodeCrucible, ModelBackend, RolloutPhase, SynthesisClient, TlsMode, names,
};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DynamicObject, GetParams};
use kube::{Api, Client, ResourceExt};
use named::{access, asking, backends, credentials, given_certificate, store_passwords, unserved};
use past::{in_force, last_good, last_good_policy};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Longest wait for an API server that does not remember enough yet, seconds.
pub(super) const GLANCE_SECONDS: u64 = 2;

/// What was seen. Values of secrets are in it: it has no `Debug`.
pub(crate) struct Observed {
    /// The backends that the resource names, by name; absent ones are not in it.
    pub(crate) backends: BTreeMap<String, ModelBackend>,
    /// For each backend that needs one, its credential, or what is missing.
    pub(crate) credentials: BTreeMap<String, Result<String, MissingCredential>>,
    /// For each store that needs one, by where it is named, its password, or what is missing.
    pub(crate) store_passwords: BTreeMap<&'static str, Result<String, MissingCredential>>,
    /// The certificate to show to clients that is not the operator's, if that is asked for, or why there is none.
    pub(crate) given_certificate: Option<Result<Given, MissingCertificate>>,
    /// The access policies of its namespace; none where it selects none.
    pub(crate) access: Vec<Arc<AccessPolicy>>,
    /// The clients of all applications; nothing while it is not known who there is.
    pub(crate) asking: Option<Vec<Arc<SynthesisClient>>>,
    /// The children that exist.
    pub(crate) children: BTreeMap<Child, DynamicObject>,
    /// Children whose names are taken by objects of somebody else.
    pub(crate) foreign: BTreeSet<Child>,
    /// What the resource wants of kinds that the cluster does not serve.
    pub(crate) unserved: BTreeSet<Child>,
    /// Whether nobody but the operator has set how many replicas there are.
    pub(crate) replicas_are_ours_alone: bool,
    /// The service's pods.
    pub(crate) pods: Vec<Pod>,
    /// What the ready ones said, by the pod's name.
    pub(crate) answers: BTreeMap<String, Answer>,
    /// What the pods were made from that ran well last, while they are made from something else.
    pub(crate) last_good: Option<Template>,
    /// The policy that they ran.
    pub(crate) last_good_policy: Option<Bundle>,
    /// What is kept of the service's past. Only an exact look shows it, and any while the policy is held at an older one.
    pub(crate) history: Vec<Kept>,
    /// The policy at which a person holds the service, if it is kept.
    pub(crate) pinned: Option<Bundle>,
    /// The policy that was reported last, as it is kept, where something goes on from it: because a new one is only to be
    /// compared with it, or an access policy that is wrong stays as it was. What replicas read anybody may have edited who may
    /// edit a ConfigMap.
    pub(crate) in_force: Option<Bundle>,
    /// Where the operator runs.
    pub(crate) operator_namespace: String,
}

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {error}")]
pub struct ObserveError {
    what: &'static str,
    #[source]
    error: Box<kube::Error>,
}

impl ObserveError {
    fn is_forbidden(&self) -> bool {
        matches!(&*self.error, kube::Error::Api(status) if status.is_forbidden())
    }
}

fn failed(what: &'static str) -> impl FnOnce(kube::Error) -> ObserveError {
    move |error| ObserveError { what, error: Box::new(error) }
}

/// The resource, no older than it is known. Nothing while it is being deleted, when its children go by garbage collection.
pub(crate) async fn resource(client: &Client, known: &Known) -> Result<Option<CodeCrucible>, ObserveError> {
    let api: Api<CodeCrucible> = Api::namespaced(client.clone(), &known.namespace().unwrap_or_default());
    let found = api.get_opt(&known.name_any()).await.map_err(failed("the resource"))?;
    let lean = |mut resource: CodeCrucible| {
        resource.metadata.managed_fields = None;
        resource
    };
    Ok(found.map(lean).filter(|resource| resource.metadata.deletion_timestamp.is_none()))
}

/// Reads what it names; nothing of what belongs to it yet.
#[tracing::instrument(skip_all)]
pub(crate) async fn observe(context: &Context, resource: &CodeCrucible) -> Result<Observed, ObserveError> {
    let namespace = resource.namespace().unwrap_or_default();
    let backends = backends(context, &namespace, resource).await?;
    let credentials = credentials(&context.client, &namespace, &backends).await?;
    let (access, asking) = (access(context, &namespace, resource).await?, asking(context));
    let given_certificate = given_certificate(&context.client, &namespace, resource).await?;
    let store_passwords = store_passwords(&context.client, &namespace, resource).await?;
    let unserved = unserved(&context.client, resource).await?;
    Ok(Observed {
        store_passwords,
        unserved,
        given_certificate,
        access,
        asking,
        ..Observed::of_names(backends, credentials, &context.namespace)
    })
}

impl Observed {
    /// What a resource names, with nothing of what belongs to it yet.
    pub(crate) fn of_names(
        backends: BTreeMap<String, ModelBackend>,
        credentials: BTreeMap<String, Result<String, MissingCredential>>,
        operator_namespace: &str,
    ) -> Self {
        Self {
            backends,
            credentials,
            store_passwords: BTreeMap::new(),
            given_certificate: None,
            access: Vec::new(),
            asking: None,
            children: BTreeMap::new(),
            foreign: BTreeSet::new(),
            unserved: BTreeSet::new(),
            replicas_are_ours_alone: false,
            pods: Vec::new(),
            answers: BTreeMap::new(),
            last_good: None,
            last_good_policy: None,
            history: Vec::new(),
            pinned: None,
            in_force: None,
            operator_namespace: operator_namespace.to_owned(),
        }
    }

    /// Reads the children and pods, in place of what was seen of them before.
    #[tracing::instrument(skip_all)]
    pub(crate) async fn look(
        &mut self,
        context: &Context,
        resource: &CodeCrucible,
        look: Look,
    ) -> Result<(), ObserveError> {
        self.children.clear();
        self.foreign.clear();
        self.replicas_are_ours_alone = false;
        self.pods.clear();
        // What is not wanted concerns only whoever is about to write.
        let looked_at =
            |child: &Child| look == Look::Exact || child.is_wanted(resource) || may_be_left(resource, *child);
        for child in Child::ALL.into_iter().filter(looked_at) {
            let found = match found(context, resource, child, look).await {
                // Whoever plans a change may not be let see what the resource does not need.
                Err(error) if error.is_forbidden() && !child.is_wanted(resource) => None,
                found => found?,
            };
            if let Some(object) = found {
                self.note(resource, child, object);
            }
        }
        self.last_good = last_good(context, resource, self).await?;
        self.last_good_policy = match last_good_policy(resource).filter(|_| self.last_good.is_some()) {
            Some(revision) => policy(context, resource, revision).await?,
            None => None,
        };
        let pin = resource.annotations().get(names::ANNOTATION_ROLLBACK_POLICY);
        self.history = match look {
            Look::Glance if pin.is_none() => Vec::new(),
            Look::Glance | Look::Exact => kept(context, resource).await?,
        };
        self.pinned = match pin {
            None => None,
            Some(revision) => policy(context, resource, revision).await?,
        };
        self.in_force = in_force(context, resource, self).await?;
        self.pods = pods(context, resource, look).await?;
        Ok(())
    }

    /// Whether cert-manager is asked for a certificate, and has not issued it.
    pub(crate) fn awaits_certificate(&self, resource: &CodeCrucible) -> bool {
        resource.spec.tls.mode == TlsMode::CertManager
            && matches!(self.given_certificate, None | Some(Err(MissingCertificate::Secret)))
    }

    fn note(&mut self, resource: &CodeCrucible, child: Child, mut object: DynamicObject) {
        if is_owned(resource, &object) {
            if child == Child::Deployment {
                self.replicas_are_ours_alone = are_replicas_ours_alone(object.managed_fields());
            }
            // Who set which field is half of an object, and not looked at.
            object.metadata.managed_fields = None;
            self.children.insert(child, object);
        } else {
            self.foreign.insert(child);
        }
    }

    /// Asks the replicas what they applied. One that was asked in this reconcile is not asked again.
    #[tracing::instrument(skip_all)]
    pub(crate) async fn ask_replicas(&mut self, resource: &CodeCrucible) {
        let answers = acknowledgements::ask(resource, self).await;
        self.answers.extend(answers);
        let asked: BTreeSet<_> = self
            .pods
            .iter()
            .filter(|pod| acknowledgements::is_asked(pod))
            .map(|pod| pod.name_any())
            .collect();
        self.answers.retain(|pod, _| asked.contains(pod));
    }
}

/// Whether something that is no longer wanted may have to go now: once what does without it has run well. A canary is only ever
/// there beside pods that ran well before.
fn may_be_left(resource: &CodeCrucible, child: Child) -> bool {
    let Some(rollout) = resource.status.as_ref().and_then(|status| status.rollout.as_ref()) else {
        return false;
    };
    let is_tried =
        rollout.phase != RolloutPhase::Complete || rollout.last_good.as_ref() != Some(&rollout.revision);
    is_tried
        && match child {
            Child::IssuedCertificate | Child::RouteTrust => true,
            Child::Canary => rollout.last_good.is_some(),
            _ => false,
        }
}

async fn get<K>(api: &Api<K>, name: &str, version: GetParams) -> kube::Result<Option<K>>
where
    K: Clone + DeserializeOwned + Debug,
{
    match api.get_with(name, &version).await {
        Ok(object) => Ok(Some(object)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// No older than a version; as it is stored where the API server does not remember that much. Should it be newer
/// still, a watch is about to tell.
async fn get_since<K>(api: &Api<K>, name: &str, version: Option<&str>) -> kube::Result<Option<K>>
where
    K: Clone + DeserializeOwned + Debug,
{
    let remembered = get(api, name, version.map_or_else(GetParams::default, GetParams::at));
    match timeout(Duration::from_secs(GLANCE_SECONDS), remembered).await {
        Ok(Ok(object)) => Ok(object),
        Ok(Err(_)) | Err(_) => get(api, name, GetParams::default()).await,
    }
}

impl Observed {
    /// The text at a key of a child's data, decoded where the child is a Secret.
    pub(crate) fn data(&self, child: Child, key: &str) -> Option<String> {
        let object = &self.children.get(&child)?.data;
        if child.kind() == "Secret" {
            return text_at(object, key);
        }
        Some(object.get("data")?.get(key)?.as_str()?.to_owned())
    }
}
