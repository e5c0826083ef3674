//! What a service and the clients of applications agree on: who is let in, how many, and what each one gets. Pure.

use crate::service::PUBLIC_PORT;
use codecrucible_contract::layout;
use codecrucible_crds::{CodeCrucible, names};
use kube::ResourceExt as _;

/// Most clients of one namespace: no tenant takes the room of all others.
pub(crate) const MAX_CLIENTS_OF_NAMESPACE: usize = 100;

/// Whether a service lets clients of a namespace in.
pub(crate) fn lets_in(service: &CodeCrucible, namespace: Option<&str>) -> bool {
    let allowed = &service.spec.clients.allowed_namespaces;
    namespace.is_some_and(|namespace| {
        Some(namespace) == service.metadata.namespace.as_deref()
            || allowed.iter().any(|allowed| allowed == namespace)
    })
}

/// Where clients inside the cluster reach a service that speaks TLS with them, or does not.
pub(crate) fn endpoint(service: &CodeCrucible, is_encrypted: bool) -> String {
    let namespace = service.namespace().unwrap_or_default();
    let scheme = if is_encrypted { "https" } else { "http" };
    format!("{scheme}://{}.{namespace}.svc:{PUBLIC_PORT}", names::workload(&service.name_any()))
}

/// What an application mounts: any OpenAI SDK works with it. `authority`: who vouches for the service's certificate, PEM.
pub(crate) fn credentials(
    id: String,
    secret: String,
    endpoint: &str,
    authority: Option<&str>,
) -> Vec<(&'static str, String)> {
    let texts = [
        (layout::CLIENT_ID_FILE, id),
        (layout::CLIENT_SECRET_FILE, secret),
        ("token-url", format!("{endpoint}/oauth/token")),
        ("base-url", format!("{endpoint}/v1")),
    ];
    let authority = authority.map(|authority| (layout::AUTHORITY_FILE, authority.to_owned()));
    texts.into_iter().chain(authority).collect()
}
