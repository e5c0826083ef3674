//! In which order the backends of a model are asked: by priority, and among equals two are drawn by their weights, of which the one
//! that has less to do and answers sooner comes first. To draw two, and not to take the best of all, keeps many replicas from running
//! to the same backend at once, and lets one that was slow be asked again.

use super::Target;
use super::affinity::{Affinity, Candidate, chosen};
use crate::backend::Health;
use std::cmp::Ordering;
use std::ops::Range;

/// In which order backends are asked, and whether the first one is so because a prompt belongs to it.
pub struct Order<'a> {
    /// All of them.
    pub targets: Vec<&'a Target>,
    /// Whether that was for the prompt's sake.
    pub is_by_affinity: bool,
}

/// The order for one request, of backends that are sorted by priority; prompts with an affinity belong to one of each priority.
pub fn in_order_of_trial<'a>(targets: &[&'a Target], affinity: Option<Affinity>) -> Order<'a> {
    // Nothing need be drawn for nearly all models.
    if let [only] = targets {
        return Order { targets: vec![only], is_by_affinity: false };
    }
    let (mut ordered, mut is_by_affinity) = (Vec::with_capacity(targets.len()), false);
    for equals in targets.chunk_by(|one, other| one.priority == other.priority) {
        let mut equals = equals.to_vec();
        if let Some(index) = affinity.and_then(|affinity| of_prompt(&equals, affinity)) {
            is_by_affinity |= ordered.is_empty();
            ordered.push(equals.remove(index));
        }
        let shares: Vec<_> = equals
            .iter()
            .map(|target| Share { weight: target.weight, load: Load::of(target.backend.health()) })
            .collect();
        ordered.extend(order(&shares, fastrand::u32).into_iter().map(|index| equals[index]));
    }
    Order { targets: ordered, is_by_affinity }
}

/// The place of the one to which a prompt belongs, if there is a choice.
fn of_prompt(equals: &[&Target], affinity: Affinity) -> Option<usize> {
    let candidates: Vec<_> = equals
        .iter()
        .map(|Target { backend, weight, .. }| Candidate {
            name: backend.name(),
            weight: *weight,
            in_flight: backend.health().in_flight(),
        })
        .collect();
    (equals.len() > 1).then(|| chosen(&candidates, affinity)).flatten()
}

/// One among equals.
#[derive(Clone, Copy)]
struct Share {
    weight: u16,
    load: Load,
}

/// Places of all of them in the order in which they are asked; `below` draws a number from a range.
fn order(shares: &[Share], mut below: impl FnMut(Range<u32>) -> u32) -> Vec<usize> {
    let mut waiting: Vec<usize> = (0..shares.len()).collect();
    let mut ordered = Vec::with_capacity(shares.len());
    while !waiting.is_empty() {
        let weights: Vec<_> = waiting.iter().map(|&index| shares[index].weight).collect();
        let (one, other) = (drawn(&weights, &mut below), drawn(&weights, &mut below));
        let is_other_better = shares[waiting[other]].compared_with(shares[waiting[one]]) == Ordering::Less;
        ordered.push(waiting.remove(if is_other_better { other } else { one }));
    }
    ordered
}

/// Draws by weight; one of weight 0 only where there is no other.
fn drawn(weights: &[u16], below: impl FnOnce(Range<u32>) -> u32) -> usize {
    let total: u32 = weights.iter().map(|&weight| u32::from(weight)).sum();
    let mut ticket = below(0..total.max(1));
    for (index, &weight) in weights.iter().enumerate() {
        match ticket.checked_sub(u32::from(weight)) {
            Some(rest) => ticket = rest,
            None => return index,
        }
    }
    0
}

/// What a backend has to do, and how long it takes for that.
#[derive(Clone, Copy)]
struct Load {
    in_flight: u32,
    /// Nothing before the first answer.
    first_byte_us: Option<u128>,
}

impl Load {
    fn of(health: &Health) -> Self {
        let first_byte_us = health.first_byte().map(|after| after.as_micros());
        Self { in_flight: health.in_flight(), first_byte_us }
    }
}

impl Share {
    /// By how long it would take to answer, if what it has to do takes as much of its time as its weight says; only by what it has to do
    /// while it is not known of both how long that takes.
    fn compared_with(self, other: Self) -> Ordering {
        let (ours, theirs) = (u128::from(self.weight.max(1)), u128::from(other.weight.max(1)));
        let our_work = (u128::from(self.load.in_flight) + ours) * theirs;
        let their_work = (u128::from(other.load.in_flight) + theirs) * ours;
        match (self.load.first_byte_us, other.load.first_byte_us) {
            (Some(our_time), Some(their_time)) => (our_work * our_time).cmp(&(their_work * their_time)),
            _ => our_work.cmp(&their_work),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn share(weight: u16, in_flight: u32, first_byte_us: Option<u128>) -> Share {
        Share { weight, load: Load { in_flight, first_byte_us } }
    }

    /// How often each comes first, of as many draws as there are pairs of tickets.
    fn first(shares: &[Share]) -> Vec<usize> {
        let tickets: u32 = shares.iter().map(|share| u32::from(share.weight)).sum();
        let mut counts = vec![0; shares.len()];
        for pair in 0..tickets * tickets {
            let mut draws = [pair / tickets, pair % tickets].into_iter();
            counts[order(shares, |range| draws.next().unwrap_or(range.start))[0]] += 1;
        }
        counts
    }

    #[test]
    fn equals_that_do_equally_well_are_asked_by_their_weights() {
        assert_eq!(first(&[share(3, 0, Some(9)), share(1, 0, Some(9))]), [12, 4]);
        assert_eq!(first(&[share(3, 30, Some(9)), share(1, 10, Some(9))]), [12, 4]);
    }

    #[test]
    fn who_has_less_to_do_for_its_weight_or_answers_sooner_is_asked_more_and_the_other_one_still() {
        assert_eq!(first(&[share(1, 5, Some(9)), share(1, 0, Some(9))]), [1, 3]);
        assert_eq!(first(&[share(1, 0, Some(90)), share(1, 0, Some(9))]), [1, 3]);
        assert_eq!(
            first(&[share(1, 5, None), share(1, 0, Some(9))]),
            [1, 3],
            "how soon, is not known of both"
        );
        assert_eq!(first(&[share(1, 0, None), share(1, 0, Some(9))]), [2, 2]);
    }

    #[test]
    fn one_of_weight_0_is_asked_when_no_other_is_left() {
        let shares = [share(0, 0, Some(1)), share(1, 50, Some(9)), share(2, 50, Some(9))];
        for ticket in 0..3 {
            assert_eq!(order(&shares, |range| ticket.min(range.end - 1)).last(), Some(&0));
        }
    }

    proptest! {
        #[test]
        fn each_is_asked_once(weights in prop::collection::vec(0_u16..=100, 1..20), seed in any::<u32>()) {
            let shares: Vec<_> = weights.iter().map(|&weight| share(weight, seed % 7, None)).collect();
            let mut asked = order(&shares, |range| seed % range.end);
            asked.sort_unstable();
            prop_assert_eq!(asked, (0..shares.len()).collect::<Vec<_>>());
        }
    }
}
