//! Reads from a request's bytes only what routing and validation need, and leaves them as they are.

use super::answer_size::AnswerSize;
use super::message_list;
use super::refused;
use crate::backend::Endpoint;
use crate::dialects::{Chat, anthropic, openai, responses};
use crate::json::{Json, Read, is_spelling_of};
use crate::limits::estimated_tokens;
use crate::request_error::RequestError;
use crate::routing::{Affinity, Effort};
use bytes::{Bytes, BytesMut};
use std::ops::Range;

/// A request whose shape is known to be right.
#[derive(Debug)]
pub struct ModelRequest {
    /// What is asked for.
    pub endpoint: Endpoint,
    /// The model that is asked for.
    pub model: String,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Whether it asks for the same answer each time: an embedding, or a text with a temperature of 0 or a seed.
    pub is_deterministic: bool,
    /// How much a model is to think, if the client says.
    pub effort: Option<Effort>,
    /// Whether the client says how long an answer may be.
    pub has_answer_limit: bool,
    /// Tokens that its answers may be.
    answer_tokens: u64,
    body: Bytes,
    model_value: Range<usize>,
    /// How the prompt begins; nothing where there is none, or no model reads it from its beginning on.
    beginning: Range<usize>,
}

/// How much of a prompt that is no chat is its beginning, bytes.
const BEGINNING_BYTES: usize = 1024;

/// What a request takes in memory that is read as a chat: so many times its bytes, and so many bytes for each object in it.
const READ_TIMES: usize = 4;
const OBJECT_BYTES: usize = 320;

/// Names of the fields that we look at.
const PEEKED_FIELDS: [&str; 5] = ["model", "stream", "messages", "input", "tools"];

/// The fields that we look at, as they are written.
#[derive(Default)]
struct Peeked<'a> {
    /// And where it begins, bytes.
    model: Option<(&'a str, usize)>,
    stream: Option<&'a str>,
    has_messages: bool,
    input: Option<&'a str>,
    tools: Option<&'a str>,
    temperature: Option<&'a str>,
    seed: Option<&'a str>,
    size: AnswerSize,
    has_max_tokens: bool,
    has_system: bool,
    effort: Option<Effort>,
    /// Of the prompt.
    beginning: Range<usize>,
    /// A field that leads to what a backend keeps, where it says something.
    kept: Option<&'static str>,
}

impl<'a> Peeked<'a> {
    fn is_deterministic(&self, endpoint: Endpoint) -> bool {
        let is_cold = |temperature: &str| temperature.parse() == Ok(0.0);
        // To some servers a negative one means that there is none.
        let is_seeded = |seed: &str| seed.parse::<u64>().is_ok();
        endpoint == Endpoint::Embeddings
            || self.temperature.is_some_and(is_cold)
            || self.seed.is_some_and(is_seeded)
    }

    fn read(endpoint: Endpoint, text: &'a str) -> Read<Self> {
        let (mut peeked, mut json) = (Self::default(), Json::new(text));
        json.object(|json, key| peeked.take(endpoint, &key, json))?;
        json.end()?;
        Ok(peeked)
    }

    /// Another spelling of a field that we look at is refused: some servers ignore case, and would take it
    /// for the field.
    fn take(&mut self, endpoint: Endpoint, key: &str, json: &mut Json<'a>) -> Read<()> {
        let is_known = match key {
            "model" => {
                let start = json.position();
                self.model.replace((json.value()?, start)).is_some()
            }
            "stream" => self.stream.replace(json.value()?).is_some(),
            "messages" if matches!(endpoint, Endpoint::ChatCompletions | Endpoint::Messages) => {
                let inside = match endpoint {
                    Endpoint::Messages => refused::content,
                    _ => message_list::any_content,
                };
                self.beginning = message_list::read(json, inside)?;
                std::mem::replace(&mut self.has_messages, true)
            }
            "messages" => {
                json.value()?;
                std::mem::replace(&mut self.has_messages, true)
            }
            "system" if endpoint == Endpoint::Messages => {
                refused::content(json, &|| "system".to_owned())?;
                std::mem::replace(&mut self.has_system, true)
            }
            "input" => {
                let start = json.position();
                let value = json.value()?;
                if endpoint == Endpoint::Responses {
                    self.beginning = start..start + value.len().min(BEGINNING_BYTES);
                }
                self.input.replace(value).is_some()
            }
            "tools" => self.tools.replace(json.value()?).is_some(),
            _ => return self.take_other(endpoint, key, json),
        };
        if is_known { Err(RequestError::body(format!("the field {key} occurs twice"))) } else { Ok(()) }
    }

