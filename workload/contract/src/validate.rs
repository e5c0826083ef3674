//! The rules of a policy that types cannot state, each with its limit.

use crate::policy::{Backend, BackendKind, Policy, Synthesis, Timeouts};
use std::collections::HashSet;

/// Most backends of one policy.
const MAX_BACKENDS: usize = 64;
/// Most models of one backend.
const MAX_MODELS: usize = 256;
/// Most voices of one policy.
const MAX_VOICES: usize = 64;
/// Most voices that answer one request.
pub(crate) const MAX_VOICES_PER_REQUEST: usize = 5;
/// Longest name, bytes.
const MAX_NAME_BYTES: usize = 253;
/// Longest prompt of a voice, bytes.
const MAX_PROMPT_BYTES: usize = 16 * 1024;
/// Longest phase of a request, milliseconds (one hour).
const MAX_TIMEOUT_MS: u64 = 3_600_000;
/// Shortest and longest life of an access token, seconds (one minute, one day).
const ACCESS_TOKEN_SECONDS: std::ops::RangeInclusive<u32> = 60..=86_400;
/// Most tokens that one voice may write.
const MAX_TOKENS_PER_VOICE: u32 = 32_768;
/// Hottest temperature, hundredths.
const MAX_TEMPERATURE_PERCENT: u16 = 200;

/// A value that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct Invalid {
    /// Where in the policy, such as `backends[1].models`.
    pub path: String,
    /// What is wrong, with the limit.
    pub problem: String,
}

type Checked = Result<(), Invalid>;

impl Policy {
    /// Checks every rule; the first one broken is reported.
    pub fn validate(&self) -> Checked {
        let seconds = self.identity.access_token_seconds;
        check(ACCESS_TOKEN_SECONDS.contains(&seconds), "identity.accessTokenSeconds", || {
            format!("{seconds} is outside 60 to 86400 seconds")
        })?;
        name("identity.issuer", &self.identity.issuer)?;
        name("identity.audience", &self.identity.audience)?;
        backends(&self.backends)?;
        self.synthesis.validate()
    }
}

fn backends(backends: &[Backend]) -> Checked {
    count("backends", backends.len(), MAX_BACKENDS)?;
    let (mut names, mut models) = (HashSet::new(), HashSet::new());
    for (index, backend) in backends.iter().enumerate() {
        let path = format!("backends[{index}]");
        name(&format!("{path}.name"), &backend.name)?;
        // The name is a file name too.
        check(
            !backend.name.contains('/') && !backend.name.starts_with('.'),
            &format!("{path}.name"),
            || format!("{:?} is not a plain file name", backend.name),
        )?;
        check(names.insert(&backend.name), &format!("{path}.name"), || {
            format!("{:?} occurs twice", backend.name)
        })?;
        kind(&path, &backend.kind)?;
        timeouts(&path, &backend.timeouts)?;
        count(&format!("{path}.models"), backend.models.len(), MAX_MODELS)?;
        for (index, model) in backend.models.iter().enumerate() {
            let path = format!("{path}.models[{index}]");
            name(&format!("{path}.name"), &model.name)?;
            name(&format!("{path}.alias"), model.public_name())?;
            check(models.insert(model.public_name()), &path, || {
                format!("the model {:?} is already served by an earlier entry", model.public_name())
            })?;
        }
    }
    Ok(())
}

fn kind(path: &str, kind: &BackendKind) -> Checked {
    match kind {
        BackendKind::Remote(remote) => {
            let host = remote.url.strip_prefix("http://").or_else(|| remote.url.strip_prefix("https://"));
            let is_url = host.is_some_and(|rest| {
                !rest.is_empty()
                    && !rest.starts_with('/')
                    && !rest.contains(|c: char| c.is_whitespace() || "?#@".contains(c))
            });
            check(is_url, &format!("{path}.kind.remote.url"), || {
                "is not an http or https URL without query, fragment and credentials".into()
            })
        }
        BackendKind::Embedded(embedded) => {
            check(embedded.path.starts_with('/'), &format!("{path}.kind.embedded.path"), || {
                format!("{:?} is not absolute", embedded.path)
            })?;
            let is_hash = embedded.sha256.len() == 64
                && embedded.sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            check(is_hash, &format!("{path}.kind.embedded.sha256"), || {
                "is not 64 lower-case hexadecimal digits".into()
            })
        }
    }
}

fn timeouts(path: &str, timeouts: &Timeouts) -> Checked {
    let Timeouts { connect_ms, first_byte_ms, idle_ms, total_ms } = *timeouts;
    let phases = [
        ("connectMs", connect_ms),
        ("firstByteMs", first_byte_ms),
        ("idleMs", idle_ms),
        ("totalMs", total_ms),
    ];
    for (field, value) in phases {
        check((1..=MAX_TIMEOUT_MS).contains(&value), &format!("{path}.timeouts.{field}"), || {
            format!("{value} is outside 1 to {MAX_TIMEOUT_MS} milliseconds")
        })?;
    }
    Ok(())
}

