//! How many requests a backend has at once, and who waits until there is room. Where a backend has no bound, they are only counted.

mod gradient;
mod line;

use codecrucible_contract::{Concurrency, Urgency};
use gradient::Gradient;
use line::{Line, Ticket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

/// How much one request moves the average of how long they take: one part of so many.
const AVERAGED: u32 = 8;

/// One who has his turn, and his room.
type Call = (oneshot::Sender<Slot>, Slot);

/// One backend's.
#[derive(Default)]
pub struct Room {
    inside: Mutex<Inside>,
    /// Requests that the backend has. Where it is bounded, it grows under the lock alone.
    in_flight: AtomicU32,
    /// Whether there are rules. Where there are none, nobody waits for the lock.
    is_bounded: AtomicBool,
}

#[derive(Default)]
struct Inside {
    /// As the policy in force has it.
    rules: Option<Concurrency>,
    line: Line<oneshot::Sender<Slot>>,
    gradient: Gradient,
    /// How long requests have a slot, on average.
    held: Option<Duration>,
}

/// How it is in the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occupancy {
    /// Requests that the backend has.
    pub in_flight: u32,
    /// Most of them at once, where that is bounded.
    pub most: Option<u32>,
    /// Requests that wait, the most urgent first.
    pub queued: [usize; Urgency::ALL.len()],
}

/// Why there was no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// How long it would have taken, about.
    pub expected: Duration,
    /// Whether that was found out by waiting.
    pub has_waited: bool,
}

impl Room {
    /// From now on these rules hold, also for those who wait already; without any there is room for all.
    pub fn follow(self: &Arc<Self>, rules: Option<Concurrency>) {
        let mut inside = self.inside();
        inside.rules = rules;
        self.is_bounded.store(rules.is_some(), Ordering::Relaxed);
        let due = self.due(&mut inside);
        drop(inside);
        call(due);
    }

    /// A slot, if there is one.
    pub fn enter(self: &Arc<Self>) -> Option<Slot> {
        if !self.is_bounded.load(Ordering::Relaxed) {
            return Some(self.slot());
        }
        let inside = self.inside();
        self.has_room(&inside).then(|| self.slot())
    }

    /// A slot as soon as there is one, at the latest at that time. It is told at once if that is not to be expected.
    pub async fn wait(
        self: &Arc<Self>,
        urgency: Urgency,
        now: Instant,
        deadline: Instant,
    ) -> Result<Slot, Full> {
        let Place { called, until, expected, seat } = match self.join(urgency, now, deadline)? {
            Turn::Now(slot) => return Ok(slot),
            Turn::Later(place) => place,
        };
        let slot = timeout_at(until, called).await.ok().and_then(Result::ok);
        drop(seat);
        slot.ok_or(Full { expected, has_waited: true })
    }

