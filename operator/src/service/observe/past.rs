//! What is kept of a service: what ran well last, the policies that it was given, and which of them is in force.

use super::children::found;
use super::{Look, ObserveError, Observed, failed};
use crate::conventions::is_owned;
use crate::service::Context;
use crate::service::child::Child;
use crate::service::document;
use crate::service::history::{self, Kept, Series, Template};
use crate::service::rollout::Live;
use crate::service::validate::has_wrong_access;
use codecrucible_contract::Bundle;
use codecrucible_crds::{CodeCrucible, PolicyMode};
use kube::api::{DynamicObject, ListParams};
use kube::{Api, ResourceExt as _};
use serde_json::Value;

/// Longest key of what is kept, bytes.
const MAX_KEY_BYTES: usize = 64;
/// Most objects of a service's past that are looked at.
const MAX_KEPT_SEEN: u32 = 100;

/// What ran well last. It need not be read while that is what runs, unless something new must wait, or
/// be tried out first.
pub(super) async fn last_good(
    context: &Context,
    resource: &CodeCrucible,
    observed: &Observed,
) -> Result<Option<Template>, ObserveError> {
    let rollout = resource.status.as_ref().and_then(|status| status.rollout.as_ref());
    let Some(key) = rollout.and_then(|rollout| rollout.last_good.as_deref()) else { return Ok(None) };
    let is_on_the_way = Live::of(observed.children.get(&Child::Deployment)).is_on_the_way(key);
    let may_be_tried_out = resource.spec.rollout.canary.is_some();
    if !is_on_the_way && !may_be_tried_out && !observed.awaits_certificate(resource) {
        return Ok(None);
    }
    let data = record(context, resource, Series::Template, key).await?;
    Ok(data.and_then(|data| Template::from_kept(&data, key)))
}

pub(super) fn last_good_policy(resource: &CodeCrucible) -> Option<&str> {
    resource.status.as_ref()?.rollout.as_ref()?.last_good_policy.as_deref()
}

/// What was reported last, from what is kept of it, or from what replicas read if that is the same. It need not be read where
/// nothing goes on from it.
pub(super) async fn in_force(
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
pub(crate) async fn policy(
    context: &Context,
    resource: &CodeCrucible,
    revision: &str,
) -> Result<Option<Bundle>, ObserveError> {
    let data = record(context, resource, Series::Policy, revision).await?;
    Ok(data.and_then(|data| document::from_kept(&data, revision)))
}

/// The policy that replicas only compare.
pub(crate) async fn compared(
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
pub(crate) async fn kept(context: &Context, resource: &CodeCrucible) -> Result<Vec<Kept>, ObserveError> {
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
