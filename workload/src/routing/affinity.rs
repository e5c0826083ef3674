//! Which of some equal backends a prompt belongs to, so that what one has computed for a conversation is there when it goes on: each backend draws a
//! number for the prompt, and the highest wins (rendezvous hashing). When a backend comes or goes, only its own prompts move. One that has much more to
//! do than its share is passed over, so that no prompt that all have in common brings one down (consistent hashing with bounded loads).

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};

/// How much more than its share a backend may have to do before its prompts go elsewhere, percent.
const MOST_LOAD_PERCENT: u64 = 125;
/// How much of a long text counts, at its beginning and at its end, bytes.
const MOST_BYTES: usize = 4 * 1024;

/// What two prompts have in common that belong to the same backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Affinity(u64);

impl Affinity {
    /// Of how a prompt begins.
    pub fn of(text: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        text.len().hash(&mut hasher);
        text[..text.len().min(MOST_BYTES)].hash(&mut hasher);
        text[text.len().saturating_sub(MOST_BYTES)..].hash(&mut hasher);
        Self(hasher.finish())
    }

    /// A number above zero and below one, by chance but always the same for a backend.
    fn drawn_by(self, backend: &str) -> f64 {
        let mut hasher = DefaultHasher::new();
        (self.0, backend).hash(&mut hasher);
        // As many bits as a number has.
        let bits = u32::try_from(hasher.finish() >> 32).unwrap_or_default();
        (f64::from(bits) + 0.5) / (f64::from(u32::MAX) + 1.0)
    }
}

/// A backend to which prompts may belong.
#[derive(Clone, Copy)]
pub(super) struct Candidate<'a> {
    pub(super) name: &'a str,
    /// To one of weight 3 belong three times as many as to one of weight 1; to one of weight 0, none.
    pub(super) weight: u16,
    pub(super) in_flight: u32,
}

impl Candidate<'_> {
    /// Weighted as by Wang and others: the highest of these is each one's as often as its weight says.
    fn score(&self, affinity: Affinity) -> f64 {
        -f64::from(self.weight) / affinity.drawn_by(self.name).ln()
    }

    /// Whether it has no more to do than its share allows, of all that there is to do.
    fn has_room(&self, in_flight: u64, weights: u64) -> bool {
        let most = (in_flight + 1) * u64::from(self.weight) * MOST_LOAD_PERCENT;
        u64::from(self.in_flight) * weights * 100 < most
    }
}

/// The place of the one to which a prompt belongs.
pub(super) fn chosen(candidates: &[Candidate<'_>], affinity: Affinity) -> Option<usize> {
    let in_flight = candidates.iter().map(|candidate| u64::from(candidate.in_flight)).sum();
    let weights = candidates.iter().map(|candidate| u64::from(candidate.weight)).sum();
    let with_room =
        candidates.iter().enumerate().filter(|(_, candidate)| candidate.has_room(in_flight, weights));
    let best = with_room.max_by(|(_, one), (_, other)| one.score(affinity).total_cmp(&other.score(affinity)));
    best.map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(name: &str, weight: u16, in_flight: u32) -> Candidate<'_> {
        Candidate { name, weight, in_flight }
    }

    /// How many of a thousand prompts belong to each.
    fn shares(candidates: &[Candidate<'_>]) -> Vec<usize> {
        let mut shares = vec![0; candidates.len()];
        for prompt in 0..1_000 {
            shares[chosen(candidates, Affinity::of(prompt.to_string().as_bytes())).unwrap()] += 1;
        }
        shares
    }

    #[test]
    fn prompts_are_shared_by_weight() {
        let shares = shares(&[candidate("a", 3, 0), candidate("b", 1, 0), candidate("c", 0, 0)]);
        assert!((700..800).contains(&shares[0]) && shares[2] == 0, "{shares:?}");
    }

    #[test]
    fn when_a_backend_goes_only_its_own_prompts_move() {
        let all = [candidate("a", 1, 0), candidate("b", 1, 0), candidate("c", 1, 0)];
        for prompt in 0..1_000 {
            let affinity = Affinity::of(prompt.to_string().as_bytes());
            let before = chosen(&all, affinity).unwrap();
            if before != 2 {
                assert_eq!(chosen(&all[..2], affinity), Some(before));
            }
        }
    }

    #[test]
    fn one_that_has_more_than_its_share_is_passed_over() {
        assert_eq!(shares(&[candidate("a", 1, 4), candidate("b", 1, 1)])[0], 0);
        let of_some = shares(&[candidate("a", 1, 2), candidate("b", 1, 2)]);
        assert!(of_some.iter().all(|share| *share > 400), "{of_some:?}");
        assert_eq!(shares(&[candidate("a", 1, 900)]), [1_000], "who else");
    }

    #[test]
    fn of_a_long_beginning_the_ends_and_the_length_count() {
        let long = "x".repeat(3 * MOST_BYTES);
        let affinity = Affinity::of(long.as_bytes());
        assert_ne!(affinity, Affinity::of(format!("{long}x").as_bytes()));
        assert_ne!(affinity, Affinity::of(format!("y{}", &long[1..]).as_bytes()));
        assert_ne!(affinity, Affinity::of(format!("{}y", &long[1..]).as_bytes()));
        assert_eq!(affinity, Affinity::of(long.as_bytes()));
    }
}
