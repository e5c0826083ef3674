//! Rotary position embedding: positions as angles.

use candle_core::{Device, Result, Tensor};
use candle_nn::rotary_emb::{rope, rope_i};

/// Which two values of a head are turned together.
#[derive(Clone, Copy)]
pub(super) enum Style {
    /// The value at `i` and the one at `i + half`.
    Halves,
    /// The values at `2i` and `2i + 1`.
    Neighbours,
}

/// Sines and cosines of all positions.
pub(super) struct Rotary {
    style: Style,
    cosines: Tensor,
    sines: Tensor,
}

/// Those of the positions in question.
pub(super) struct Rotation {
    style: Style,
    cosines: Tensor,
    sines: Tensor,
}

impl Rotary {
    pub(super) fn new(style: Style, head_size: usize, base: f32, positions: usize) -> Result<Self> {
        let half = head_size / 2;
        let mut angles = Vec::with_capacity(positions * half);
        for position in 0..positions {
            for index in 0..half {
                let frequency = f64::from(base).powf(-2.0 * index as f64 / head_size as f64);
                angles.push((position as f64 * frequency) as f32);
            }
        }
        let angles = Tensor::from_vec(angles, (positions, half), &Device::Cpu)?;
        Ok(Self { style, cosines: angles.cos()?, sines: angles.sin()? })
    }

    pub(super) fn at(&self, position: usize, count: usize) -> Result<Rotation> {
        let narrow = |table: &Tensor| table.narrow(0, position, count)?.contiguous();
        Ok(Rotation { style: self.style, cosines: narrow(&self.cosines)?, sines: narrow(&self.sines)? })
    }
}

impl Rotation {
    /// Turns heads of shape `(1, heads, tokens, head size)`.
    pub(super) fn apply(&self, heads: &Tensor) -> Result<Tensor> {
        match self.style {
            Style::Halves => rope(heads, &self.cosines, &self.sines),
            Style::Neighbours => rope_i(heads, &self.cosines, &self.sines),
        }
    }
}
