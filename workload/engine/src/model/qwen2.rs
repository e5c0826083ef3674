//! Qwen 2 and 2.5: biases on query, key and value; the first half of a head is turned with the second.

use super::Family;
use super::rotary::Style;

pub(super) const FAMILY: Family = Family { prefix: "qwen2", rotary: Style::Halves, has_bias: true };
