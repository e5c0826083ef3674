//! Whether the operator may act by itself on one more service. When many go wrong at once, what is broken is more likely
//! something that they share, or the operator itself, and acting on all of them would make an outage of it.

use super::Known;
use codecrucible_crds::CodeCrucible;
use jiff::{SignedDuration, Timestamp};
use kube::runtime::reflector::Store;
use prometheus::IntGauge;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The time in which services are counted.
const WINDOW: SignedDuration = SignedDuration::from_mins(10);
/// Services that may always be acted on within it.
const ALWAYS: usize = 2;

/// The services that were acted on lately. What a process knows of its own doing: the next one begins anew.
pub(crate) struct Fuse {
    /// Largest part of all services, percent.
    share_percent: usize,
    acted: BTreeMap<String, Timestamp>,
}

impl Fuse {
    pub(crate) fn new(share_percent: u8) -> Self {
        Self { share_percent: share_percent.into(), acted: BTreeMap::new() }
    }

    /// Whether as many services, of so many, were acted on as may be.
    pub(crate) fn is_blown(&mut self, services: usize, now: Timestamp) -> bool {
        self.acted.retain(|_, at| *at > now || now.duration_since(*at) < WINDOW);
        let always = if self.share_percent == 0 { 0 } else { ALWAYS };
        self.acted.len() >= (services * self.share_percent / 100).max(always)
    }

    /// Whether a service, of so many, may be acted on.
    pub(crate) fn permits(&mut self, uid: &str, services: usize, now: Timestamp) -> bool {
        !self.is_blown(services, now) || self.acted.contains_key(uid)
    }

    /// Counts a service, of so many, as acted on, if it may be. Before it is: others ask in the meantime.
    pub(crate) fn claim(&mut self, uid: &str, services: usize, now: Timestamp) -> Option<Claim> {
        self.permits(uid, services, now)
            .then(|| Claim { uid: uid.to_owned(), before: self.acted.insert(uid.to_owned(), now) })
    }

    /// Counts it as it was before: it was not acted on after all.
    pub(crate) fn give_back(&mut self, Claim { uid, before }: Claim) {
        match before {
            Some(before) => self.acted.insert(uid, before),
            None => self.acted.remove(&uid),
        };
    }
}

/// The right to act on a service.
pub(crate) struct Claim {
    uid: String,
    /// When it was acted on before.
    before: Option<Timestamp>,
}

/// The fuse of a process, and what it is measured against.
pub(crate) struct Guard {
    fuse: Mutex<Fuse>,
    /// All services; nothing where none is acted on.
    services: Option<Store<Known>>,
    blown: IntGauge,
}

impl Guard {
    pub(crate) fn new(share_percent: u8, services: Option<Store<Known>>, blown: IntGauge) -> Self {
        Self { fuse: Mutex::new(Fuse::new(share_percent)), services, blown }
    }

    /// Whether a service may be acted on.
    pub(crate) fn permits(&self, resource: &CodeCrucible, now: Timestamp) -> bool {
        self.with(|fuse, services| fuse.permits(uid(resource), services, now), now)
    }

    /// The right to act on a service, which counts until it is given back.
    pub(crate) fn claim(&self, resource: &CodeCrucible, now: Timestamp) -> Option<Claim> {
        self.with(|fuse, services| fuse.claim(uid(resource), services, now), now)
    }

    /// Gives a right back that was not used.
    pub(crate) fn give_back(&self, claim: Claim, now: Timestamp) {
        self.with(|fuse, _| fuse.give_back(claim), now);
    }

    fn with<T>(&self, act: impl FnOnce(&mut Fuse, usize) -> T, now: Timestamp) -> T {
        let services = self.services.as_ref().map_or(0, Store::len);
        let mut fuse = self.fuse.lock().unwrap_or_else(PoisonError::into_inner);
        let done = act(&mut fuse, services);
        self.blown.set(fuse.is_blown(services, now).into());
        done
    }
}

fn uid(resource: &CodeCrucible) -> &str {
    resource.metadata.uid.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn only_a_part_of_all_services_is_acted_on_within_a_while() {
        let mut fuse = Fuse::new(20);
        for uid in ["a", "b", "c", "d"] {
            assert!(fuse.claim(uid, 20, at(0)).is_some(), "{uid}");
        }
        assert!(!fuse.permits("e", 20, at(599)));
        assert!(fuse.permits("d", 20, at(599)), "it is one of them already");
        assert!(fuse.permits("e", 25, at(599)), "there are more services now");
        assert!(fuse.permits("e", 20, at(600)), "it is over");
    }

    #[test]
    fn none_is_acted_on_where_that_is_wanted() {
        assert!(!Fuse::new(0).permits("a", 100, at(0)));
    }

    #[test]
    fn of_a_few_services_two_may_be_acted_on() {
        let mut fuse = Fuse::new(20);
        assert!(fuse.claim("a", 2, at(0)).is_some() && fuse.claim("b", 2, at(0)).is_some());
        assert!(!fuse.permits("c", 3, at(0)));
    }

    #[test]
    fn who_asks_while_another_one_is_acted_on_waits_until_that_has_come_to_nothing() {
        let mut fuse = Fuse::new(20);
        fuse.claim("a", 3, at(0)).unwrap();
        let second = fuse.claim("b", 3, at(1)).unwrap();
        assert!(fuse.claim("c", 3, at(1)).is_none());
        fuse.give_back(second);
        assert!(fuse.claim("c", 3, at(2)).is_some());
        let again = fuse.claim("a", 3, at(3)).unwrap();
        fuse.give_back(again);
        assert!(fuse.claim("d", 3, at(599)).is_none() && fuse.claim("d", 3, at(600)).is_some());
    }
}
