//! The transformer that both families share: what differs is in [`qwen2`] and [`llama`].

mod attention;
mod llama;
mod qwen2;
mod rotary;

use crate::LoadError;
use crate::gguf::Gguf;
use crate::matrix::Matrix;
use attention::Attention;
use candle_core::quantized::QTensor;
use candle_core::utils::with_threadpool;
use candle_core::{Device, Result, Tensor};
use rotary::{Rotary, Style};
use std::sync::Arc;

/// Longest context, tokens: bounds the memory of keys and values.
const MAX_CONTEXT_TOKENS: usize = 4096;
/// Largest head, numbers: with the context it bounds the table of angles.
const MAX_HEAD_SIZE: usize = 1024;
/// Prompt tokens that are computed at once.
pub(crate) const PREFILL_TOKENS: usize = 256;

/// What tells one family from another.
struct Family {
    /// Prefix of the metadata.
    prefix: &'static str,
    /// Which pairs of values are turned together.
    rotary: Style,
    /// Whether query, key and value have a bias.
    has_bias: bool,
}

/// Sizes of a model.
#[derive(Clone, Copy)]
struct Shape {
    heads: usize,
    key_heads: usize,
    head_size: usize,
    epsilon: f32,
}

/// A model with the keys and values of one conversation.
pub(crate) struct Transformer {
    embedding: Arc<QTensor>,
    layers: Vec<Layer>,
    norm: Norm,
    head: Matrix,
    rotary: Rotary,
    context_tokens: usize,
}

impl Transformer {
    pub(crate) fn load(gguf: &mut Gguf) -> std::result::Result<Self, LoadError> {
        let family = match gguf.text("general.architecture")? {
            "qwen2" => qwen2::FAMILY,
            "llama" => llama::FAMILY,
            other => {
                return Err(LoadError::Malformed(format!("the architecture {other:?} is not known")));
            }
        };
        let key = |name: &str| format!("{}.{name}", family.prefix);
        let heads = gguf.count(&key("attention.head_count"))?.max(1);
        let shape = Shape {
            heads,
            key_heads: gguf.count(&key("attention.head_count_kv"))?.max(1),
            head_size: gguf.count(&key("embedding_length"))? / heads,
            epsilon: gguf.number(&key("attention.layer_norm_rms_epsilon"))?,
        };
        if shape.head_size == 0 || shape.head_size > MAX_HEAD_SIZE {
            return Err(LoadError::Malformed(format!("its heads have {} numbers", shape.head_size)));
        }
        let context_tokens = gguf.count(&key("context_length"))?.min(MAX_CONTEXT_TOKENS);
        let base = gguf.number(&key("rope.freq_base"))?;
        let count = gguf.count(&key("block_count"))?;
        let layers = (0..count)
            .map(|index| Layer::load(gguf, &family, shape, index))
            .collect::<std::result::Result<_, _>>()?;
        let embedding = Arc::new(gguf.quantized("token_embd.weight")?);
        // Small models use the embedding as their head too.
        let head = if gguf.has_tensor("output.weight") {
            gguf.matrix("output.weight")?
        } else {
            Matrix::new(Arc::clone(&embedding))?
        };
        Ok(Self {
            embedding,
            layers,
            norm: Norm::load(gguf, "output_norm.weight", shape.epsilon)?,
            head,
            rotary: Rotary::new(family.rotary, shape.head_size, base, context_tokens)?,
            context_tokens,
        })
    }

    /// Computes one token: a file whose parts do not fit together shows here, and not in the first request.
    pub(crate) fn try_out(&mut self) -> std::result::Result<(), LoadError> {
        self.forward(&[0], 0)
            .map_err(|error| LoadError::Malformed(format!("it does not compute: {error}")))?;
        self.reset();
        Ok(())
    }

    pub(crate) fn context_tokens(&self) -> usize {
        self.context_tokens
    }

    /// Forgets the conversation.
    pub(crate) fn reset(&mut self) {
        self.layers.iter_mut().for_each(|layer| layer.attention.reset());
    }

