//! Whether a lease may be taken: from the lease and the clock alone.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::LeaseSpec;
use std::time::Duration;

/// Life of a lease that is not renewed, seconds.
pub(super) const LEASE_SECONDS: i32 = 15;

/// What to do about a lease.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Somebody else holds it.
    Leave,
    /// It is free, expired, or ours.
    Take {
        /// Since when this holder holds it.
        acquired: Timestamp,
        /// How often it went from one holder to another.
        transitions: i32,
    },
}

/// `unchanged` is how long this process has seen the lease as it is. Clocks of different machines are not
/// compared: a lease expires when we have watched it for its whole life without a renewal.
pub(super) fn decide(
    lease: Option<&LeaseSpec>,
    holder: &str,
    now: Timestamp,
    unchanged: Duration,
) -> Decision {
    let Some(lease) = lease else {
        return Decision::Take { acquired: now, transitions: 0 };
    };
    let transitions = lease.lease_transitions.unwrap_or(0);
    let current = lease.holder_identity.as_deref().filter(|current| !current.is_empty());
    if current == Some(holder) {
        let acquired = lease.acquire_time.as_ref().map_or(now, |time| time.0);
        return Decision::Take { acquired, transitions };
    }
    if current.is_some() && !is_expired(lease, unchanged) {
        return Decision::Leave;
    }
    Decision::Take { acquired: now, transitions: transitions.saturating_add(1) }
}

fn is_expired(lease: &LeaseSpec, unchanged: Duration) -> bool {
    let life_seconds = lease.lease_duration_seconds.unwrap_or(LEASE_SECONDS);
    lease.renew_time.is_none() || unchanged > Duration::from_secs(u64::try_from(life_seconds).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn held_by(holder: &str, renewed: i64) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.into()),
            lease_duration_seconds: Some(15),
            acquire_time: Some(MicroTime(at(1))),
            renew_time: Some(MicroTime(at(renewed))),
            lease_transitions: Some(4),
            ..LeaseSpec::default()
        }
    }

    fn decided(lease: Option<&LeaseSpec>, now: i64, unchanged_seconds: u64) -> Decision {
        decide(lease, "us", at(now), Duration::from_secs(unchanged_seconds))
    }

    #[test]
    fn an_absent_lease_is_taken() {
        assert_eq!(decided(None, 100, 0), Decision::Take { acquired: at(100), transitions: 0 });
    }

    #[test]
    fn our_own_lease_is_renewed_even_after_it_expired() {
        let kept = Decision::Take { acquired: at(1), transitions: 4 };
        assert_eq!(decided(Some(&held_by("us", 10)), 100, 60), kept);
    }

    #[test]
    fn the_lease_of_another_is_left_until_we_saw_it_expire() {
        assert_eq!(decided(Some(&held_by("them", 85)), 100, 15), Decision::Leave);
        let taken = Decision::Take { acquired: at(101), transitions: 5 };
        assert_eq!(decided(Some(&held_by("them", 85)), 101, 16), taken);
    }

    #[test]
    fn a_clock_that_runs_ahead_takes_nothing() {
        assert_eq!(decided(Some(&held_by("them", 85)), 100_000, 1), Decision::Leave);
    }

    #[test]
    fn a_lease_that_was_given_back_is_free() {
        let free = LeaseSpec { holder_identity: None, ..held_by("them", 100) };
        for lease in [free, held_by("", 100)] {
            assert!(matches!(decided(Some(&lease), 100, 0), Decision::Take { transitions: 5, .. }));
        }
    }
}
