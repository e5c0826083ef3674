//! Text to tokens and back.

use crate::LoadError;
use crate::chat::{Part, Turn, prompt};
use crate::error::EngineError;
use crate::gguf::Gguf;
use candle_core::quantized::tokenizer::TokenizerFromGguf as _;
use std::collections::HashSet;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;

/// Names of tokens that end an answer, in any family.
const END_TOKENS: [&str; 4] = ["<|im_end|>", "<|endoftext|>", "</s>", "<|eot_id|>"];

/// A model's vocabulary.
pub(crate) struct Tokenizer {
    inner: tokenizers::Tokenizer,
    start: u32,
    end: u32,
    ends: HashSet<u32>,
    /// Bytes of the longest token.
    longest_bytes: usize,
}

impl Tokenizer {
    pub(crate) fn load(gguf: &Gguf) -> Result<Self, LoadError> {
        let mut inner = tokenizers::Tokenizer::from_gguf(&gguf.content)?;
        if gguf.text("tokenizer.ggml.pre")? == "smollm" {
            // The reader takes an unknown splitter for GPT-2's with a space put in front of each piece.
            let pieces = vec![Digits::new(true).into(), ByteLevel::new(false, true, true).into()];
            inner.with_pre_tokenizer(Some(Sequence::new(pieces)));
        }
        // Marks that a user writes are text, never marks.
        inner.set_encode_special_tokens(true);
        let names = gguf.texts("tokenizer.ggml.tokens")?;
        let id = |name: &str| {
            let found = names.iter().position(|known| known == name).and_then(|id| u32::try_from(id).ok());
            found.ok_or_else(|| LoadError::Malformed(format!("its vocabulary has no {name}")))
        };
        let mut ends: HashSet<u32> = END_TOKENS.iter().filter_map(|name| id(name).ok()).collect();
        ends.extend(gguf.count("tokenizer.ggml.eos_token_id").ok().and_then(|id| u32::try_from(id).ok()));
        // In the vocabulary, each character stands for one byte.
        let longest_bytes = names.iter().map(|name| name.chars().count()).max().unwrap_or(1);
        Ok(Self { start: id("<|im_start|>")?, end: id("<|im_end|>")?, ends, longest_bytes, inner })
    }

    /// The least number of tokens that so many bytes can have.
    pub(crate) fn least_tokens(&self, bytes: usize) -> usize {
        bytes / self.longest_bytes.max(1)
    }

    /// The tokens of a conversation and the beginning of its answer.
    pub(crate) fn prompt(&self, turns: &[Turn]) -> Result<Vec<u32>, EngineError> {
        let mut tokens = Vec::new();
        for part in prompt(turns) {
            match part {
                Part::Start => tokens.push(self.start),
                Part::End => tokens.push(self.end),
                Part::Text(text) => {
                    let encoded = self.inner.encode_fast(text, false);
                    tokens.extend(
                        encoded.map_err(|error| EngineError::Inference(error.to_string()))?.get_ids(),
                    );
                }
            }
        }
        Ok(tokens)
    }

    /// Whether a token ends the answer.
    pub(crate) fn is_end(&self, token: u32) -> bool {
        self.ends.contains(&token)
    }

    /// Turns tokens into text one by one; half a character is held back until it is whole.
    pub(crate) fn decoder(&self) -> impl FnMut(u32) -> Result<String, EngineError> + '_ {
        let mut stream = self.inner.decode_stream(true);
        move |token| {
            let text = stream.step(token).map_err(|error| EngineError::Inference(error.to_string()))?;
            Ok(text.unwrap_or_default())
        }
    }
}