    /// Reads tokens that follow `position` earlier ones, and gives the scores of what comes next.
    pub(crate) fn forward(&mut self, tokens: &[u32], position: usize) -> Result<Tensor> {
        // Once for all, on a thread of the library: each of its operations would change to one by itself.
        with_threadpool(|| self.compute(tokens, position))
    }

    fn compute(&mut self, tokens: &[u32], position: usize) -> Result<Tensor> {
        let ids = Tensor::new(tokens, &Device::Cpu)?;
        let mut hidden = self.embedding.embedding(&ids)?;
        let rotation = self.rotary.at(position, tokens.len())?;
        let mask = attention::mask(tokens.len(), position)?;
        for layer in &mut self.layers {
            hidden = layer.forward(&hidden, &rotation, mask.as_ref())?;
        }
        let last = hidden.narrow(0, tokens.len() - 1, 1)?.contiguous()?;
        self.head.forward(&self.norm.forward(&last)?)?.squeeze(0)
    }
}

struct Layer {
    attention_norm: Norm,
    attention: Attention,
    feed_forward_norm: Norm,
    gate: Matrix,
    up: Matrix,
    down: Matrix,
}

impl Layer {
    fn load(
        gguf: &mut Gguf,
        family: &Family,
        shape: Shape,
        index: usize,
    ) -> std::result::Result<Self, LoadError> {
        let name = |part: &str| format!("blk.{index}.{part}");
        Ok(Self {
            attention_norm: Norm::load(gguf, &name("attn_norm.weight"), shape.epsilon)?,
            attention: Attention::load(gguf, family, shape, index)?,
            feed_forward_norm: Norm::load(gguf, &name("ffn_norm.weight"), shape.epsilon)?,
            gate: gguf.matrix(&name("ffn_gate.weight"))?,
            up: gguf.matrix(&name("ffn_up.weight"))?,
            down: gguf.matrix(&name("ffn_down.weight"))?,
        })
    }

    fn forward(
        &mut self,
        hidden: &Tensor,
        rotation: &rotary::Rotation,
        mask: Option<&Tensor>,
    ) -> Result<Tensor> {
        let attended = self.attention.forward(&self.attention_norm.forward(hidden)?, rotation, mask)?;
        let hidden = (hidden + attended)?;
        let normed = self.feed_forward_norm.forward(&hidden)?;
        let gated = (self.gate.forward(&normed)?.silu()? * self.up.forward(&normed)?)?;
        hidden + self.down.forward(&gated)?
    }
}

struct Norm {
    weight: Tensor,
    epsilon: f32,
}

impl Norm {
    fn load(gguf: &mut Gguf, name: &str, epsilon: f32) -> std::result::Result<Self, LoadError> {
        Ok(Self { weight: gguf.full(name)?, epsilon })
    }

    fn forward(&self, hidden: &Tensor) -> Result<Tensor> {
        candle_nn::ops::rms_norm(hidden, &self.weight, self.epsilon)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::tests::file;
    use candle_core::quantized::gguf_file::Value;

    /// Why a llama model whose hidden state has this many numbers, with two heads, cannot be loaded.
    fn refusal(embedding_length: u32) -> String {
        let metadata = [
            ("general.architecture", Value::String("llama".into())),
            ("llama.attention.head_count", Value::U32(2)),
            ("llama.attention.head_count_kv", Value::U32(2)),
            ("llama.embedding_length", Value::U32(embedding_length)),
            ("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
            ("llama.context_length", Value::U32(64)),
            ("llama.rope.freq_base", Value::F32(10_000.0)),
            ("llama.block_count", Value::U32(0)),
        ];
        let refused = Transformer::load(&mut file(&metadata, |_| {}));
        refused.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_head_of_no_or_too_many_numbers_is_refused() {
        assert!(refusal(0).contains("its heads have 0 numbers"));
        assert!(refusal(1 << 30).contains("its heads have 536870912 numbers"));
        let next = refusal(2048);
        assert!(!next.contains("heads"), "1024 numbers are allowed: {next}");
    }
}
