//! Which replicas know the clients that were handed out, from what they said themselves.

use super::policy::pause;
use crate::conventions::whole_seconds;
use crate::service::observe::Observed;
use crate::service::outcome::Outcome;
use crate::service::validate::registered;
use codecrucible_crds::ClientsStatus;
use jiff::Timestamp;
use std::time::Duration;

/// How far the clients have spread that were handed out last. Nothing before the first time.
pub(super) fn clients(
    before: Option<&ClientsStatus>,
    observed: &Observed,
    outcome: &Outcome,
    now: Timestamp,
) -> Option<ClientsStatus> {
    let (count, hash) = match outcome {
        Outcome::Applied(applied) => {
            let clients = &applied.publication.clients;
            (i32::try_from(clients.len()).unwrap_or(i32::MAX), clients.hash())
        }
        Outcome::Invalid(_) | Outcome::Paused | Outcome::Failed(_) => {
            // What is handed out still; some may have been thrown out.
            let clients = registered(observed)?;
            (i32::try_from(clients.len()).unwrap_or(i32::MAX), clients.hash())
        }
    };
    let known_since =
        before.filter(|before| before.hash == hash).and_then(|before| before.published_at.clone());
    let told = observed.answers.values().filter_map(|answer| answer.as_ref().ok());
    let applied = told.filter(|told| told.clients == hash).count();
    Some(ClientsStatus {
        published_at: Some(known_since.unwrap_or_else(|| whole_seconds(now))),
        registered: count,
        applied_replicas: i32::try_from(applied).unwrap_or(i32::MAX),
        pending_replicas: i32::try_from(observed.answers.len() - applied).unwrap_or(i32::MAX),
        hash,
    })
}

/// The longest time until the next look: replicas do not tell by themselves.
pub(super) fn look_again(clients: Option<&ClientsStatus>, now: Timestamp) -> Duration {
    match clients {
        Some(clients) if clients.pending_replicas > 0 => {
            pause(clients.published_at.as_ref().map(|time| time.0), now)
        }
        _ => Duration::MAX,
    }
}
