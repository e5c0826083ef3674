//! Step one: everything that a reconcile needs to know, read in one go.

use super::child::Child;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use codecrucible_crds::{CodeCrucible, ModelBackend, SecretKeyReference, names};
use futures::future::{try_join, try_join_all};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{DynamicObject, ListParams};
use kube::{Api, Client, ResourceExt as _};
use std::collections::BTreeMap;

/// Most pods that are looked at; a service has at most 100 replicas, and as many on their way out.
const MAX_PODS: u32 = 500;

/// What was seen. Values of secrets are in it: it has no `Debug`.
pub(crate) struct Observed {
    /// The backends that the resource names, by name; absent ones are not in it.
    pub(crate) backends: BTreeMap<String, ModelBackend>,
    /// For each backend that needs one, its credential, or what is missing.
    pub(crate) credentials: BTreeMap<String, Result<String, MissingCredential>>,
    /// The children that exist, whoever made them.
    pub(crate) children: BTreeMap<Child, DynamicObject>,
    /// The service's pods.
    pub(crate) pods: Vec<Pod>,
}

/// Why a credential cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MissingCredential {
    Secret,
    Key,
    NotText,
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

/// Reads everything.
pub(crate) async fn observe(client: &Client, resource: &CodeCrucible) -> Result<Observed, ObserveError> {
    let namespace = resource.namespace().unwrap_or_default();
    let related = try_join(backends(client, &namespace, resource), children(client, &namespace, resource));
    let ((backends, children), pods) = try_join(related, pods(client, &namespace, resource)).await?;
    let credentials = credentials(client, &namespace, &backends).await?;
    Ok(Observed { backends, credentials, children, pods })
}

async fn backends(
    client: &Client,
    namespace: &str,
    resource: &CodeCrucible,
) -> Result<BTreeMap<String, ModelBackend>, ObserveError> {
    let api: Api<ModelBackend> = Api::namespaced(client.clone(), namespace);
    let read = resource.spec.backends.iter().map(|name| api.get_opt(name));
    let found = try_join_all(read).await.map_err(failed("ModelBackends"))?;
    Ok(found.into_iter().flatten().map(|backend| (backend.name_any(), backend)).collect())
}

async fn credentials(
    client: &Client,
    namespace: &str,
    backends: &BTreeMap<String, ModelBackend>,
) -> Result<BTreeMap<String, Result<String, MissingCredential>>, ObserveError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let needed = backends
        .iter()
        .filter_map(|(name, backend)| Some((name, backend.spec.credentials_secret_ref.as_ref()?)));
    let read = needed.map(|(name, reference)| {
        let api = api.clone();
        async move { Ok((name.clone(), value_at(api.get_opt(&reference.name).await?, reference))) }
    });
    let found: Vec<_> = try_join_all(read).await.map_err(failed("credentials"))?;
    Ok(found.into_iter().collect())
}

fn value_at(secret: Option<Secret>, reference: &SecretKeyReference) -> Result<String, MissingCredential> {
    let mut data = secret.ok_or(MissingCredential::Secret)?.data.unwrap_or_default();
    let value = data.remove(&reference.key).ok_or(MissingCredential::Key)?;
    let text = String::from_utf8(value.0).map_err(|_| MissingCredential::NotText)?;
    let text = text.trim();
    if text.is_empty() || text.contains(char::is_control) {
        Err(MissingCredential::NotText)
    } else {
        Ok(text.to_owned())
    }
}

async fn children(
    client: &Client,
    namespace: &str,
    resource: &CodeCrucible,
) -> Result<BTreeMap<Child, DynamicObject>, ObserveError> {
    let read = Child::ALL.map(|child| {
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &child.api_resource());
        async move { Ok(api.get_opt(&child.name(resource)).await?.map(|object| (child, object))) }
    });
    let found = try_join_all(read).await.map_err(failed("children"))?;
    Ok(found.into_iter().flatten().collect())
}

async fn pods(client: &Client, namespace: &str, resource: &CodeCrucible) -> Result<Vec<Pod>, ObserveError> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let labels = format!(
        "{}={},{}={}",
        names::LABEL_INSTANCE,
        resource.name_any(),
        names::LABEL_NAME,
        names::APPLICATION
    );
    // Served from the API server's cache: a pod that is a moment too new is seen next time.
    let parameters = ListParams::default().labels(&labels).limit(MAX_PODS).match_any();
    Ok(api.list(&parameters).await.map_err(failed("Pods"))?.items)
}

impl Observed {
    /// The text at a key of a child's data, decoded where the child is a Secret.
    pub(crate) fn data(&self, child: Child, key: &str) -> Option<String> {
        let value = self.children.get(&child)?.data.get("data")?.get(key)?.as_str()?;
        if child.kind() != "Secret" {
            return Some(value.to_owned());
        }
        String::from_utf8(STANDARD.decode(value).ok()?).ok()
    }
}