    fn join(self: &Arc<Self>, urgency: Urgency, now: Instant, deadline: Instant) -> Result<Turn<'_>, Full> {
        let mut inside = self.inside();
        let Some(Concurrency { queue, .. }) = inside.rules.filter(|_| !self.has_room(&inside)) else {
            return Ok(Turn::Now(self.slot()));
        };
        let until = deadline.min(now + Duration::from_millis(queue.timeout_ms));
        let expected = inside.expected_wait(urgency);
        let full = Full { expected, has_waited: false };
        if now + expected > until {
            return Err(full);
        }
        let (call, called) = oneshot::channel();
        let most = usize::try_from(queue.max_requests).unwrap_or(usize::MAX);
        let joined = inside.line.join(urgency, most, call);
        drop(inside);
        // Whoever is displaced learns of it when what he is called by is dropped.
        let (ticket, _displaced) = joined.ok_or(full)?;
        Ok(Turn::Later(Place { called, until, expected, seat: Seat { room: self, ticket } }))
    }

    /// Until one that comes now would have its turn, if all goes on as it did.
    pub fn expected_wait(&self, urgency: Urgency) -> Duration {
        self.inside().expected_wait(urgency)
    }

    /// Requests that the backend has.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// How it is in here.
    pub fn occupancy(&self) -> Occupancy {
        let inside = self.inside();
        let queued = Urgency::ALL.map(|urgency| inside.line.waiting(urgency));
        Occupancy { in_flight: self.in_flight(), most: inside.most(), queued }
    }

    /// The answer to a stream began after so long.
    pub fn answered(self: &Arc<Self>, after: Duration) {
        self.adapt(|gradient, in_flight, most| gradient.answered(after, in_flight, most));
    }

    /// The backend asked for patience, or did not answer in time.
    pub fn in_trouble(self: &Arc<Self>) {
        self.adapt(|gradient, _, _| gradient.in_trouble());
    }

    fn adapt(self: &Arc<Self>, change: impl FnOnce(&mut Gradient, u32, u32)) {
        if !self.is_bounded.load(Ordering::Relaxed) {
            return;
        }
        let mut inside = self.inside();
        if let Some(Concurrency { adaptive: true, max_requests, .. }) = inside.rules {
            change(&mut inside.gradient, self.in_flight(), max_requests);
            let due = self.due(&mut inside);
            drop(inside);
            call(due);
        }
    }

    fn slot(self: &Arc<Self>) -> Slot {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Slot { room: Arc::clone(self), began: None }
    }

    /// Those who wait and have room now.
    fn due(self: &Arc<Self>, inside: &mut Inside) -> Vec<Call> {
        let mut due = Vec::new();
        while self.is_below_most(inside)
            && let Some(call) = inside.line.next()
        {
            due.push((call, self.slot()));
        }
        due
    }

    fn is_below_most(&self, inside: &Inside) -> bool {
        inside.most().is_none_or(|most| self.in_flight() < most)
    }

    /// Whether one that comes now has room: nobody overtakes who waits.
    fn has_room(&self, inside: &Inside) -> bool {
        inside.line.len() == 0 && self.is_below_most(inside)
    }

    fn leave(self: &Arc<Self>, began: Option<Instant>) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        if !self.is_bounded.load(Ordering::Relaxed) {
            return;
        }
        let mut inside = self.inside();
        // What was given back unused says nothing of how long requests take.
        if let Some(began) = began {
            inside.note_held(began.elapsed());
        }
        let due = self.due(&mut inside);
        drop(inside);
        call(due);
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn most(&self) -> Option<u32> {
        let Concurrency { max_requests, adaptive, .. } = self.rules?;
        Some(if adaptive { self.gradient.limit(max_requests) } else { max_requests })
    }

    /// Until one that comes now would have its turn, if all goes on as it did.
    fn expected_wait(&self, urgency: Urgency) -> Duration {
        let (Some(held), Some(most)) = (self.held, self.most()) else { return Duration::ZERO };
        let turns = u32::try_from(self.line.ahead_of(urgency)).unwrap_or(u32::MAX).saturating_add(1);
        held.saturating_mul(turns) / most.max(1)
    }

    fn note_held(&mut self, held: Duration) {
        self.held = Some(self.held.map_or(held, |average| average - average / AVERAGED + held / AVERAGED));
    }
}

/// Tells those who have their turn; outside of the lock, for who left meanwhile gives the room back.
fn call(due: Vec<Call>) {
    for (call, slot) in due {
        drop(call.send(slot));
    }
}

/// Room for one request, until the value goes.
pub struct Slot {
    room: Arc<Room>,
    /// When a request began that has it.
    began: Option<Instant>,
}

impl Slot {
    /// A request begins that has it.
    pub fn begin(&mut self, now: Instant) {
        self.began = Some(now);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.room.leave(self.began);
    }
}

/// Whose turn it is.
enum Turn<'a> {
    /// It is now.
    Now(Slot),
    /// It comes.
    Later(Place<'a>),
}

/// One who waits.
struct Place<'a> {
    called: oneshot::Receiver<Slot>,
    until: Instant,
    /// For about how long.
    expected: Duration,
    seat: Seat<'a>,
}

