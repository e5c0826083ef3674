//! Step one: everything that a reconcile needs to know, read in one go.
//!
//! Within a reconcile one read follows the other: many reconciles run side by side, and each request at the same
//! time is a connection with buffers of its own.

use super::acknowledgements::{self, Answer};
use super::child::Child;
use super::desired::metadata::selector_text;
use super::document;
use super::history::{self, Kept, Series, Template};
use super::newest::Newest;
use super::rollout::Live;
use super::shown::Given;
use super::validate::has_wrong_access;
use super::{Context, Known};
use crate::conventions::{is_owned, text_at};
use codecrucible_contract::certificates::Certified;
use codecrucible_contract::{Bundle, layout};
use codecrucible_crds::{
    AccessPolicy, CodeCrucible, ModelBackend, PolicyMode, SecretKeyReference, SynthesisClient, TlsMode, names,
};
use futures::FutureExt as _;
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::api::{DynamicObject, GetParams, ListParams, VersionMatch};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Client, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Pods of one page of a list: anybody can make many large ones with our labels.
const PAGE_PODS: u32 = 20;
/// Most pages that are looked at; a service has at most 100 replicas, and as many on their way out.
const MAX_PAGES: usize = 25;
/// Longest key of what is kept, bytes.
const MAX_KEY_BYTES: usize = 64;
/// Most objects of a service's past that are looked at.
const MAX_KEPT_SEEN: u32 = 100;
/// Largest certificate or key that is looked at, bytes.
const MAX_PEM_BYTES: usize = 64 * 1024;
/// Access policies of one page of a list, which is read only before the watch has shown them.
const PAGE_ACCESS_POLICIES: u32 = 50;
/// Longest wait for an API server that does not remember enough yet, seconds.
pub(super) const GLANCE_SECONDS: u64 = 2;
/// Longest credential, bytes: it becomes a header, and few servers take longer ones.
pub(crate) const MAX_CREDENTIAL_BYTES: usize = 8 * 1024;

/// What was seen. Values of secrets are in it: it has no `Debug`.
pub(crate) struct Observed {
    /// The backends that the resource names, by name; absent ones are not in it.
    pub(crate) backends: BTreeMap<String, ModelBackend>,
    /// For each backend that needs one, its credential, or what is missing.
    pub(crate) credentials: BTreeMap<String, Result<String, MissingCredential>>,
    /// The certificate that somebody gave it to show to clients, if that is asked for, or what is missing.
    pub(crate) given_certificate: Option<Result<Given, MissingCredential>>,
    /// The access policies of its namespace; none where it selects none.
    pub(crate) access: Vec<Arc<AccessPolicy>>,
    /// The clients of all applications; nothing while it is not known who there is.
    pub(crate) asking: Option<Vec<Arc<SynthesisClient>>>,
    /// The children that exist.
    pub(crate) children: BTreeMap<Child, DynamicObject>,
    /// Children whose names are taken by objects of somebody else.
    pub(crate) foreign: BTreeSet<Child>,
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

/// How new the children and pods must be that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// As the API server has them in memory, which costs it much less, and no older than what the watches have
    /// shown. They may lag behind what is stored: good enough to see that all is well, not to write.
    Glance,
    /// As they are stored.
    Exact,
}

impl Look {
    /// The deployment's state is reported, so it is never an old one.
    fn of_child(self, child: Child, newest: &Newest) -> GetParams {
        if self == Self::Exact || child == Child::Deployment {
            GetParams::default()
        } else {
            newest.of(child.kind()).map_or_else(GetParams::default, |version| GetParams::at(&version))
        }
    }

    fn of_pods(self, newest: &Newest) -> ListParams {
        let parameters = ListParams::default().limit(PAGE_PODS);
        match newest.of("Pod").filter(|_| self == Self::Glance) {
            Some(version) => parameters.matching(VersionMatch::NotOlderThan).at(&version),
            None => parameters,
        }
    }
}

