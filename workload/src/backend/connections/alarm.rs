//! Whom a connection wakes: the task that drives it, unless that looks at it anyway. What a task and its connection give each other while it is awake
//! would otherwise have it run once more, and the runtime wake another thread for that.

use futures::task::AtomicWaker;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Wake, Waker};

/// Somebody is to be woken.
const ARMED: u8 = 1;
/// It rang since it was muted.
const RUNG: u8 = 2;

/// Wakes a task, or only notes that it would. At first it wakes nobody.
#[derive(Default)]
pub(super) struct Alarm {
    task: AtomicWaker,
    state: AtomicU8,
}

impl Alarm {
    /// From now on it is this task that is to be woken.
    pub(super) fn belongs_to(&self, task: &Waker) {
        self.task.register(task);
    }

    /// The task is awake: nobody is woken until it is armed.
    pub(super) fn mute(&self) {
        // Whatever was there before it rang last is seen from here on.
        self.state.swap(0, Ordering::AcqRel);
    }

    /// Whether the task may wait: not if it rang since it was muted.
    pub(super) fn arm(&self) -> bool {
        self.state.fetch_or(ARMED, Ordering::AcqRel) & RUNG == 0
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.fetch_or(RUNG, Ordering::AcqRel) == ARMED {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl Wake for Counting {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn alarm() -> (Arc<Alarm>, Waker, Arc<Counting>) {
        let (alarm, counting) = (Arc::<Alarm>::default(), Arc::<Counting>::default());
        alarm.belongs_to(&counting.clone().into());
        (alarm.clone(), alarm.into(), counting)
    }

    #[test]
    fn who_waits_is_woken_once() {
        let (alarm, waker, woken) = alarm();
        alarm.mute();
        assert!(alarm.arm(), "nothing happened: the task may wait");
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn who_is_awake_is_not_woken_but_told_before_it_waits() {
        let (alarm, waker, woken) = alarm();
        alarm.mute();
        waker.wake_by_ref();
        assert!(!alarm.arm(), "it has to look again");
        alarm.mute();
        assert!(alarm.arm());
        assert_eq!(woken.0.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn an_alarm_that_was_never_armed_wakes_nobody() {
        let (_alarm, waker, woken) = alarm();
        waker.wake_by_ref();
        assert_eq!(woken.0.load(Ordering::SeqCst), 0);
    }
}
