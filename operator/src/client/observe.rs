//! Everything that is read for a client: itself, its service, its Secret, and whom the service's replicas let in.

use super::{Context, RegistrationError};
use crate::agreement::lets_in;
use crate::conventions::{is_owned, text_at};
use codecrucible_contract::{Clients, layout};
use codecrucible_crds::{CodeCrucible, SynthesisClient, names};
use kube::api::{ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::{Api, ResourceExt as _};
use serde_json::Value;

/// What was seen. Values of secrets are in it: it has no `Debug`.
pub(super) struct Observed {
    pub(super) target: Option<CodeCrucible>,
    pub(super) secret: Held,
    /// Whom the service hands out to its replicas.
    pub(super) registered: Option<Clients>,
}

/// Who has the Secret's name.
pub(super) enum Held {
    Nobody,
    Us(Box<DynamicObject>),
    SomebodyElse,
}

fn failed(what: &'static str) -> impl FnOnce(kube::Error) -> RegistrationError {
    move |error| RegistrationError::Observe { what, error: Box::new(error) }
}

/// The client as it is stored. Nothing while it is being deleted.
pub(super) async fn client(
    context: &Context,
    known: &SynthesisClient,
) -> Result<Option<SynthesisClient>, RegistrationError> {
    let api: Api<SynthesisClient> =
        Api::namespaced(context.client.clone(), &known.namespace().unwrap_or_default());
    let found = api.get_opt(&known.name_any()).await.map_err(failed("the client"))?;
    Ok(found.filter(|client| client.metadata.deletion_timestamp.is_none()))
}

/// Reads what a client names.
pub(super) async fn observe(
    context: &Context,
    client: &SynthesisClient,
) -> Result<Observed, RegistrationError> {
    let target = target(context, client).await?;
    let held =
        secret_api(context, client).get_opt(&client.secret_name()).await.map_err(failed("the Secret"))?;
    let secret = match held {
        None => Held::Nobody,
        Some(secret) if is_owned(client, &secret) => Held::Us(Box::new(secret)),
        Some(_) => Held::SomebodyElse,
    };
    let registered = match target.as_ref().filter(|target| lets_in(target, client.namespace().as_deref())) {
        Some(target) => registered(context, target).await?,
        None => None,
    };
    Ok(Observed { target, secret, registered })
}

/// The service, if there is one. Of a namespace that is not watched nothing may be read.
async fn target(
    context: &Context,
    client: &SynthesisClient,
) -> Result<Option<CodeCrucible>, RegistrationError> {
    let (namespace, name) = client.target();
    let namespace = namespace.unwrap_or_default();
    if context.watched_namespace.as_ref().is_some_and(|watched| *watched != namespace) {
        return Ok(None);
    }
    let services: Api<CodeCrucible> = Api::namespaced(context.client.clone(), &namespace);
    services.get_opt(&name).await.map_err(failed("the service"))
}

/// Whom a service hands out to its replicas.
async fn registered(context: &Context, target: &CodeCrucible) -> Result<Option<Clients>, RegistrationError> {
    let namespace = target.namespace().unwrap_or_default();
    let api: Api<DynamicObject> =
        Api::namespaced_with(context.client.clone(), &namespace, &secret_resource());
    let secret = api.get_opt(&names::clients_secret(&target.name_any())).await;
    let secret = secret.map_err(failed("the service's clients"))?.filter(|secret| is_owned(target, secret));
    Ok(secret.and_then(|secret| Clients::parse(text_at(&secret.data, layout::CLIENTS_FILE)?.as_bytes()).ok()))
}

/// The Secrets of a client's namespace.
pub(super) fn secret_api(context: &Context, client: &SynthesisClient) -> Api<DynamicObject> {
    let namespace = client.namespace().unwrap_or_default();
    Api::namespaced_with(context.client.clone(), &namespace, &secret_resource())
}

fn secret_resource() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Secret"))
}

impl Held {
    /// The text at a key, if the Secret is ours.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        match self {
            Self::Us(secret) => text_at(&secret.data, key).filter(|text| !text.is_empty()),
            Self::Nobody | Self::SomebodyElse => None,
        }
    }

    /// The Secret as a document, if it is ours.
    pub(super) fn document(&self) -> Option<Value> {
        match self {
            Self::Us(secret) => serde_json::to_value(secret).ok(),
            Self::Nobody | Self::SomebodyElse => None,
        }
    }
}