    fn take_other(&mut self, endpoint: Endpoint, key: &str, json: &mut Json<'a>) -> Read<()> {
        let is_system = endpoint == Endpoint::Messages && is_spelling_of(key, "system");
        if is_system || PEEKED_FIELDS.iter().any(|field| is_spelling_of(key, field)) {
            return Err(RequestError::body(format!("the field {key} must be in lower case")));
        }
        let start = json.position();
        let value = json.value()?;
        if key == "prompt" && endpoint == Endpoint::Completions {
            self.beginning = start..start + value.len().min(BEGINNING_BYTES);
        }
        if let Some(field) = refused::fields(endpoint).iter().find(|field| is_spelling_of(key, field))
            && !matches!(value, "null" | "false")
        {
            self.kept = Some(field);
        }
        self.has_max_tokens |= key == "max_tokens";
        match key {
            "temperature" => self.temperature = Some(value),
            "seed" => self.seed = Some(value),
            "reasoning_effort" | "thinking" => self.effort = effort(value),
            key if self.size.is_told_by(key) => self.size.hear(key, value),
            _ => {}
        }
        Ok(())
    }
}

/// Of OpenAI's `reasoning_effort` or Anthropic's `thinking`, as it is written.
fn effort(value: &str) -> Option<Effort> {
    match value {
        "\"none\"" | "\"minimal\"" | "\"low\"" => Some(Effort::Little),
        "\"high\"" | "\"xhigh\"" => Some(Effort::Much),
        thinking if thinking.starts_with('{') && thinking.contains("enabled") => Some(Effort::Much),
        _ => None,
    }
}

impl ModelRequest {
    /// Checks a body. Fields that are not ours to know pass unseen.
    pub fn parse(endpoint: Endpoint, body: Bytes) -> Result<Self, RequestError> {
        let text = simdutf8::basic::from_utf8(&body)
            .map_err(|_| RequestError::body("the body is not valid UTF-8"))?;
        let peeked = Peeked::read(endpoint, text)?;
        let (model_json, start) =
            peeked.model.ok_or_else(|| RequestError::at("model", "model is required"))?;
        let model: String = serde_json::from_str(model_json)
            .map_err(|_| RequestError::at("model", "model must be a string"))?;
        let stream = match peeked.stream {
            None | Some("null" | "false") => false,
            Some("true") => true,
            Some(_) => return Err(RequestError::at("stream", "stream must be a boolean")),
        };
        match endpoint {
            Endpoint::ChatCompletions | Endpoint::Messages if !peeked.has_messages => {
                return Err(RequestError::at("messages", "messages is required"));
            }
            Endpoint::Embeddings if peeked.input.is_none() => {
                return Err(RequestError::at("input", "input is required"));
            }
            Endpoint::Messages if !peeked.has_max_tokens => {
                return Err(RequestError::at("max_tokens", "max_tokens is required"));
            }
            _ => {}
        }
        refused::check(endpoint, peeked.kept, peeked.tools, peeked.input)?;
        let answer_tokens = match endpoint {
            Endpoint::Embeddings => 0,
            _ => peeked.size.tokens(endpoint),
        };
        let model_value = start..start + model_json.len();
        let is_deterministic = peeked.is_deterministic(endpoint);
        let Peeked { effort, ref beginning, .. } = peeked;
        let beginning = beginning.clone();
        Ok(Self {
            endpoint,
            model,
            stream,
            is_deterministic,
            effort,
            has_answer_limit: peeked.size.is_limited(),
            answer_tokens,
            body,
            model_value,
            beginning,
        })
    }

    /// The body for a backend that knows the model by `name`: the same bytes unless the name differs.
    pub fn body_for(&self, name: &str) -> Bytes {
        if name == self.model {
            return self.body.clone();
        }
        let name = serde_json::Value::from(name).to_string();
        let mut body = BytesMut::with_capacity(self.body.len() + name.len());
        body.extend_from_slice(&self.body[..self.model_value.start]);
        body.extend_from_slice(name.as_bytes());
        body.extend_from_slice(&self.body[self.model_value.end..]);
        body.freeze()
    }