/// Why a credential cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MissingCredential {
    Secret,
    Key,
    NotText,
    TooLong,
}

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {error}")]
pub struct ObserveError {
    what: &'static str,
    #[source]
    error: Box<kube::Error>,
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
pub(crate) async fn observe(context: &Context, resource: &CodeCrucible) -> Result<Observed, ObserveError> {
    let namespace = resource.namespace().unwrap_or_default();
    let backends = backends(context, &namespace, resource).await?;
    let credentials = credentials(&context.client, &namespace, &backends).await?;
    let (access, asking) = (access(context, &namespace, resource).await?, asking(context));
    let given_certificate = given_certificate(&context.client, &namespace, resource).await?;
    Ok(Observed {
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
            given_certificate: None,
            access: Vec::new(),
            asking: None,
            children: BTreeMap::new(),
            foreign: BTreeSet::new(),
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
        let looked_at = |child: &Child| look == Look::Exact || child.is_wanted(resource);
        for child in Child::ALL.into_iter().filter(looked_at) {
            if let Some(object) = found(context, resource, child, look).await? {
                self.note(resource, child, object);
            }
        }
        self.last_good = last_good(context, resource, &self.children).await?;
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

async fn backends(
    context: &Context,
    namespace: &str,
    resource: &CodeCrucible,
) -> Result<BTreeMap<String, ModelBackend>, ObserveError> {
    let api: Api<ModelBackend> = Api::namespaced(context.client.clone(), namespace);
    let version = context.newest.of("ModelBackend");
    let mut found = BTreeMap::new();
    for name in &resource.spec.backends {
        // What the watch has shown last is as new as what would be asked for.
        let reference = ObjectRef::new(name).within(namespace);
        if let Some(shown) = context.backends.as_ref().and_then(|shown| shown.get(&reference)) {
            found.insert(name.clone(), ModelBackend::clone(&shown));
            continue;
        }
        let backend = get_since(&api, name, version.as_deref()).await.map_err(failed("ModelBackends"))?;
        if let Some(mut backend) = backend {
            backend.metadata.managed_fields = None;
            found.insert(name.clone(), backend);
        }
    }
    Ok(found)
}

/// From the watch, once it has shown everything: one that is not known yet must not be taken for one that is gone.
async fn access(
    context: &Context,
    namespace: &str,
    resource: &CodeCrucible,
) -> Result<Vec<Arc<AccessPolicy>>, ObserveError> {
    if resource.spec.policy_selector.is_none() {
        return Ok(Vec::new());
    }
    let shown = context.access_policies.as_ref();
    if let Some(shown) = shown.filter(|shown| matches!(shown.wait_until_ready().now_or_never(), Some(Ok(()))))
    {
        let is_here = |policy: &Arc<AccessPolicy>| policy.metadata.namespace.as_deref() == Some(namespace);
        return Ok(shown.state().into_iter().filter(is_here).collect());
    }
    let api: Api<AccessPolicy> = Api::namespaced(context.client.clone(), namespace);
    let (mut found, mut page) = (Vec::new(), ListParams::default().limit(PAGE_ACCESS_POLICIES));
    loop {
        let listed = api.list(&page).await.map_err(failed("AccessPolicies"))?;
        found.extend(listed.items.into_iter().map(Arc::new));
        // All of them, or none: one that is left out may be the one that forbids.
        match listed.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(found),
        }
    }
}

/// Nothing before the watch has shown everything: whoever is not known yet must not be thrown out.
fn asking(context: &Context) -> Option<Vec<Arc<SynthesisClient>>> {
    let clients = context.clients.as_ref()?;
    let is_whole = clients.wait_until_ready().now_or_never();
    matches!(is_whole, Some(Ok(()))).then(|| clients.state())
}

async fn credentials(
    client: &Client,
    namespace: &str,
    backends: &BTreeMap<String, ModelBackend>,
) -> Result<BTreeMap<String, Result<String, MissingCredential>>, ObserveError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let mut found = BTreeMap::new();
    for (name, backend) in backends {
        if let Some(reference) = &backend.spec.credentials_secret_ref {
            let secret = api.get_opt(&reference.name).await.map_err(failed("credentials"))?;
            found.insert(name.clone(), value_at(secret, reference));
        }
    }
    Ok(found)
}

/// Nothing where none is asked for.
async fn given_certificate(
    client: &Client,
    namespace: &str,
    resource: &CodeCrucible,
) -> Result<Option<Result<Given, MissingCredential>>, ObserveError> {
    let tls = &resource.spec.tls;
    let Some(name) = tls.secret_name.as_ref().filter(|_| tls.mode == TlsMode::Secret) else {
        return Ok(None);
    };
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let secret = api.get_opt(name).await.map_err(failed("the certificate"))?;
    Ok(Some(secret.ok_or(MissingCredential::Secret).and_then(pair_in)))
}

fn pair_in(secret: Secret) -> Result<Given, MissingCredential> {
    let mut data = secret.data.unwrap_or_default();
    let mut text = |key: &str| {
        let value = data.remove(key).ok_or(MissingCredential::Key)?;
        if value.0.len() > MAX_PEM_BYTES {
            return Err(MissingCredential::TooLong);
        }
        String::from_utf8(value.0).map_err(|_| MissingCredential::NotText)
    };
    let (certificate, key) = (text(layout::CERTIFICATE_FILE)?, text(layout::CERTIFICATE_KEY_FILE)?);
    let authority = text(layout::AUTHORITY_FILE).ok().filter(|authority| !authority.trim().is_empty());
    Ok(Given { certified: Certified { certificate, key }, authority })
}

fn value_at(secret: Option<Secret>, reference: &SecretKeyReference) -> Result<String, MissingCredential> {
    let mut data = secret.ok_or(MissingCredential::Secret)?.data.unwrap_or_default();
    let value = data.remove(&reference.key).ok_or(MissingCredential::Key)?;
    if value.0.len() > MAX_CREDENTIAL_BYTES {
        return Err(MissingCredential::TooLong);
    }
    let text = String::from_utf8(value.0).map_err(|_| MissingCredential::NotText)?;
    let text = text.trim();
    if text.is_empty() || text.contains(char::is_control) {
        Err(MissingCredential::NotText)
    } else {
        Ok(text.to_owned())
    }
}

async fn found(
    context: &Context,
    resource: &CodeCrucible,
    child: Child,
    look: Look,
) -> Result<Option<DynamicObject>, ObserveError> {
    let namespace = resource.namespace().unwrap_or_default();
    let api: Api<DynamicObject> =
        Api::namespaced_with(context.client.clone(), &namespace, &child.api_resource());
    get(&api, &child.name(resource), look.of_child(child, &context.newest)).await.map_err(failed("children"))
}

/// What ran well last. It need not be read while that is what runs.
async fn last_good(
    context: &Context,
    resource: &CodeCrucible,
    children: &BTreeMap<Child, DynamicObject>,
) -> Result<Option<Template>, ObserveError> {
    let rollout = resource.status.as_ref().and_then(|status| status.rollout.as_ref());
    let Some(key) = rollout.and_then(|rollout| rollout.last_good.as_deref()) else { return Ok(None) };
    if !Live::of(children.get(&Child::Deployment)).is_on_the_way(key) {
        return Ok(None);
    }
    let data = record(context, resource, Series::Template, key).await?;
    Ok(data.and_then(|data| Template::from_kept(&data, key)))
}

fn last_good_policy(resource: &CodeCrucible) -> Option<&str> {
    resource.status.as_ref()?.rollout.as_ref()?.last_good_policy.as_deref()
}

/// What was reported last, from what is kept of it, or from what replicas read if that is the same. It need not be read where
/// nothing goes on from it.
async fn in_force(
    context: &Context,
    resource: &CodeCrucible,
    observed: &Observed,
) -> Result<Option<Bundle>, ObserveError> {
    let is_needed = resource.spec.policy.mode == PolicyMode::Shadow || has_wrong_access(resource, observed);
    let reported = resource.status.as_ref().and_then(|status| status.policy.as_ref());
    let Some(reported) = reported.filter(|_| is_needed) else { return Ok(None) };
    if let Some(kept) = policy(context, resource, &reported.revision).await? {
        return Ok(Some(kept));
    }
    let read = observed.children.get(&Child::Policy);
    let read = read.and_then(|object| document::from_config_map(&object.data));
    let is_it = |bundle: &Bundle| {
        (bundle.revision().to_string(), bundle.hash()) == (reported.revision.clone(), &*reported.hash)
    };
    Ok(read.filter(is_it))
}

/// A policy that is kept.
pub(super) async fn policy(
    context: &Context,
    resource: &CodeCrucible,
    revision: &str,
) -> Result<Option<Bundle>, ObserveError> {
    let data = record(context, resource, Series::Policy, revision).await?;
    Ok(data.and_then(|data| document::from_kept(&data, revision)))
}

/// The policy that replicas only compare.
pub(super) async fn compared(
    context: &Context,
    resource: &CodeCrucible,
) -> Result<Option<Bundle>, ObserveError> {
    let found = found(context, resource, Child::Policy, Look::Exact).await?;
    let found = found.filter(|object| is_owned(resource, object));
    Ok(found.and_then(|object| document::shadow_from_config_map(&object.data)))
}

/// What is kept under a key, if it is ours. A key that no object's name can have is not asked for.
async fn record(
    context: &Context,
    resource: &CodeCrucible,
    series: Series,
    key: &str,
) -> Result<Option<Value>, ObserveError> {
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if key.is_empty() || key.len() > MAX_KEY_BYTES || !key.bytes().all(is_name) {
        return Ok(None);
    }
    let kept = history_api(context, resource).get_opt(&series.object_name(resource, key)).await;
    let kept = kept.map_err(failed("ControllerRevisions"))?.filter(|kept| is_owned(resource, kept));
    Ok(kept.and_then(|kept| kept.data.get("data").cloned()))
}

/// What is kept of a service's past.
pub(super) async fn kept(context: &Context, resource: &CodeCrucible) -> Result<Vec<Kept>, ObserveError> {
    let mut found = Vec::new();
    // Each for itself, so that many of the one do not hide the other.
    for series in Series::ALL {
        let parameters = ListParams::default().labels(&series.selector(resource)).limit(MAX_KEPT_SEEN);
        let listed = history_api(context, resource).list_metadata(&parameters).await;
        let listed = listed.map_err(failed("ControllerRevisions"))?.items;
        let owned = listed.iter().filter(|kept| is_owned(resource, *kept));
        found.extend(owned.filter_map(|kept| Kept::of(resource, kept)));
    }
    Ok(found)
}

fn history_api(context: &Context, resource: &CodeCrucible) -> Api<DynamicObject> {
    let namespace = resource.namespace().unwrap_or_default();
    Api::namespaced_with(context.client.clone(), &namespace, &history::api_resource())
}

async fn get<K>(api: &Api<K>, name: &str, version: GetParams) -> kube::Result<Option<K>>
where
    K: Clone + DeserializeOwned + Debug,
{
    match api.get_with(name, &version).await {
        Ok(object) => Ok(Some(object)),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
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

/// Whether the operator alone has set a deployment's replicas.
fn are_replicas_ours_alone(managed: &[ManagedFieldsEntry]) -> bool {
    let sets_replicas = |entry: &&ManagedFieldsEntry| {
        entry.fields_v1.as_ref().is_some_and(|fields| !fields.0["f:spec"]["f:replicas"].is_null())
    };
    let mut who = managed.iter().filter(sets_replicas).map(|entry| entry.manager.as_deref()).peekable();
    who.peek().is_some() && who.all(|manager| manager == Some(names::FIELD_MANAGER))
}

pub(super) async fn pods(
    context: &Context,
    resource: &CodeCrucible,
    look: Look,
) -> Result<Vec<Pod>, ObserveError> {
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &resource.namespace().unwrap_or_default());
    let labels = selector_text(resource);
    let deployment = Child::Deployment.name(resource);
    let mut parameters = look.of_pods(&context.newest).labels(&labels);
    let mut found = Vec::new();
    for _ in 0..MAX_PAGES {
        let page = api.list(&parameters).await.map_err(failed("Pods"))?;
        found.extend(page.items.into_iter().filter(|pod| is_of_deployment(pod, &deployment)).map(lean));
        let Some(next) = page.metadata.continue_.filter(|next| !next.is_empty()) else { break };
        parameters = ListParams::default().limit(PAGE_PODS).labels(&labels).continue_token(&next);
    }
    Ok(found)
}

/// Only what is looked at: the rest may be large.
fn lean(mut pod: Pod) -> Pod {
    pod.spec = None;
    pod.metadata.managed_fields = None;
    let is_ours = |name: &str| [names::ANNOTATION_CONFIGURATION, names::ANNOTATION_TEMPLATE].contains(&name);
    pod.annotations_mut().retain(|name, _| is_ours(name));
    pod
}

/// Whether a pod was made for a deployment. Anybody can give a pod our labels.
fn is_of_deployment(pod: &Pod, deployment: &str) -> bool {
    let owner = pod.owner_references().iter().find(|owner| owner.controller == Some(true));
    let template = pod.labels().get("pod-template-hash");
    owner.zip(template).is_some_and(|(owner, template)| {
        owner.kind == "ReplicaSet" && owner.name == format!("{deployment}-{template}")
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    #[test]
    fn a_glance_is_no_older_than_what_a_watch_has_shown() {
        let newest = Newest::default();
        newest.note("Service", Some("7"));
        newest.note("Pod", Some("8"));
        newest.note("Deployment", Some("9"));
        newest.note("PodDisruptionBudget", Some("6"));
        for kind in ["Service", "Pod", "Deployment", "ConfigMap"] {
            newest.note_listed(kind);
        }
        let asked_for = |look: Look, child| look.of_child(child, &newest).resource_version;
        assert_eq!(asked_for(Look::Glance, Child::Service).as_deref(), Some("7"));
        assert_eq!(asked_for(Look::Glance, Child::Policy).as_deref(), Some("0"));
        assert_eq!(asked_for(Look::Glance, Child::Deployment), None, "it is reported");
        assert_eq!(asked_for(Look::Glance, Child::DisruptionBudget), None, "not all were shown yet");
        assert_eq!(asked_for(Look::Exact, Child::Service), None);
        assert_eq!(Look::Glance.of_pods(&newest).resource_version.as_deref(), Some("8"));
        assert_eq!(Look::Exact.of_pods(&newest).resource_version, None);
    }

    #[test]
    fn replicas_are_ours_until_somebody_else_sets_them() {
        let entry = |manager: &str, fields: Value| json!({"manager": manager, "operation": "Apply", "fieldsV1": fields});
        let (with, without) = (json!({"f:spec": {"f:replicas": {}}}), json!({"f:spec": {"f:selector": {}}}));
        let alone = |entries: Value| {
            let entries: Vec<ManagedFieldsEntry> = serde_json::from_value(entries).unwrap();
            are_replicas_ours_alone(&entries)
        };
        let ours = entry(names::FIELD_MANAGER, with.clone());
        assert!(alone(json!([ours, entry("kube-controller-manager", without.clone())])));
        assert!(!alone(json!([ours, entry("kube-controller-manager", with)])));
        assert!(!alone(json!([entry(names::FIELD_MANAGER, without)])), "they are set by nobody");
    }

    #[test]
    fn a_strangers_pod_with_our_labels_is_not_taken_for_a_replica() {
        let pod = |kind: &str, owner: &str| -> Pod {
            let owner = json!([{"apiVersion": "apps/v1", "kind": kind, "name": owner, "uid": "1", "controller": true}]);
            let metadata =
                json!({"name": "p", "labels": {"pod-template-hash": "abc"}, "ownerReferences": owner});
            serde_json::from_value(json!({"metadata": metadata})).unwrap()
        };
        assert!(is_of_deployment(&pod("ReplicaSet", "demo-abc"), "demo"));
        assert!(!is_of_deployment(&pod("ReplicaSet", "other-abc"), "demo"));
        assert!(!is_of_deployment(&pod("Job", "demo-abc"), "demo"));
        assert!(!is_of_deployment(&Pod::default(), "demo"));
    }

    #[test]
    fn a_credential_is_one_line_of_text() {
        let read = |value: &[u8]| {
            let secret = json!({"data": {"k": STANDARD.encode(value)}});
            let reference = SecretKeyReference { name: "s".into(), key: "k".into() };
            value_at(Some(serde_json::from_value(secret).unwrap()), &reference)
        };
        assert_eq!(read(b" token\n"), Ok("token".into()));
        for bad in [&b""[..], b" \n", b"two\nlines", b"\xff"] {
            assert_eq!(read(bad), Err(MissingCredential::NotText), "{bad:?}");
        }
        assert_eq!(read(&[b'x'; MAX_CREDENTIAL_BYTES + 1]), Err(MissingCredential::TooLong));
    }
}