/// A place in the line, until the value goes.
struct Seat<'a> {
    room: &'a Room,
    ticket: Ticket,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut inside = self.room.inside();
        let call = inside.line.leave(self.ticket);
        drop(inside);
        drop(call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecrucible_contract::Queue;
    use futures::FutureExt as _;
    use futures::future::{BoxFuture, join_all};

    fn rules(max_requests: u32, queued: u32) -> Concurrency {
        let queue = Queue { max_requests: queued, timeout_ms: 1_000 };
        Concurrency { max_requests, adaptive: false, queue }
    }

    fn room(max_requests: u32, queued: u32) -> Arc<Room> {
        let room = Arc::new(Room::default());
        room.follow(Some(rules(max_requests, queued)));
        room
    }

    fn waiting(room: &Arc<Room>, urgency: Urgency) -> BoxFuture<'static, Result<Slot, Full>> {
        let room = Arc::clone(room);
        let later = Instant::now() + Duration::from_secs(60);
        async move { room.wait(urgency, Instant::now(), later).await }.boxed()
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_as_many_at_once_as_there_may_be_and_the_next_has_its_turn_when_one_ends() {
        let room = room(2, 9);
        let mut slots: Vec<_> = (0..3).map_while(|_| room.enter()).collect();
        assert_eq!(slots.len(), 2);
        let (mut usual, mut urgent) = (waiting(&room, Urgency::Normal), waiting(&room, Urgency::High));
        assert!(futures::poll!(&mut usual).is_pending() && futures::poll!(&mut urgent).is_pending());
        assert_eq!(room.occupancy(), Occupancy { in_flight: 2, most: Some(2), queued: [1, 1, 0] });
        slots.pop();
        assert!(room.enter().is_none(), "who waits is not overtaken");
        assert!(futures::poll!(&mut usual).is_pending());
        let slot = urgent.await.unwrap();
        drop(slot);
        assert!(usual.await.is_ok());
        assert_eq!(room.in_flight(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_the_line_takes_no_room_whenever_that_is() {
        let room = room(1, 9);
        let slot = room.enter().unwrap();
        let (mut first, mut second) = (waiting(&room, Urgency::Normal), waiting(&room, Urgency::Normal));
        assert!(futures::poll!(&mut first).is_pending() && futures::poll!(&mut second).is_pending());
        drop(slot);
        // It was called, and did not hear it.
        drop(first);
        drop(second.await.unwrap());
        let slot = room.enter().unwrap();
        let mut third = waiting(&room, Urgency::Normal);
        assert!(futures::poll!(&mut third).is_pending());
        drop(third);
        assert_eq!(room.occupancy().queued, [0; 3]);
        drop(slot);
        assert_eq!(room.in_flight(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_or_finds_the_line_full_is_told_so() {
        let room = room(1, 1);
        let _slot = room.enter().unwrap();
        let mut first = waiting(&room, Urgency::Normal);
        assert!(futures::poll!(&mut first).is_pending());
        let refused = waiting(&room, Urgency::Normal).now_or_never().unwrap();
        assert!(refused.is_err_and(|full| !full.has_waited), "the line is full");
        let mut urgent = waiting(&room, Urgency::High);
        assert!(futures::poll!(&mut urgent).is_pending());
        let displaced = first.now_or_never().expect("its place was taken");
        assert!(displaced.is_err());
        assert!(urgent.await.is_err_and(|full| full.has_waited), "after a second");
        assert_eq!(room.occupancy().queued, [0; 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_cannot_have_a_turn_in_time_is_told_at_once_and_for_how_long_to_wait() {
        let room = room(2, 99);
        let mut slots = [room.enter().unwrap(), room.enter().unwrap()];
        slots.iter_mut().for_each(|slot| slot.begin(Instant::now()));
        tokio::time::advance(Duration::from_millis(800)).await;
        drop(slots);
        drop(room.enter());
        let _slots = [room.enter(), room.enter()];
        let mut line = [waiting(&room, Urgency::Normal), waiting(&room, Urgency::Normal)];
        assert!(line.iter_mut().all(|waiting| waiting.now_or_never().is_none()));
        let refused = waiting(&room, Urgency::Normal).now_or_never();
        assert_eq!(
            refused.unwrap().err(),
            Some(Full { expected: Duration::from_millis(1_200), has_waited: false })
        );
    }

    #[tokio::test(start_paused = true)]
    async fn other_rules_hold_for_those_who_wait_already() {
        let room = room(1, 9);
        let _slot = room.enter();
        let mut line: Vec<_> = (0..4).map(|_| waiting(&room, Urgency::Normal)).collect();
        assert!(line.iter_mut().all(|waiting| waiting.now_or_never().is_none()));
        room.follow(Some(rules(3, 9)));
        assert_eq!(room.occupancy(), Occupancy { in_flight: 3, most: Some(3), queued: [0, 2, 0] });
        assert!(room.enter().is_none(), "those who wait have what room there is");
        room.follow(None);
        let unbounded = room.enter();
        assert_eq!((unbounded.is_some(), room.in_flight()), (true, 6));
        assert!(join_all(line).await.iter().all(Result::is_ok));
    }

    #[tokio::test(start_paused = true)]
    async fn an_adaptive_one_lets_fewer_in_when_answers_begin_late_and_calls_those_who_wait_when_they_do_not()
    {
        let room = Arc::new(Room::default());
        room.follow(Some(Concurrency { adaptive: true, ..rules(100, 9) }));
        let slots: Vec<_> = std::iter::from_fn(|| room.enter()).collect();
        let at_first = slots.len();
        assert!((2..100).contains(&at_first));
        let mut waiting = waiting(&room, Urgency::Normal);
        assert!(futures::poll!(&mut waiting).is_pending());
        let answer = |count: usize, ms| (0..count).for_each(|_| room.answered(Duration::from_millis(ms)));
        answer(40, 100);
        assert!(futures::poll!(&mut waiting).is_ready(), "as soon as there are more");
        answer(2_000, 1_000);
        assert_eq!(room.occupancy().most, Some(2));
    }
}