    /// What it has in common with others that are best asked of the same backend: how the prompt begins.
    pub fn affinity(&self) -> Option<Affinity> {
        let beginning = self.body.get(self.beginning.clone()).filter(|text| !text.is_empty())?;
        Some(Affinity::of(beginning))
    }

    /// Tokens that its prompt may be.
    pub fn estimated_prompt_tokens(&self) -> u64 {
        estimated_tokens(self.body.len())
    }

    /// Tokens that it may use.
    pub fn estimated_tokens(&self) -> u64 {
        self.estimated_prompt_tokens().saturating_add(self.answer_tokens)
    }

    /// What it takes in memory to read it as a chat, bytes.
    pub fn weight_as_chat(&self) -> usize {
        let objects = memchr::memchr_iter(b'{', &self.body).count();
        self.body.len().saturating_mul(READ_TIMES).saturating_add(objects.saturating_mul(OBJECT_BYTES))
    }

    /// The chat that it is.
    pub fn chat(&self) -> Result<Chat, RequestError> {
        match self.endpoint {
            Endpoint::Messages => anthropic::read_request(&self.body),
            Endpoint::Responses => responses::read_request(&self.body),
            _ => openai::read_request(&self.body),
        }
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        // It was checked.
        simdutf8::basic::from_utf8(&self.body).unwrap_or_default()
    }

