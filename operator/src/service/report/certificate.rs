//! Which replicas show the certificate that they were given, from what they said themselves.

use super::policy::pause;
use crate::conventions::{Verdict, verdict, whole_seconds};
use crate::service::observe::Observed;
use crate::service::outcome::Outcome;
use codecrucible_crds::{CertificateStatus, conditions as names};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// The time before its end in which a certificate should have been renewed.
const SHORTLY: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How far the certificate has spread that was handed out last. Nothing where nothing is encrypted.
pub(super) fn certificate(
    before: Option<&CertificateStatus>,
    observed: &Observed,
    outcome: &Outcome,
    now: Timestamp,
) -> Option<CertificateStatus> {
    let (fingerprint, not_after, authority) = match outcome {
        Outcome::Applied(applied) => {
            let shown = applied.publication.certificate.as_ref()?;
            let not_after = Timestamp::from_second(shown.not_after).unwrap_or(Timestamp::MAX);
            (shown.fingerprint.clone(), whole_seconds(not_after), shown.authority.clone())
        }
        // What was handed out before still stands.
        Outcome::Invalid(_) | Outcome::Paused | Outcome::Failed(_) => {
            let before = before?;
            (before.fingerprint.clone(), before.not_after.clone(), before.authority.clone())
        }
    };
    let known_since = before.filter(|before| before.fingerprint == fingerprint);
    let known_since = known_since.and_then(|before| before.published_at.clone());
    let told = observed.answers.values().filter_map(|answer| answer.as_ref().ok());
    let applied = told.filter(|told| told.certificate.as_ref() == Some(&fingerprint)).count();
    Some(CertificateStatus {
        published_at: Some(known_since.unwrap_or_else(|| whole_seconds(now))),
        not_after,
        fingerprint,
        authority,
        applied_replicas: i32::try_from(applied).unwrap_or(i32::MAX),
        pending_replicas: i32::try_from(observed.answers.len() - applied).unwrap_or(i32::MAX),
    })
}

/// Whether clients are shown a certificate that is good.
pub(super) fn certificate_valid(
    status: Option<&CertificateStatus>,
    outcome: &Outcome,
    now: Timestamp,
) -> Verdict {
    if let Outcome::Applied(applied) = outcome
        && let Some(because) = &applied.publication.awaited
    {
        return verdict(false, names::REASON_PENDING, because.clone());
    }
    let Some(CertificateStatus { not_after, applied_replicas, pending_replicas, .. }) = status else {
        return verdict(false, names::REASON_DISABLED, "nothing is encrypted, or nothing was handed out yet");
    };
    let (all, ends) = (applied_replicas + pending_replicas, not_after.0);
    let count =
        format!("{applied_replicas} of {all} ready replicas show the certificate that ends at {ends}");
    if now >= ends {
        verdict(false, names::REASON_EXPIRED, format!("the certificate ended at {ends}; renew it"))
    } else if all == 0 {
        verdict(false, names::REASON_NO_REPLICA, "no replica is ready")
    } else if *pending_replicas > 0 {
        verdict(false, names::REASON_PENDING, count)
    } else if ends.duration_since(now) < SHORTLY {
        verdict(true, names::REASON_EXPIRING, format!("{count}, and nobody has renewed it"))
    } else {
        verdict(true, names::REASON_SHOWN, count)
    }
}

/// The longest time until the next look: replicas do not tell by themselves, and certificates end.
pub(super) fn look_again(status: Option<&CertificateStatus>, now: Timestamp) -> Duration {
    let Some(status) = status else { return Duration::MAX };
    let end = status.not_after.0;
    let until = [end.saturating_sub(SHORTLY).unwrap_or(end), end].map(|moment| moment.duration_since(now));
    let left =
        until.into_iter().find(|left| left.is_positive()).map_or(Duration::MAX, |left| left.unsigned_abs());
    if status.pending_replicas > 0 {
        return pause(status.published_at.as_ref().map(|time| time.0), now).min(left);
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::fixtures;

    /// When the certificate ends, seconds since 1970.
    const END: i64 = 1_000_000;
    use codecrucible_contract::Acknowledgement;
    use serde_json::json;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn handed_out(applied: i32, pending: i32) -> CertificateStatus {
        let status = json!({"notAfter": at(END).to_string(), "fingerprint": "f", "publishedAt": at(100).to_string(),
            "appliedReplicas": applied, "pendingReplicas": pending});
        serde_json::from_value(status).unwrap()
    }

    #[test]
    fn a_certificate_is_valid_while_every_ready_replica_shows_it() {
        let state = |applied, pending, second| {
            let told = certificate_valid(Some(&handed_out(applied, pending)), &Outcome::Paused, at(second));
            (told.is_true, told.reason)
        };
        assert_eq!(state(2, 0, END - 700_000), (true, "Shown"));
        assert_eq!(state(2, 0, END - 600_000), (true, "Expiring"));
        assert_eq!(state(1, 1, END - 1), (false, "Pending"));
        assert_eq!(state(0, 0, END - 1), (false, "NoReplica"));
        assert_eq!(state(2, 0, END), (false, "Expired"));
        assert_eq!(certificate_valid(None, &Outcome::Paused, at(0)).reason, "Disabled");
    }

    #[test]
    fn it_is_looked_at_again_when_it_ends_and_soon_while_a_replica_is_behind() {
        let after = |second| look_again(Some(&handed_out(1, 0)), at(second));
        assert_eq!(after(END - 604_900), Duration::from_secs(100), "a week before");
        assert_eq!(after(END - 100), Duration::from_secs(100));
        assert_eq!(after(END + 1), Duration::MAX);
        assert_eq!(look_again(Some(&handed_out(0, 1)), at(101)), Duration::from_millis(250));
        assert_eq!(look_again(None, at(0)), Duration::MAX);
    }

    #[test]
    fn replicas_count_by_what_they_say_that_they_show() {
        let mut observed = crate::service::fixtures::observed();
        for (pod, certificate) in [("a", Some("f")), ("b", Some("g")), ("c", None)] {
            let told = Acknowledgement {
                certificate: certificate.map(str::to_owned),
                ..fixtures::acknowledgement("1-x", "h")
            };
            observed.answers.insert(pod.into(), Ok(told));
        }
        let paused = Outcome::Paused;
        let status = certificate(Some(&handed_out(3, 0)), &observed, &paused, at(200)).unwrap();
        assert_eq!((status.applied_replicas, status.pending_replicas), (1, 2));
        assert_eq!(certificate(None, &observed, &paused, at(200)), None);
    }
}
