//! Chooses the next token from the model's scores.

/// Candidates that are looked at when sampling; the rest of the vocabulary is too unlikely to matter.
const CANDIDATES: usize = 64;

/// A sampler for one answer.
pub(crate) struct Sampler {
    temperature: f64,
    top_p: f64,
    random: Random,
}

impl Sampler {
    pub(crate) fn new(temperature: f64, top_p: f64, seed: u64) -> Self {
        Self { temperature, top_p, random: Random(seed) }
    }

    /// The next token; at temperature zero always the likeliest.
    pub(crate) fn choose(&mut self, scores: &[f32]) -> u32 {
        if self.temperature <= 0.0 {
            return likeliest(scores);
        }
        let mut candidates: Vec<(u32, f64)> =
            (0..).zip(scores.iter().map(|&score| f64::from(score))).collect();
        let by_score = |one: &(u32, f64), other: &(u32, f64)| other.1.total_cmp(&one.1);
        if candidates.len() > CANDIDATES {
            candidates.select_nth_unstable_by(CANDIDATES, by_score);
            candidates.truncate(CANDIDATES);
        }
        candidates.sort_unstable_by(by_score);
        let best = candidates.first().map_or(0.0, |&(_, score)| score);
        for (_, score) in &mut candidates {
            *score = ((*score - best) / self.temperature).exp();
        }
        self.draw(&candidates)
    }

    /// Draws by weight among the likeliest that together reach `top_p`.
    fn draw(&mut self, candidates: &[(u32, f64)]) -> u32 {
        let total: f64 = candidates.iter().map(|(_, weight)| weight).sum();
        let mut kept = 0.0;
        let nucleus = candidates.iter().position(|(_, weight)| {
            kept += weight;
            kept >= self.top_p * total
        });
        let nucleus = &candidates[..nucleus.map_or(candidates.len(), |last| last + 1)];
        let mut left = self.random.fraction() * nucleus.iter().map(|(_, weight)| weight).sum::<f64>();
        for &(token, weight) in nucleus {
            left -= weight;
            if left <= 0.0 {
                return token;
            }
        }
        nucleus.last().map_or(0, |&(token, _)| token)
    }
}

fn likeliest(scores: &[f32]) -> u32 {
    let best = (0_u32..)
        .zip(scores)
        .max_by(|(first, one), (second, other)| one.total_cmp(other).then(second.cmp(first)));
    best.map_or(0, |(token, _)| token)
}

/// SplitMix64: enough for sampling, and the same seed gives the same answer everywhere.
struct Random(u64);

impl Random {
    /// At least zero and below one.
    fn fraction(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(temperature: f64, top_p: f64, scores: &[f32]) -> Vec<usize> {
        let mut sampler = Sampler::new(temperature, top_p, 7);
        let mut counts = vec![0; scores.len()];
        (0..10_000).for_each(|_| counts[sampler.choose(scores) as usize] += 1);
        counts
    }

    #[test]
    fn zero_temperature_always_takes_the_likeliest_and_the_first_of_equals() {
        assert_eq!(counts(0.0, 1.0, &[1.0, 3.0, 3.0]), [0, 10_000, 0]);
    }

    #[test]
    fn tokens_are_drawn_by_their_probability() {
        let shares = counts(1.0, 1.0, &[0.0, 1.0, f32::NEG_INFINITY]);
        // e / (1 + e) = 0.731
        assert!((7_100..7_500).contains(&shares[1]), "{shares:?}");
        assert_eq!(shares[2], 0);
    }

    #[test]
    fn the_unlikely_tail_is_cut() {
        assert_eq!(counts(1.0, 0.5, &[0.0, 1.0, 0.0])[1], 10_000);
    }

    #[test]
    fn the_same_seed_gives_the_same_tokens() {
        let draw = |seed| {
            let mut sampler = Sampler::new(1.0, 1.0, seed);
            (0..50).map(|_| sampler.choose(&[0.0; 40])).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