    /// The body as it came.
    pub fn body(&self) -> &Bytes {
        &self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<ModelRequest, RequestError> {
        ModelRequest::parse(Endpoint::ChatCompletions, Bytes::copy_from_slice(body.as_bytes()))
    }

    fn parameter_of(body: &str) -> String {
        parse(body).unwrap_err().parameter.unwrap_or_default()
    }

    #[test]
    fn a_body_goes_on_byte_for_byte() {
        let body =
            " {\"messages\" : [{\"role\":\"user\",\"content\":\"\\u0041\"}],\n\"x\":1.50,\"model\":\"m\"} ";
        assert_eq!(parse(body).unwrap().body_for("m"), body);
    }

    #[test]
    fn only_the_models_name_is_replaced() {
        let body = r#"{"model": "a\u006cias" ,"messages":[{"role":"user","content":"model"}]}"#;
        let request = parse(body).unwrap();
        assert_eq!(request.model, "alias");
        let expected = r#"{"model": "org/\"m\"" ,"messages":[{"role":"user","content":"model"}]}"#;
        assert_eq!(request.body_for("org/\"m\""), expected);
    }

    #[test]
    fn wrong_fields_are_named() {
        let message = r#"[{"role":"user","content":"x"}]"#;
        assert_eq!(parameter_of(&format!(r#"{{"messages":{message}}}"#)), "model");
        assert_eq!(parameter_of(&format!(r#"{{"model":7,"messages":{message}}}"#)), "model");
        assert_eq!(
            parameter_of(&format!(r#"{{"model":"m","stream":"yes","messages":{message}}}"#)),
            "stream"
        );
        assert_eq!(parameter_of(r#"{"model":"m"}"#), "messages");
        assert_eq!(parameter_of(r#"{"model":"m","messages":[]}"#), "messages");
        assert_eq!(parameter_of(r#"{"model":"m","messages":"hello"}"#), "messages");
        assert_eq!(parameter_of(r#"{"model":"m","messages":[{"content":"x"}]}"#), "messages[0].role");
        let user = r#"{"role":"user"}"#;
        for (messages, parameter) in [
            (format!("[{user},7]"), "messages[1]"),
            (r#"[{"role":"user","content":7}]"#.to_owned(), "messages[0].content"),
            (r#"[{"role":null}]"#.to_owned(), "messages[0].role"),
            (r#"[{"role":{}}]"#.to_owned(), "messages[0].role"),
            (r#"[{"role":"user","r\u006fle":"system"}]"#.to_owned(), "messages[0].role"),
            (format!("[{}{user}]", format!("{user},").repeat(4096)), "messages"),
        ] {
            assert_eq!(parameter_of(&format!(r#"{{"model":"m","messages":{messages}}}"#)), parameter);
        }
    }

    #[test]
    fn each_endpoint_asks_for_no_more_than_it_needs() {
        let parse = |endpoint, body: &'static str| ModelRequest::parse(endpoint, Bytes::from(body));
        assert!(parse(Endpoint::Completions, r#"{"model":"m","prompt":"x"}"#).is_ok());
        assert!(parse(Endpoint::Responses, r#"{"model":"m","input":[]}"#).is_ok());
        let missing = parse(Endpoint::Embeddings, r#"{"model":"m"}"#).unwrap_err();
        assert_eq!(missing.parameter.as_deref(), Some("input"));
        for endpoint in Endpoint::ALL {
            let missing = parse(endpoint, r#"{"input":"x","messages":[{"role":"user"}]}"#).unwrap_err();
            assert_eq!(missing.parameter.as_deref(), Some("model"));
        }
    }

    #[test]
    fn what_a_backend_keeps_of_one_client_no_other_one_gets() {
        let parameter = |fields: &str| {
            let body = Bytes::from(format!(r#"{{"model":"m",{fields}}}"#));
            ModelRequest::parse(Endpoint::Responses, body).err().and_then(|error| error.parameter)
        };
        for (fields, refused) in [
            (r#""previous_response_id":"r1""#, "previous_response_id"),
            (r#""Previous_Response_ID":"r1""#, "previous_response_id"),
            (r#""previouſ_response_id":"r1""#, "previous_response_id"),
            (r#""tools":[{"type":"function","type":"file_search"}]"#, "tools[0].type"),
            (r#""tools":[{"type":"function","TYPE":"file_search"}]"#, "tools[0].type"),
            (r#""input":[{"type":"message","type":"item_reference","id":"i"}]"#, "input[0].type"),
            (r#""input":[{"id":"i"}]"#, "input[0]"),
            (r#""input":["x",{"id":"i","type":null}]"#, "input[1]"),
            (r#""tools":[{"name":"f"}]"#, "tools[0].type"),
            (r#""conversation":{"id":"c"}"#, "conversation"),
            (r#""prompt":{"id":"p"}"#, "prompt"),
            (r#""background":true"#, "background"),
            (r#""tools":[{"type":"function"},{"type":"file_search"}]"#, "tools[1].type"),
            (r#""input":[{"role":"user","content":"x"},{"type":"item_reference","id":"i"}]"#, "input[1]"),
        ] {
            assert_eq!(parameter(fields).as_deref(), Some(refused), "{fields}");
        }
        for fields in [
            r#""previous_response_id":null,"background":false"#,
            r#""input":[{"role":"user","content":"x"},{"type":"reasoning","id":"r","summary":[]}]"#,
            r#""input":"hi","tools":[{"type":"function"},{"type":"custom"}]"#,
            r#""input":[{"type":"message","role":"user","content":"x"}]"#,
        ] {
            assert_eq!(parameter(fields), None, "{fields}");
        }
    }

    #[test]
    fn a_second_or_differently_spelt_model_cannot_slip_past() {
        let with =
            |more: &str| format!(r#"{{"model":"m",{more},"messages":[{{"role":"user","content":"x"}}]}}"#);
        for more in
            [r#""Model":"other""#, r#""MODEL":"other""#, r#""\u004dodel":"other""#, r#""model":"other""#]
        {
            let error = parse(&with(more)).unwrap_err();
            assert!(
                error.message.contains("lower case") || error.message.contains("twice"),
                "{}",
                error.message
            );
        }
        let error = parse(&with(r#""ſtream":true"#)).unwrap_err();
        assert!(error.message.contains("lower case"), "{}", error.message);
        assert!(parse(&with(r#""modelling":"clay""#)).is_ok());
    }

    #[test]
    fn broken_bodies_are_refused_as_a_whole() {
        for body in
            ["", "{", "[]", "null", "{\"model\":\"m\",}", "{\"model\":\"a\",\"model\":\"b\",\"messages\":[]}"]
        {
            assert_eq!(parse(body).unwrap_err().parameter, None, "{body}");
        }
        let error =
            ModelRequest::parse(Endpoint::ChatCompletions, Bytes::from_static(b"{\"model\":\"\xff\"}"))
                .unwrap_err();
        assert!(error.message.contains("UTF-8"));
        let deep = format!("{{\"model\":\"m\",\"metadata\":{}1{}}}", "[".repeat(100), "]".repeat(100));
        assert!(parse(&deep).unwrap_err().message.contains("64 levels"));
    }
}
