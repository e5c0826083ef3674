//! What the pods use, from the cluster's metrics API.

use super::paint::harmless;
use anyhow::Context as _;
use codecrucible_crds::CodeCrucible;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::{Api, Client, ResourceExt as _};
use std::fmt::Write as _;

pub(super) async fn top(client: &Client, api: &Api<CodeCrucible>, name: &str) -> anyhow::Result<String> {
    let resource = api.get(name).await?;
    let namespace = resource.namespace().unwrap_or_default();
    let selector = resource.status.and_then(|status| status.selector).unwrap_or_default();
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("metrics.k8s.io", "v1beta1", "PodMetrics"));
    let kind = ApiResource { plural: "pods".into(), ..kind };
    let metrics: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &kind);
    let listed = metrics.list(&ListParams::default().labels(&selector)).await;
    let listed = listed.context("the cluster serves no metrics.k8s.io: is metrics-server installed?")?;
    let mut text = format!("{:<50} {:>10} {:>12}\n", "POD", "CPU", "MEMORY");
    for pod in &listed.items {
        let usage = |what: &str| {
            let usage = &pod.data["containers"][0]["usage"][what];
            harmless(usage.as_str().unwrap_or("-"))
        };
        writeln!(text, "{:<50} {:>10} {:>12}", pod.name_any(), usage("cpu"), usage("memory"))?;
    }
    Ok(text)
}
