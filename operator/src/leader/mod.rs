//! One leader at a time, by a Lease.
//!
//! The lease is written with the version that was read, so two processes can never both win. A leader that
//! cannot renew stops before anybody else may take over: [`RENEW_DEADLINE`] is shorter than the lease.

mod decision;
mod fence;

pub(crate) use fence::Fence;

use decision::{Decision, LEASE_SECONDS, decide};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// The Lease's name.
const LEASE_NAME: &str = "codecrucible-operator";
/// Pause between two renewals, and between two attempts to acquire.
const RETRY: Duration = Duration::from_secs(2);
/// A leader that could not renew for this long stops.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Longest single request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Who asks for the lease, and where it lies.
pub(crate) struct Identity {
    pub(crate) namespace: String,
    pub(crate) holder: String,
}

/// A lease that is held.
pub(crate) struct HeldLease {
    api: Api<Lease>,
    holder: String,
    renewed: Instant,
    fence: Fence,
}

/// The lease as this process last saw it change, by its version.
#[derive(Default)]
struct Seen(Option<(Option<String>, Instant)>);

impl Seen {
    fn for_how_long(&mut self, lease: Option<&Lease>, now: Instant) -> Duration {
        let version = lease.and_then(|lease| lease.metadata.resource_version.clone());
        match &self.0 {
            Some((seen, since)) if *seen == version => now - *since,
            _ => {
                self.0 = Some((version, now));
                Duration::ZERO
            }
        }
    }
}

/// Waits until this process leads. Errors of the API server are waited out, except a refusal, which no
/// waiting mends.
pub(crate) async fn acquire(client: &Client, identity: &Identity, fence: Fence) -> anyhow::Result<HeldLease> {
    let api: Api<Lease> = Api::namespaced(client.clone(), &identity.namespace);
    let mut seen = Seen::default();
    loop {
        let asked = Instant::now();
        match timeout(REQUEST_TIMEOUT, take(&api, &identity.holder, &mut seen)).await {
            Ok(Ok(true)) => {
                fence.open_until(asked + RENEW_DEADLINE);
                return Ok(HeldLease { api, holder: identity.holder.clone(), renewed: asked, fence });
            }
            Ok(Ok(false)) => {}
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
                anyhow::bail!("the lease is refused: {status}")
            }
            Ok(Err(error)) => tracing::warn!(%error, "the lease cannot be asked for"),
            Err(_elapsed) => tracing::warn!("the API server does not answer"),
        }
        sleep(RETRY).await;
    }
}

impl HeldLease {
    /// Renews for as long as that works; returns why it does not any more.
    pub(crate) async fn keep(mut self) -> String {
        let mut seen = Seen::default();
        loop {
            sleep(RETRY).await;
            let asked = Instant::now();
            let left = RENEW_DEADLINE.saturating_sub(self.renewed.elapsed());
            match timeout(left, take(&self.api, &self.holder, &mut seen)).await {
                Ok(Ok(true)) => {
                    self.renewed = asked;
                    self.fence.open_until(asked + RENEW_DEADLINE);
                }
                Ok(Ok(false)) => return "another process holds it".into(),
                Ok(Err(error)) => tracing::warn!(%error, "the lease was not renewed"),
                Err(_elapsed) => return format!("not renewed for {} s", RENEW_DEADLINE.as_secs()),
            }
            if self.renewed.elapsed() >= RENEW_DEADLINE {
                return format!("not renewed for {} s", RENEW_DEADLINE.as_secs());
            }
        }
    }
}

/// Who leads, if somebody does. Trusts its clock and ours: for people, not for deciding who may write.
pub(crate) async fn holder(client: &Client, namespace: &str) -> kube::Result<Option<String>> {
    let api: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let spec = api.get_opt(LEASE_NAME).await?.and_then(|lease| lease.spec).unwrap_or_default();
    let age = spec.renew_time.map(|renewed| Timestamp::now().as_second() - renewed.0.as_second());
    let is_fresh = age.is_some_and(|seconds| seconds <= i64::from(LEASE_SECONDS));
    Ok(spec.holder_identity.filter(|holder| is_fresh && !holder.is_empty()))
}

/// Gives the lease back if it is ours. Should that fail, it expires.
pub(crate) async fn release(client: &Client, identity: &Identity) {
    let api: Api<Lease> = Api::namespaced(client.clone(), &identity.namespace);
    match timeout(REQUEST_TIMEOUT, give_back(&api, &identity.holder)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the lease was not given back"),
        Err(_elapsed) => tracing::warn!("the lease was not given back: the API server does not answer"),
    }
}

async fn give_back(api: &Api<Lease>, holder: &str) -> kube::Result<()> {
    let Some(lease) = api.get_opt(LEASE_NAME).await? else { return Ok(()) };
    let Some(spec) = lease.spec.as_ref().filter(|spec| spec.holder_identity.as_deref() == Some(holder))
    else {
        return Ok(());
    };
    let spec = LeaseSpec { holder_identity: None, ..spec.clone() };
    // Carries the resourceVersion that was read: a lease that somebody took since stays theirs.
    api.replace(LEASE_NAME, &PostParams::default(), &Lease { spec: Some(spec), ..lease }).await.map(|_| ())
}

/// Takes or renews the lease if it is free or ours. `false` when another process holds it or was faster.
async fn take(api: &Api<Lease>, holder: &str, seen: &mut Seen) -> kube::Result<bool> {
    let now = Timestamp::now();
    let found = api.get_opt(LEASE_NAME).await?;
    let unchanged = seen.for_how_long(found.as_ref(), Instant::now());
    let current = found.as_ref().and_then(|lease| lease.spec.as_ref());
    let spec = match decide(current, holder, now, unchanged) {
        Decision::Leave => return Ok(false),
        Decision::Take { acquired, transitions } => LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(LEASE_SECONDS),
            acquire_time: Some(MicroTime(acquired)),
            renew_time: Some(MicroTime(now)),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        },
    };
    let written = match found {
        None => {
            let metadata = ObjectMeta { name: Some(LEASE_NAME.to_owned()), ..ObjectMeta::default() };
            api.create(&PostParams::default(), &Lease { metadata, spec: Some(spec) }).await
        }
        // Carries the resourceVersion that was read: a lease that changed since is not overwritten.
        Some(lease) => {
            api.replace(LEASE_NAME, &PostParams::default(), &Lease { spec: Some(spec), ..lease }).await
        }
    };
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}
