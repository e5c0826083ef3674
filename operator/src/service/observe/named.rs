//! What a resource names, and what names it: backends with their credentials, access policies, clients.

use super::certificate::{self, MissingCertificate};
use super::secret_value::{MissingCredential, value_at};
use super::{ObserveError, failed, get_since};
use crate::conventions::is_absent;
use crate::service::Context;
use crate::service::child::Child;
use crate::service::tls::Given;
use codecrucible_crds::{
    AccessPolicy, CodeCrucible, ModelBackend, SecretKeyReference, SynthesisClient, TlsMode,
};
use futures::FutureExt as _;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Client, ResourceExt as _};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Access policies of one page of a list, which is read only before the watch has shown them.
const PAGE_ACCESS_POLICIES: u32 = 50;

pub(super) async fn backends(
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
pub(super) async fn access(
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
pub(super) fn asking(context: &Context) -> Option<Vec<Arc<SynthesisClient>>> {
    let clients = context.clients.as_ref()?;
    let is_whole = clients.wait_until_ready().now_or_never();
    matches!(is_whole, Some(Ok(()))).then(|| clients.state())
}

/// Of each backend that needs one.
pub(super) async fn credentials(
    client: &Client,
    namespace: &str,
    backends: &BTreeMap<String, ModelBackend>,
) -> Result<BTreeMap<String, Result<String, MissingCredential>>, ObserveError> {
    let mut found = BTreeMap::new();
    for (name, backend) in backends {
        if let Some(reference) = &backend.spec.credentials_secret_ref {
            found.insert(name.clone(), credential(client, namespace, reference).await?);
        }
    }
    Ok(found)
}

/// Of each store that needs one, by where it is named.
pub(super) async fn store_passwords(
    client: &Client,
    namespace: &str,
    resource: &CodeCrucible,
) -> Result<BTreeMap<&'static str, Result<String, MissingCredential>>, ObserveError> {
    let mut found = BTreeMap::new();
    for (at, reference) in resource.spec.store_passwords() {
        found.insert(at, credential(client, namespace, reference).await?);
    }
    Ok(found)
}

async fn credential(
    client: &Client,
    namespace: &str,
    reference: &SecretKeyReference,
) -> Result<Result<String, MissingCredential>, ObserveError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let secret = api.get_opt(&reference.name).await.map_err(failed("credentials"))?;
    Ok(value_at(secret, reference))
}

/// Nothing where none is asked for.
pub(super) async fn given_certificate(
    client: &Client,
    namespace: &str,
    resource: &CodeCrucible,
) -> Result<Option<Result<Given, MissingCertificate>>, ObserveError> {
    let tls = &resource.spec.tls;
    let Some(name) = tls.given_secret(&resource.name_any()) else { return Ok(None) };
    if tls.mode == TlsMode::CertManager && !is_served(client, Child::IssuedCertificate).await? {
        return Ok(Some(Err(MissingCertificate::NotServed)));
    }
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let secret = api.get_opt(&name).await.map_err(failed("the certificate"))?;
    Ok(Some(certificate::in_secret(secret, resource)))
}

/// What a resource wants of kinds that the cluster does not serve, of those without which a service can be. A route without the
/// policy by which gateways speak TLS would have them send secrets in the clear.
pub(super) async fn unserved(
    client: &Client,
    resource: &CodeCrucible,
) -> Result<BTreeSet<Child>, ObserveError> {
    let mut unserved = BTreeSet::new();
    for child in [Child::RouteTrust, Child::Route].into_iter().filter(|child| child.is_wanted(resource)) {
        if !unserved.is_empty() || !is_served(client, child).await? {
            unserved.insert(child);
        }
    }
    Ok(unserved)
}

async fn is_served(client: &Client, child: Child) -> Result<bool, ObserveError> {
    let kind = child.api_resource();
    match client.list_api_group_resources(&kind.api_version).await {
        // Others of its kinds may be served without this one.
        Ok(listed) => Ok(listed.resources.iter().any(|listed| listed.kind == kind.kind)),
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) => Err(failed("what the cluster serves")(error)),
    }
}
