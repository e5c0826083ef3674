//! How much more than its clients asked for the service may ask of backends. A number of retries for each request would multiply the
//! load just when backends are overloaded; a share of the traffic adds no more than that share, whatever happens.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Attempts that there are at the beginning, and that may be saved up where there is no traffic.
const RESERVE: u64 = 10;
/// Attempts that are granted each second whatever the traffic: where there is little, a share of it is nothing.
const EACH_SECOND: u64 = 1;
/// How long the share of a request may be saved up: when a backend goes, all that it had in hand must be asked of others at once.
const SAVED_FOR: Duration = Duration::from_secs(10);
/// Shares are counted in hundredths of an attempt.
const WHOLE: u64 = 100;

/// The budget of one process.
pub struct RetryBudget {
    /// Requests that came, ever.
    requests: AtomicU64,
    account: Mutex<Account>,
}

struct Account {
    /// Hundredths of an attempt.
    balance: u64,
    /// Requests that were counted into it.
    counted: u64,
    /// About as many of them came lately.
    recent: u64,
    /// When they were counted.
    at: Instant,
    /// Until when seconds were granted.
    granted: Instant,
}

impl RetryBudget {
    /// A budget with nothing but the reserve.
    pub fn new(now: Instant) -> Self {
        let account = Account { balance: RESERVE * WHOLE, counted: 0, recent: 0, at: now, granted: now };
        Self { requests: AtomicU64::new(0), account: Mutex::new(account) }
    }

    /// Notes a request.
    pub fn earn(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes one attempt, if there is one. A share of nothing grants nothing at all.
    pub fn spend(&self, percent: u16, now: Instant) -> bool {
        let mut account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
        account.earn(self.requests.load(Ordering::Relaxed), percent, now);
        if percent == 0 || account.balance < WHOLE {
            return false;
        }
        account.balance -= WHOLE;
        true
    }
}

impl Account {
    fn earn(&mut self, requests: u64, percent: u16, now: Instant) {
        let came = requests - self.counted;
        let (share, age) = (u64::from(percent), now.saturating_duration_since(self.at));
        // As if they had come evenly.
        self.recent = part(self.recent, SAVED_FOR.saturating_sub(age), SAVED_FOR)
            + part(came, SAVED_FOR, age.max(SAVED_FOR));
        (self.counted, self.at) = (requests, now);
        let seconds = now.saturating_duration_since(self.granted).as_secs();
        self.granted += Duration::from_secs(seconds);
        let earned = came.saturating_mul(share).saturating_add(seconds.saturating_mul(EACH_SECOND * WHOLE));
        let most = self.recent.saturating_mul(share).saturating_add(RESERVE * WHOLE);
        self.balance = self.balance.saturating_add(earned).min(most);
    }
}

/// So many, for a part of a time.
fn part(count: u64, part: Duration, whole: Duration) -> u64 {
    let share = u128::from(count) * part.as_millis() / whole.as_millis();
    u64::try_from(share).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_share_of_the_traffic_is_granted_beside_the_reserve() {
        let now = Instant::now();
        let budget = RetryBudget::new(now);
        let spent = |now| (0..10_000).filter(|_| budget.spend(20, now)).count();
        assert_eq!(spent(now), 10);
        (0..20).for_each(|_| budget.earn());
        assert_eq!(spent(now), 4);
        assert_eq!(spent(now), 0);
    }

    #[test]
    fn the_share_of_ten_seconds_is_saved_up_and_no_more() {
        let start = Instant::now();
        let budget = RetryBudget::new(start);
        let spent = |now| (0..10_000).filter(|_| budget.spend(20, now)).count();
        // 1,000 requests a second for a minute.
        (0..60_000).for_each(|_| budget.earn());
        let later = start + Duration::from_secs(60);
        assert_eq!(spent(later), 10 + 2_000);
        assert_eq!(spent(later + Duration::from_secs(3_600)), 10, "of what was long ago nothing is left");
    }

    #[test]
    fn where_there_is_little_traffic_time_grants_some() {
        let now = Instant::now();
        let budget = RetryBudget::new(now);
        assert_eq!((0..100).filter(|_| budget.spend(20, now)).count(), 10);
        let later = now + Duration::from_millis(2_900);
        assert_eq!((0..100).filter(|_| budget.spend(20, later)).count(), 2);
        assert!(budget.spend(20, now + Duration::from_secs(3)), "no part of a second is lost");
    }

    #[test]
    fn a_share_of_nothing_grants_nothing() {
        let now = Instant::now();
        let budget = RetryBudget::new(now);
        budget.earn();
        assert!(!budget.spend(0, now));
    }

    proptest! {
        /// Never more than was saved up, the share of the requests, and one each second.
        #[test]
        fn it_is_never_exceeded(percent in 0_u16..=100, steps in prop::collection::vec((any::<bool>(), 0_u64..400), 0..500)) {
            let start = Instant::now();
            let budget = RetryBudget::new(start);
            let (mut now, mut requests, mut spent) = (start, 0, 0);
            for (is_request, pause) in steps {
                now += Duration::from_millis(pause);
                if is_request {
                    budget.earn();
                    requests += 1;
                } else {
                    spent += u64::from(budget.spend(percent, now));
                }
            }
            let seconds = (now - start).as_secs();
            prop_assert!(spent * WHOLE <= RESERVE * WHOLE + requests * u64::from(percent) + seconds * WHOLE);
        }
    }
}
