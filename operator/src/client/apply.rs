//! Writes the Secret.

use super::decision::{Decision, Write};
use super::observe::secret_api;
use super::{Context, RegistrationError};
use codecrucible_contract::layout;
use codecrucible_crds::{SynthesisClient, names};
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::Value;

/// Writes what was decided, over what was looked at and nothing else.
pub(super) async fn apply(
    context: &Context,
    client: &SynthesisClient,
    decision: &Decision,
) -> Result<(), RegistrationError> {
    let Some(Write { object, over, forgets_authority }) = &decision.write else { return Ok(()) };
    let (api, name) = (secret_api(context, client), client.secret_name());
    let written = match over {
        Some(uid) => {
            let mut object = object.clone();
            object["metadata"]["uid"] = uid.as_str().into();
            if *forgets_authority {
                // What was created once is not removed by applying something without it.
                object["data"][layout::AUTHORITY_FILE] = Value::Null;
                api.patch(&name, &PatchParams::default(), &Patch::Merge(&object)).await
            } else {
                let parameters = PatchParams::apply(names::FIELD_MANAGER).force();
                api.patch(&name, &parameters, &Patch::Apply(&object)).await
            }
        }
        None => {
            // Created, not applied: should there be one since we looked, it is not ours to take.
            let field_manager = Some(names::FIELD_MANAGER.to_owned());
            let parameters = PostParams { field_manager, ..PostParams::default() };
            match serde_json::from_value(object.clone()) {
                Ok(object) => api.create(&parameters, &object).await,
                Err(error) => Err(kube::Error::SerdeError(error)),
            }
        }
    };
    context.metrics.writes.with_label_values(&["Secret"]).inc();
    written.map(|_| ()).map_err(|error| RegistrationError::Apply(Box::new(error)))
}
