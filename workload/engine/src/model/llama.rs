//! Llama and what is built like it, such as SmolLM2: no biases. GGUF stores its heads permuted so that
//! neighbours are turned together.

use super::Family;
use super::rotary::Style;

pub(super) const FAMILY: Family = Family { prefix: "llama", rotary: Style::Neighbours, has_bias: false };
