//! OpenAI's chat documents for models that do not speak them: the embedded ones.

use crate::backend::{CompletionRequest, Finish, Role, Turn};
use crate::request_error::RequestError;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

/// Tokens written when the client sets no limit.
const DEFAULT_MAX_TOKENS: usize = 1024;
/// Most tokens that a client may ask for.
const MAX_TOKENS: usize = 32_768;
/// Most stop texts (OpenAI's own limit).
const MAX_STOP_TEXTS: usize = 4;
/// Longest stop text, bytes.
const MAX_STOP_BYTES: usize = 256;
/// OpenAI's default temperature.
const DEFAULT_TEMPERATURE: f64 = 1.0;
/// OpenAI's hottest temperature.
const MAX_TEMPERATURE: f64 = 2.0;

#[derive(Deserialize)]
struct Document {
    messages: Vec<Message>,
    max_tokens: Option<usize>,
    max_completion_tokens: Option<usize>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    seed: Option<u64>,
    stop: Option<OneOrMany>,
    stream_options: Option<StreamOptions>,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    content: Option<Content>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// Reads what the embedded engine honours, which knows one model and no names. The flag says whether a stream is to end with the usage.
pub fn parse_for_embedded(body: &[u8]) -> Result<(CompletionRequest, bool), RequestError> {
    let document: Document = serde_json::from_slice(body)
        .map_err(|error| RequestError::body(format!("the body is not a valid JSON request: {error}")))?;
    let max_tokens = document.max_completion_tokens.or(document.max_tokens).unwrap_or(DEFAULT_MAX_TOKENS);
    in_range("max_tokens", max_tokens, 1, MAX_TOKENS)?;
    let temperature = document.temperature.unwrap_or(DEFAULT_TEMPERATURE);
    in_range("temperature", temperature, 0.0, MAX_TEMPERATURE)?;
    let top_p = document.top_p.unwrap_or(1.0);
    in_range("top_p", top_p, f64::MIN_POSITIVE, 1.0)?;
    let stop = match document.stop {
        None => Vec::new(),
        Some(OneOrMany::One(text)) => vec![text],
        Some(OneOrMany::Many(texts)) => texts,
    };
    if stop.len() > MAX_STOP_TEXTS || !stop.iter().all(|text| (1..=MAX_STOP_BYTES).contains(&text.len())) {
        return Err(RequestError::at(
            "stop",
            format!("stop must be at most {MAX_STOP_TEXTS} texts of 1 to {MAX_STOP_BYTES} bytes"),
        ));
    }
    let turns = document
        .messages
        .into_iter()
        .enumerate()
        .map(|(index, message)| turn(index, message))
        .collect::<Result<_, _>>()?;
    let request = CompletionRequest {
        model: String::new(),
        turns,
        max_tokens,
        temperature,
        top_p,
        seed: document.seed,
        stop,
    };
    Ok((request, document.stream_options.is_some_and(|options| options.include_usage)))
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

fn turn(index: usize, message: Message) -> Result<Turn, RequestError> {
    let role = match message.role.as_str() {
        "system" | "developer" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        other => {
            let parameter = format!("messages[{index}].role");
            return Err(RequestError::at(
                parameter,
                format!("the embedded model does not know the role {other:?}"),
            ));
        }
    };
    let content = match message.content {
        None => String::new(),
        Some(Content::Text(text)) => text,
        Some(Content::Parts(parts)) => text_of(index, parts)?,
    };
    Ok(Turn { role, content })
}

fn text_of(index: usize, parts: Vec<Part>) -> Result<String, RequestError> {
    let unknown = |kind: &str| {
        let parameter = format!("messages[{index}].content");
        RequestError::at(parameter, format!("the embedded model reads text only, not {kind:?}"))
    };
    parts
        .into_iter()
        .map(|part| part.text.filter(|_| part.kind == "text").ok_or_else(|| unknown(&part.kind)))
        .collect()
}

/// A whole answer.
pub fn whole_answer(id: &str, created: u64, model: &str, text: &str, finish: &Finish) -> Value {
    json!({
        "id": id, "object": "chat.completion", "created": created, "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text, "refusal": null},
            "logprobs": null, "finish_reason": finish.reason}],
        "usage": usage(finish),
    })
}

fn usage(finish: &Finish) -> Value {
    let (prompt, completion) = (finish.prompt_tokens, finish.completion_tokens);
    json!({"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion})
}

/// Writes the events of one streamed answer.
pub struct ChunkWriter {
    id: String,
    created: u64,
    model: String,
    include_usage: bool,
}

impl ChunkWriter {
    /// A writer for one answer.
    pub fn new(id: String, created: u64, model: String, include_usage: bool) -> Self {
        Self { id, created, model, include_usage }
    }

    /// The event that names the speaker.
    pub fn start(&self) -> Bytes {
        self.choice(&json!({"role": "assistant", "content": ""}), &Value::Null)
    }

    /// More text.
    pub fn text(&self, text: &str) -> Bytes {
        self.choice(&json!({"content": text}), &Value::Null)
    }

    /// The last events and the end mark.
    pub fn end(&self, finish: &Finish) -> Bytes {
        let mut events = self.choice(&json!({}), &json!(finish.reason)).to_vec();
        if self.include_usage {
            let mut chunk = self.chunk(&json!([]));
            chunk["usage"] = usage(finish);
            events.extend_from_slice(&event(&chunk));
        }
        events.extend_from_slice(b"data: [DONE]\n\n");
        events.into()
    }

    fn choice(&self, delta: &Value, finish_reason: &Value) -> Bytes {
        event(
            &self.chunk(
                &json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason}]),
            ),
        )
    }

    fn chunk(&self, choices: &Value) -> Value {
        json!({"id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model, "choices": choices})
    }
}

fn event(value: &Value) -> Bytes {
    format!("data: {value}\n\n").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(fields: &str) -> Result<CompletionRequest, RequestError> {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}]{fields}}}"#);
        parse_for_embedded(body.as_bytes()).map(|(request, _)| request)
    }

    #[test]
    fn the_newer_name_of_the_token_limit_wins() {
        assert_eq!(parse(r#","max_tokens":5,"max_completion_tokens":7"#).unwrap().max_tokens, 7);
        assert_eq!(parse("").unwrap().max_tokens, DEFAULT_MAX_TOKENS);
    }

    #[test]
    fn values_out_of_range_are_named_with_the_limit() {
        for (fields, parameter, limit) in [
            (r#","max_tokens":0"#, "max_tokens", "32768"),
            (r#","temperature":2.5"#, "temperature", "2"),
            (r#","top_p":0.0"#, "top_p", "1"),
            (r#","stop":["a","b","c","d","e"]"#, "stop", "4"),
        ] {
            let error = parse(fields).unwrap_err();
            assert_eq!(error.parameter.as_deref(), Some(parameter));
            assert!(error.message.contains(limit), "{}", error.message);
        }
    }

    #[test]
    fn content_in_parts_is_joined_and_pictures_are_refused() {
        let body = |part: &str| {
            format!(r#"{{"messages":[{{"role":"user","content":[{{"type":"text","text":"a"}},{part}]}}]}}"#)
        };
        let (request, _) = parse_for_embedded(body(r#"{"type":"text","text":"b"}"#).as_bytes()).unwrap();
        assert_eq!(request.turns[0].content, "ab");
        let error = parse_for_embedded(body(r#"{"type":"image_url"}"#).as_bytes()).unwrap_err();
        assert_eq!(error.parameter.as_deref(), Some("messages[0].content"));
    }
}
