//! What is multiplied with a packed matrix: numbers as bytes, 32 to a scale.

/// Numbers that share a scale; as many as in a block of the packed formats.
pub(super) const BLOCK: usize = 32;
/// Lanes into which a block's products are summed, four neighbours each.
pub(super) const LANES: usize = 8;

/// 32 numbers.
#[derive(Clone)]
pub(super) struct Block {
    /// The numbers, divided by the scale, from -127 to 127 in two's complement.
    pub(super) bytes: [u8; BLOCK],
    pub(super) scale: f32,
    /// The sum of every four neighbours, scale included: what a weight's offset is multiplied with.
    pub(super) sums: [f32; LANES],
}

/// Rounds each number to the nearest of 255 steps between its block's largest magnitude and the negative of it.
pub(super) fn quantize(numbers: &[f32]) -> Vec<Block> {
    let (blocks, _) = numbers.as_chunks::<BLOCK>();
    blocks.iter().map(quantize_block).collect()
}

#[inline]
fn quantize_block(numbers: &[f32; BLOCK]) -> Block {
    let largest = numbers.iter().fold(0.0_f32, |largest, number| largest.max(number.abs()));
    let scale = largest / f32::from(i8::MAX);
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let bytes = numbers.map(|number| (number * inverse).round_ties_even() as i8);
    let mut sums = [0.0; LANES];
    for (sum, neighbours) in sums.iter_mut().zip(bytes.as_chunks::<4>().0) {
        let neighbours: i32 = neighbours.iter().map(|byte| i32::from(*byte)).sum();
        *sum = neighbours as f32 * scale;
    }
    Block { bytes: bytes.map(i8::cast_unsigned), scale, sums }
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, quantize};

    #[test]
    fn a_number_comes_back_within_half_a_step() {
        let numbers: Vec<f32> = (0..BLOCK * 2).map(|index| (index as f32 * 0.7).sin() * 3.0).collect();
        for (block, numbers) in quantize(&numbers).iter().zip(numbers.chunks(BLOCK)) {
            for (byte, number) in block.bytes.iter().zip(numbers) {
                assert!((f32::from(byte.cast_signed()) * block.scale - number).abs() <= block.scale * 0.501);
            }
        }
    }

    #[test]
    fn zeros_stay_zeros() {
        let blocks = quantize(&[0.0; BLOCK]);
        assert_eq!(blocks[0].bytes, [0; BLOCK]);
        assert_eq!(blocks[0].sums, [0.0; 8]);
    }
}
