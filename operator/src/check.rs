//! Whether an installation works: the API server serves our kinds, and an operator leads. Writes nothing.

use crate::leader;
use anyhow::Context as _;
use codecrucible_crds::{AccessPolicy, CodeCrucible, ModelBackend, SynthesisClient};
use kube::api::ListParams;
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Longest wait for a leader, seconds: pods may only just have started.
const LIMIT_SECONDS: u64 = 60;
/// Pause between two looks, seconds.
const PAUSE_SECONDS: u64 = 1;

/// Looks until all is well, or its time is over. Gives who leads.
pub(crate) async fn check(lease_namespace: &str, watched_namespace: Option<&str>) -> anyhow::Result<String> {
    let client = Client::try_default().await.context("no access to the API server")?;
    let until = Instant::now() + Duration::from_secs(LIMIT_SECONDS);
    loop {
        match look(&client, lease_namespace, watched_namespace).await {
            Err(error) if Instant::now() < until => {
                tracing::debug!(%error, "not yet");
                sleep(Duration::from_secs(PAUSE_SECONDS)).await;
            }
            ended => return ended,
        }
    }
}

async fn look(
    client: &Client,
    lease_namespace: &str,
    watched_namespace: Option<&str>,
) -> anyhow::Result<String> {
    served::<CodeCrucible>(client, watched_namespace).await.context("CodeCrucibles")?;
    served::<ModelBackend>(client, watched_namespace).await.context("ModelBackends")?;
    served::<SynthesisClient>(client, watched_namespace).await.context("SynthesisClients")?;
    served::<AccessPolicy>(client, watched_namespace).await.context("AccessPolicies")?;
    leader::holder(client, lease_namespace).await?.context("no operator leads")
}

/// Whether the API server serves a kind, and lets us see it.
async fn served<K>(client: &Client, namespace: Option<&str>) -> kube::Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let api: Api<K> = match namespace {
        None => Api::all(client.clone()),
        Some(namespace) => Api::namespaced(client.clone(), namespace),
    };
    api.list_metadata(&ListParams::default().limit(1)).await.map(|_| ())
}
