//! How well a replica has served since it began: what new pods are judged by that are tried out.

use serde::{Deserialize, Serialize};

/// The times within which answers are counted, milliseconds. It only ever grows at its end: a place means the same in every version.
pub const SERVED_WITHIN_MILLISECONDS: [u32; 20] = [
    10, 20, 50, 100, 200, 300, 500, 750, 1_000, 1_500, 2_000, 3_000, 5_000, 7_500, 10_000, 15_000, 20_000,
    30_000, 45_000, 60_000,
];

/// Completions and syntheses that clients with a token asked for, since the replica began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Served {
    /// All of them.
    pub requests: u64,
    /// Those that were answered with a status of 500 or above, or with a stream that broke, which counts once however many read it.
    pub failed: u64,
    /// Those whose answers began within each of [`SERVED_WITHIN_MILLISECONDS`], and not within the one before. A replica of another
    /// version may know fewer, or more, which are left out.
    pub within: Vec<u64>,
}

impl Served {
    /// Where in [`Self::within`] an answer counts that took so long to begin; nowhere if that is longer than all of them.
    pub fn place(milliseconds: u128) -> Option<usize> {
        SERVED_WITHIN_MILLISECONDS.iter().position(|&bound| milliseconds <= u128::from(bound))
    }

    /// Answers that began within some time at the latest: of what lies between two bounds, those within the lower one.
    pub fn begun_within(&self, milliseconds: u128) -> u64 {
        let bounds = SERVED_WITHIN_MILLISECONDS.iter().zip(&self.within);
        let begun = bounds.filter(|(bound, _)| u128::from(**bound) <= milliseconds).map(|(_, count)| *count);
        begun.fold(0, u64::saturating_add)
    }

    /// What several replicas served together. No replica is believed to have counted more than can be.
    #[must_use]
    pub fn with(mut self, other: &Self) -> Self {
        self.requests = self.requests.saturating_add(other.requests);
        self.failed = self.failed.saturating_add(other.failed);
        self.within.resize(SERVED_WITHIN_MILLISECONDS.len(), 0);
        for (mine, others) in self.within.iter_mut().zip(&other.within) {
            *mine = mine.saturating_add(*others);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_where_it_began_and_a_time_between_two_bounds_is_the_lower_one() {
        let mut served = Served::default().with(&Served::default());
        for milliseconds in [0, 10, 11, 700, 60_000] {
            served.within[Served::place(milliseconds).unwrap()] += 1;
        }
        assert_eq!(Served::place(60_001), None);
        assert_eq!(served.begun_within(9), 0);
        assert_eq!(served.begun_within(10), 2);
        assert_eq!(served.begun_within(749), 3);
        assert_eq!(served.begun_within(750), 4);
        assert_eq!(served.clone().with(&served).begun_within(60_000), 10);
        let most = Served { requests: u64::MAX, ..Served::default() };
        assert_eq!(most.clone().with(&most).requests, u64::MAX, "a number that cannot be ends nothing");
    }
}
