//! How several voices answer together.

use serde::{Deserialize, Serialize};

/// How several voices answer together.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Synthesis {
    /// Voices that are added to the built-in ones (explorer, maintainer, analyzer, developer, implementor, security,
    /// architect, designer, optimizer), or replace the one of the same name.
    #[schemars(length(max = 32))]
    pub voices: Vec<Voice>,
    /// Voices of a request that names none; at most five.
    #[schemars(length(min = 1, max = 5), inner(length(min = 1, max = 63)))]
    pub default_voices: Vec<String>,
    /// Mode of a request that names none.
    pub default_mode: SynthesisMode,
    /// Tokens that one voice may write.
    #[schemars(range(min = 1, max = 32768))]
    pub max_tokens_per_voice: i32,
}

impl Default for Synthesis {
    fn default() -> Self {
        Self {
            voices: Vec::new(),
            default_voices: ["developer", "maintainer", "security"].map(str::to_owned).to_vec(),
            default_mode: SynthesisMode::Competitive,
            max_tokens_per_voice: 1024,
        }
    }
}

/// One way of answering.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Voice {
    /// Name; that of a built-in voice replaces it.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Sampling temperature in hundredths (90 is 0.9).
    #[schemars(range(min = 0, max = 200))]
    pub temperature_percent: i32,
    /// System prompt.
    #[schemars(length(min = 1, max = 16384))]
    pub prompt: String,
}

/// How the voices' answers become one.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, schemars::JsonSchema)]
pub enum SynthesisMode {
    /// The candidate with the best evidence wins.
    Competitive,
}
