//! What the embedded engine honours of a chat, which knows one model, text only, and calls no tools.

use super::{Chat, Message, Part, Role, Sampling, ToolChoice};
use crate::request_error::RequestError;

/// Tokens written when the client sets no limit.
const DEFAULT_MAX_TOKENS: u64 = 1024;
/// Most tokens that a client may ask for.
const MAX_TOKENS: u64 = 32_768;
/// Most stop texts (OpenAI's own limit).
const MAX_STOP_TEXTS: usize = 4;
/// Longest stop text, bytes.
const MAX_STOP_BYTES: usize = 256;
/// OpenAI's default temperature.
const DEFAULT_TEMPERATURE: f64 = 1.0;
/// OpenAI's hottest temperature.
const MAX_TEMPERATURE: f64 = 2.0;

/// What to ask the engine.
#[derive(Clone, Debug)]
pub struct EngineRequest {
    /// The conversation.
    pub turns: Vec<EngineTurn>,
    /// Most tokens to write.
    pub max_tokens: usize,
    /// Sampling temperature; zero always takes the likeliest token.
    pub temperature: f64,
    /// Share of probability that is sampled from, above zero and at most one.
    pub top_p: f64,
    /// Seed of the sampler, where the client wants the same answer again.
    pub seed: Option<u64>,
    /// Texts that end the answer.
    pub stop: Vec<String>,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineTurn {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// A chat as the engine takes it.
pub fn request(chat: &Chat) -> Result<EngineRequest, RequestError> {
    let Sampling { temperature, top_p, seed, stop, .. } = &chat.sampling;
    let max_tokens = chat.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS);
    in_range(chat.names.max_tokens, max_tokens, 1, MAX_TOKENS)?;
    let temperature = temperature.unwrap_or(DEFAULT_TEMPERATURE);
    in_range("temperature", temperature, 0.0, MAX_TEMPERATURE)?;
    let top_p = top_p.unwrap_or(1.0);
    in_range("top_p", top_p, f64::MIN_POSITIVE, 1.0)?;
    let seed = seed.map(|seed| {
        u64::try_from(seed).map_err(|_| RequestError::at("seed", "seed is negative, but must be at least 0"))
    });
    if stop.len() > MAX_STOP_TEXTS || !stop.iter().all(|text| (1..=MAX_STOP_BYTES).contains(&text.len())) {
        return Err(RequestError::at(
            "stop",
            format!("stop must be at most {MAX_STOP_TEXTS} texts of 1 to {MAX_STOP_BYTES} bytes"),
        ));
    }
    if chat.format.is_some() {
        let format = chat.names.format;
        let problem = format!("the embedded model writes what it will: {format} must be text");
        return Err(RequestError::at(format, problem));
    }
    if matches!(chat.tool_choice, Some(ToolChoice::Any | ToolChoice::Named(_))) {
        let problem = "the embedded model calls no tools: tool_choice must be auto or none";
        return Err(RequestError::at("tool_choice", problem));
    }
    let turns = chat.messages.iter().map(turn);
    Ok(EngineRequest {
        turns: turns.collect::<Result<_, _>>()?,
        // It is within the limit.
        max_tokens: usize::try_from(max_tokens).unwrap_or(usize::MAX),
        temperature,
        top_p,
        seed: seed.transpose()?,
        stop: stop.clone(),
    })
}

fn in_range<T: PartialOrd + std::fmt::Display>(
    parameter: &str,
    value: T,
    least: T,
    most: T,
) -> Result<(), RequestError> {
    if value >= least && value <= most {
        return Ok(());
    }
    Err(RequestError::at(
        parameter,
        format!("{parameter} is {value}, but must be at least {least} and at most {most}"),
    ))
}

fn turn(message: &Message) -> Result<EngineTurn, RequestError> {
    let mut content = String::new();
    for part in &message.parts {
        let what = match part {
            Part::Text(text) => {
                content.push_str(text);
                continue;
            }
            Part::Image(_) => "pictures",
            Part::Call(_) => "calls of tools",
            Part::Result { .. } => "what tools give back",
        };
        let problem = format!("the embedded model reads text only, not {what}");
        return Err(RequestError::at(format!("{}.content", message.at), problem));
    }
    Ok(EngineTurn { role: message.role, content })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialects::openai;

    fn read(content: &str, fields: &str) -> Result<EngineRequest, RequestError> {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":{content}}}]{fields}}}"#);
        request(&openai::read_request(body.as_bytes())?)
    }

    #[test]
    fn values_out_of_range_are_named_with_the_limit() {
        for (fields, parameter, limit) in [
            (r#","max_tokens":0"#, "max_tokens", "32768"),
            (r#","temperature":2.5"#, "temperature", "2"),
            (r#","top_p":0.0"#, "top_p", "1"),
            (r#","seed":-1"#, "seed", "0"),
            (r#","stop":["a","b","c","d","e"]"#, "stop", "4"),
            (r#","response_format":{"type":"json_object"}"#, "response_format", "text"),
            (r#","tools":[],"tool_choice":"required""#, "tool_choice", "auto"),
        ] {
            let error = read(r#""hi""#, fields).unwrap_err();
            assert_eq!(error.parameter.as_deref(), Some(parameter));
            assert!(error.message.contains(limit), "{}", error.message);
        }
        assert_eq!(read(r#""hi""#, "").unwrap().max_tokens, 1024);
    }

    #[test]
    fn texts_are_joined_and_pictures_refused() {
        let texts = r#"[{"type":"text","text":"a"},{"type":"text","text":"b"}]"#;
        assert_eq!(read(texts, "").unwrap().turns[0].content, "ab");
        let picture = r#"[{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}]"#;
        assert_eq!(read(picture, "").unwrap_err().parameter.as_deref(), Some("messages[0].content"));
    }
}
