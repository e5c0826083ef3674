//! Attention with fewer key heads than query heads. The queries that share a key head are laid side by
//! side, so that keys and values are never copied.

use super::rotary::Rotation;
use super::{Family, Shape};
use crate::LoadError;
use crate::gguf::Gguf;
use crate::matrix::Matrix;
use candle_core::{Device, Result, Tensor};
use candle_nn::kv_cache::KvCache;
use candle_nn::ops::softmax_last_dim;

/// Positions by which the store of keys and values grows.
const CACHE_STEP_TOKENS: usize = 512;

pub(super) struct Attention {
    query: Projection,
    key: Projection,
    value: Projection,
    output: Matrix,
    shape: Shape,
    cache: KvCache,
}

struct Projection {
    weight: Matrix,
    bias: Option<Tensor>,
}

impl Projection {
    fn load(
        gguf: &mut Gguf,
        name: &str,
        outputs: usize,
        has_bias: bool,
    ) -> std::result::Result<Self, LoadError> {
        gguf.expect_rows(&format!("{name}.weight"), outputs)?;
        let bias = has_bias.then(|| gguf.full(&format!("{name}.bias"))).transpose()?;
        Ok(Self { weight: gguf.matrix(&format!("{name}.weight"))?, bias })
    }

    /// From `(tokens, hidden)` to `(1, heads, tokens, head size)`.
    fn heads(&self, hidden: &Tensor, head_size: usize) -> Result<Tensor> {
        let projected = self.weight.forward(hidden)?;
        let projected = match &self.bias {
            Some(bias) => projected.broadcast_add(bias)?,
            None => projected,
        };
        let (tokens, width) = projected.dims2()?;
        projected.reshape((1, tokens, width / head_size, head_size))?.transpose(1, 2)?.contiguous()
    }
}

impl Attention {
    pub(super) fn load(
        gguf: &mut Gguf,
        family: &Family,
        shape: Shape,
        index: usize,
    ) -> std::result::Result<Self, LoadError> {
        let name = |part: &str| format!("blk.{index}.{part}");
        let Shape { heads, key_heads, head_size, .. } = shape;
        let mut projection = |part: &str, heads: usize| {
            Projection::load(gguf, &name(part), heads.saturating_mul(head_size), family.has_bias)
        };
        Ok(Self {
            query: projection("attn_q", heads)?,
            key: projection("attn_k", key_heads)?,
            value: projection("attn_v", key_heads)?,
            output: gguf.matrix(&name("attn_output.weight"))?,
            shape,
            cache: KvCache::new(2, CACHE_STEP_TOKENS),
        })
    }

    pub(super) fn reset(&mut self) {
        self.cache.reset();
    }

    pub(super) fn forward(
        &mut self,
        hidden: &Tensor,
        rotation: &Rotation,
        mask: Option<&Tensor>,
    ) -> Result<Tensor> {
        let Shape { heads, key_heads, head_size, .. } = self.shape;
        let (tokens, _) = hidden.dims2()?;
        let query = rotation.apply(&self.query.heads(hidden, head_size)?)?;
        let key = rotation.apply(&self.key.heads(hidden, head_size)?)?;
        let value = self.value.heads(hidden, head_size)?;
        let (keys, values) = self.cache.append(&key, &value)?;
        let (keys, values) = (keys.squeeze(0)?, values.squeeze(0)?);
        let seen = keys.dim(1)?;

        let group = heads / key_heads;
        let scale = 1.0 / (head_size as f64).sqrt();
        let query = (query.reshape((key_heads, group * tokens, head_size))? * scale)?;
        let mut scores = query.matmul(&keys.t()?)?;
        if let Some(mask) = mask {
            scores = scores.reshape((heads, tokens, seen))?.broadcast_add(mask)?.reshape((
                key_heads,
                group * tokens,
                seen,
            ))?;
        }
        let mixed = softmax_last_dim(&scores)?.matmul(&values.contiguous()?)?;
        let mixed = mixed.reshape((heads, tokens, head_size))?.transpose(0, 1)?.contiguous()?;
        self.output.forward(&mixed.reshape((tokens, heads * head_size))?)
    }
}

/// What keeps a token from looking ahead; a single token has nothing ahead of it.
pub(super) fn mask(tokens: usize, position: usize) -> Result<Option<Tensor>> {
    if tokens == 1 {
        return Ok(None);
    }
    let seen = position + tokens;
    let entry = |token: usize, other: usize| {
        if other > position + token { f32::NEG_INFINITY } else { 0.0 }
    };
    let entries: Vec<f32> =
        (0..tokens).flat_map(|token| (0..seen).map(move |other| entry(token, other))).collect();
    Tensor::from_vec(entries, (tokens, seen), &Device::Cpu).map(Some)
}
