//! Takes turns where many resources are new: the first keys of one take a while to find, and until the others that wait for a reconcile
//! were told so, a new one is not worked on. Some of those may not be new: they cost it less than the longest wait. What is written of a resource brings it back at once, so that who has to wait is kept here.

use super::Known;
use kube::runtime::reflector::ObjectRef;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The time in which one of the others is told, milliseconds: that of a slow API server.
const TELLING_MILLISECONDS: u64 = 10;
/// Longest wait for the others, seconds.
const LONGEST_WAIT_SECONDS: u64 = 10;

/// When the turn of each new resource comes that lets others be told first.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<ObjectRef<Known>, Instant>>);

impl Turns {
    /// Lets others go first. Gives how long that takes, if there are any.
    pub(super) fn give_way(&self, who: ObjectRef<Known>, others: u64, now: Instant) -> Option<Duration> {
        let told = Duration::from_millis(others.saturating_mul(TELLING_MILLISECONDS));
        let wait = told.min(Duration::from_secs(LONGEST_WAIT_SECONDS));
        if !wait.is_zero() {
            let mut due = self.due();
            // Some are deleted before their turn comes.
            due.retain(|_, at| *at > now);
            due.insert(who, now + wait);
        }
        (!wait.is_zero()).then_some(wait)
    }

    /// How long it still is until a resource's turn, unless that has come.
    pub(super) fn wait(&self, who: &ObjectRef<Known>, now: Instant) -> Option<Duration> {
        let mut due = self.due();
        let wait = due.get(who)?.saturating_duration_since(now);
        if wait.is_zero() {
            due.remove(who);
        }
        (!wait.is_zero()).then_some(wait)
    }

    fn due(&self) -> MutexGuard<'_, HashMap<ObjectRef<Known>, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who() -> ObjectRef<Known> {
        ObjectRef::new("demo").within("team")
    }

    #[test]
    fn whoever_is_alone_waits_for_nobody() {
        let (turns, now) = (Turns::default(), Instant::now());
        assert_eq!(turns.give_way(who(), 0, now), None);
        assert_eq!(turns.wait(&who(), now), None);
    }

    #[test]
    fn whoever_gives_way_waits_until_the_others_are_told_however_often_it_comes_back() {
        let (turns, now) = (Turns::default(), Instant::now());
        assert_eq!(turns.give_way(who(), 100, now), Some(Duration::from_secs(1)));
        let later = |milliseconds| turns.wait(&who(), now + Duration::from_millis(milliseconds));
        assert_eq!(later(400), Some(Duration::from_millis(600)));
        assert_eq!(later(1_000), None);
        assert_eq!(later(0), None, "its turn has come, and it is kept no longer");
    }

    #[test]
    fn nobody_waits_for_long() {
        let longest = Duration::from_secs(LONGEST_WAIT_SECONDS);
        assert_eq!(Turns::default().give_way(who(), u64::MAX, Instant::now()), Some(longest));
    }
}