impl Synthesis {
    fn validate(&self) -> Checked {
        count("synthesis.voices", self.voices.len(), MAX_VOICES)?;
        let mut names = HashSet::new();
        for (index, voice) in self.voices.iter().enumerate() {
            let path = format!("synthesis.voices[{index}]");
            name(&format!("{path}.name"), &voice.name)?;
            check(names.insert(voice.name.as_str()), &format!("{path}.name"), || {
                format!("{:?} occurs twice", voice.name)
            })?;
            check(voice.prompt.len() <= MAX_PROMPT_BYTES, &format!("{path}.prompt"), || {
                format!("has {} bytes, more than {MAX_PROMPT_BYTES} bytes", voice.prompt.len())
            })?;
            check(
                voice.temperature_percent <= MAX_TEMPERATURE_PERCENT,
                &format!("{path}.temperaturePercent"),
                || format!("{} is more than {MAX_TEMPERATURE_PERCENT}", voice.temperature_percent),
            )?;
        }
        count("synthesis.defaultVoices", self.default_voices.len(), MAX_VOICES_PER_REQUEST)?;
        for (index, voice) in self.default_voices.iter().enumerate() {
            check(names.contains(voice.as_str()), &format!("synthesis.defaultVoices[{index}]"), || {
                format!("there is no voice {voice:?}")
            })?;
        }
        check(
            (1..=MAX_TOKENS_PER_VOICE).contains(&self.max_tokens_per_voice),
            "synthesis.maxTokensPerVoice",
            || format!("{} is outside 1 to {MAX_TOKENS_PER_VOICE}", self.max_tokens_per_voice),
        )
    }
}

fn name(path: &str, name: &str) -> Checked {
    check(!name.is_empty() && name.len() <= MAX_NAME_BYTES, path, || {
        format!("has {} bytes, outside 1 to {MAX_NAME_BYTES} bytes", name.len())
    })?;
    check(!name.chars().any(char::is_control), path, || "has a control character".into())
}

fn count(path: &str, count: usize, limit: usize) -> Checked {
    check((1..=limit).contains(&count), path, || format!("has {count} entries, outside 1 to {limit}"))
}

fn check(holds: bool, path: &str, problem: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(Invalid { path: path.to_owned(), problem: problem() }) }
}

#[cfg(test)]
pub(crate) mod tests {
    use crate::policy::*;
    use crate::voices;

    pub(crate) fn sample_policy() -> Policy {
        Policy {
            identity: Identity {
                issuer: "http://demo".into(),
                audience: "demo".into(),
                access_token_seconds: 900,
            },
            observability: Observability { log_level: LogLevel::Info },
            backends: vec![Backend {
                name: "local".into(),
                kind: BackendKind::Remote(Remote { url: "http://localhost:1".into(), has_credential: false }),
                models: vec![Model { name: "m".into(), alias: None }],
                timeouts: Timeouts { connect_ms: 1, first_byte_ms: 1, idle_ms: 1, total_ms: 1 },
            }],
            synthesis: Synthesis {
                voices: voices::built_in(),
                default_voices: voices::DEFAULT.map(str::to_owned).to_vec(),
                default_mode: Mode::Competitive,
                max_tokens_per_voice: 512,
            },
        }
    }

    fn path_of(change: impl FnOnce(&mut Policy)) -> String {
        let mut policy = sample_policy();
        change(&mut policy);
        policy.validate().unwrap_err().path
    }

    #[test]
    fn the_sample_is_valid() {
        sample_policy().validate().unwrap();
    }

    #[test]
    fn every_broken_rule_is_reported_at_its_path() {
        assert_eq!(path_of(|p| p.identity.access_token_seconds = 59), "identity.accessTokenSeconds");
        assert_eq!(path_of(|p| p.identity.issuer = String::new()), "identity.issuer");
        assert_eq!(path_of(|p| p.backends.clear()), "backends");
        assert_eq!(path_of(|p| p.backends.push(p.backends[0].clone())), "backends[1].name");
        assert_eq!(path_of(|p| p.backends[0].name = "../x".into()), "backends[0].name");
        assert_eq!(path_of(|p| p.backends[0].models.clear()), "backends[0].models");
        assert_eq!(path_of(|p| p.backends[0].timeouts.idle_ms = 0), "backends[0].timeouts.idleMs");
        assert_eq!(path_of(|p| p.synthesis.voices.clear()), "synthesis.voices");
        assert_eq!(
            path_of(|p| p.synthesis.default_voices.push("nobody".into())),
            "synthesis.defaultVoices[3]"
        );
        assert_eq!(path_of(|p| p.synthesis.max_tokens_per_voice = 0), "synthesis.maxTokensPerVoice");
        assert_eq!(
            path_of(|p| p.synthesis.voices[2].temperature_percent = 201),
            "synthesis.voices[2].temperaturePercent"
        );
    }

    #[test]
    fn two_backends_cannot_serve_one_model_name() {
        let path = path_of(|p| {
            let mut second = p.backends[0].clone();
            second.name = "second".into();
            p.backends.push(second);
        });
        assert_eq!(path, "backends[1].models[0]");
    }

    #[test]
    fn urls_of_other_schemes_or_with_credentials_are_refused() {
        for url in [
            "ftp://x",
            "http://",
            "http:///x",
            "http://a b",
            "http://user@host",
            "http://h?q=1",
            "file:///etc",
        ] {
            let remote = BackendKind::Remote(Remote { url: url.into(), has_credential: false });
            assert_eq!(path_of(|p| p.backends[0].kind = remote), "backends[0].kind.remote.url", "{url}");
        }
    }

    #[test]
    fn a_model_file_needs_an_absolute_path_and_a_whole_hash() {
        let file = |path: &str, sha256: &str| {
            BackendKind::Embedded(Embedded { path: path.into(), sha256: sha256.into() })
        };
        let hash = "0".repeat(64);
        assert_eq!(path_of(|p| p.backends[0].kind = file("m.gguf", &hash)), "backends[0].kind.embedded.path");
        assert_eq!(
            path_of(|p| p.backends[0].kind = file("/m.gguf", "00")),
            "backends[0].kind.embedded.sha256"
        );
    }
}
