//! A chat as an OpenAI client asks it. What would make another answer of it than the client expects, and cannot be said in all dialects, is refused;
//! what only nudges an answer (penalties, metadata, service tiers) is left out.

use crate::dialects::chat::stop_texts;
use crate::dialects::content::Content;
use crate::dialects::{
    Chat, FieldNames, Format, Image, Message, Part, Role, Sampling, Tool, ToolCall, ToolChoice,
};
use crate::request_error::RequestError;
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Document {
    messages: Vec<MessageDocument>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<u64>,
    seed: Option<i64>,
    stop: Option<Content<String>>,
    n: Option<u64>,
    logprobs: Option<bool>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    tools: Option<Vec<ToolDocument>>,
    tool_choice: Option<Box<RawValue>>,
    parallel_tool_calls: Option<bool>,
    response_format: Option<ResponseFormat>,
    functions: Option<Box<RawValue>>,
    audio: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Deserialize)]
struct MessageDocument {
    role: String,
    content: Option<Content<PartDocument>>,
    tool_calls: Option<Vec<CallDocument>>,
    tool_call_id: Option<String>,
}

#[derive(Deserialize)]
struct PartDocument {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
    refusal: Option<String>,
    image_url: Option<ImageUrl>,
}

#[derive(Deserialize)]
struct ImageUrl {
    url: String,
}

#[derive(Deserialize)]
struct CallDocument {
    id: String,
    function: Option<CalledFunction>,
}

#[derive(Deserialize)]
struct CalledFunction {
    name: String,
    #[serde(default)]
    arguments: String,
}

#[derive(Deserialize)]
struct ToolDocument {
    #[serde(rename = "type")]
    kind: String,
    function: Option<FunctionDocument>,
}

#[derive(Deserialize)]
struct FunctionDocument {
    name: String,
    description: Option<String>,
    parameters: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct NamedChoice {
    function: NamedFunction,
}

#[derive(Deserialize)]
struct NamedFunction {
    name: String,
}

#[derive(Deserialize)]
struct ResponseFormat {
    #[serde(rename = "type")]
    kind: String,
    json_schema: Option<JsonSchema>,
}

#[derive(Deserialize)]
struct JsonSchema {
    schema: Option<Box<RawValue>>,
}

/// Reads a request's body.
pub fn read_request(body: &[u8]) -> Result<Chat, RequestError> {
    let document: Document = serde_json::from_slice(body)
        .map_err(|error| RequestError::body(format!("the body is not a valid JSON request: {error}")))?;
    refuse_what_only_openai_can(&document)?;
    let messages = document.messages.into_iter().enumerate().map(|(index, said)| message(index, said));
    let tools = document.tools.unwrap_or_default().into_iter().enumerate();
    Ok(Chat {
        messages: messages.collect::<Result<_, _>>()?,
        max_tokens: document.max_completion_tokens.or(document.max_tokens),
        sampling: Sampling {
            temperature: document.temperature,
            top_p: document.top_p,
            top_k: document.top_k,
            seed: document.seed,
            stop: match document.stop {
                None => Vec::new(),
                Some(Content::Text(text)) => vec![text],
                Some(Content::Parts(texts)) => stop_texts("stop", texts)?,
            },
        },
        tools: tools.map(|(index, given)| tool(index, given)).collect::<Result<_, _>>()?,
        tool_choice: document.tool_choice.map(|choice| tool_choice(&choice)).transpose()?,
        one_call_at_a_time: document.parallel_tool_calls == Some(false),
        format: document.response_format.map(format).transpose()?.flatten(),
        stream: document.stream == Some(true),
        include_usage: document.stream_options.and_then(|options| options.include_usage) == Some(true),
        show_reasoning: true,
        names: FieldNames::default(),
    })
}

fn refuse_what_only_openai_can(document: &Document) -> Result<(), RequestError> {
    let refused = [
        ("n", document.n.is_some_and(|answers| answers > 1), "must be 1"),
        ("logprobs", document.logprobs == Some(true), "must be false"),
        ("functions", document.functions.is_some(), "is too old: use tools"),
        ("audio", document.audio.is_some(), "must not be given"),
    ];
    match refused.into_iter().find(|(_, is_asked, _)| *is_asked) {
        None => Ok(()),
        Some((field, _, problem)) => Err(not_here(field, problem)),
    }
}

fn not_here(field: impl Into<String>, problem: &str) -> RequestError {
    let field = field.into();
    let message = format!("{field} {problem} for this model, whose backend does not speak OpenAI's protocol");
    RequestError::at(field, message)
}

fn message(index: usize, said: MessageDocument) -> Result<Message, RequestError> {
    let MessageDocument { role, content, tool_calls, tool_call_id } = said;
    let at = format!("messages[{index}]");
    let parts = match content {
        None => Vec::new(),
        Some(Content::Text(text)) => vec![Part::Text(text)],
        Some(Content::Parts(parts)) => {
            let parts = parts.into_iter().map(|given| part(index, given));
            parts.collect::<Result<Vec<_>, _>>()?
        }
    };
    let role = match role.as_str() {
        "system" | "developer" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" => {
            let id = tool_call_id.ok_or_else(|| {
                let field = format!("{at}.tool_call_id");
                let problem = format!("{field} is required of what a tool gives back");
                RequestError::at(field, problem)
            })?;
            return Ok(Message { at, role: Role::User, parts: vec![Part::result(id, parts, false)] });
        }
        other => {
            let field = format!("{at}.role");
            let problem = format!("{field} is {other:?}, which this model's backend does not know");
            return Err(RequestError::at(field, problem));
        }
    };
    let calls = tool_calls.unwrap_or_default().into_iter().enumerate().map(|(number, call)| {
        let CallDocument { id, function } = call;
        let field = || format!("{at}.tool_calls[{number}].function");
        let CalledFunction { name, arguments } = function.ok_or_else(|| not_here(field(), "is required"))?;
        Ok(Part::Call(ToolCall { id, name, arguments }))
    });
    let calls = calls.collect::<Result<Vec<_>, RequestError>>()?;
    Ok(Message { at, role, parts: parts.into_iter().chain(calls).collect() })
}

fn part(index: usize, given: PartDocument) -> Result<Part, RequestError> {
    match given {
        PartDocument { kind, text: Some(text), .. } if kind == "text" => Ok(Part::Text(text)),
        PartDocument { kind, refusal: Some(text), .. } if kind == "refusal" => Ok(Part::Text(text)),
        PartDocument { kind, image_url: Some(ImageUrl { url }), .. } if kind == "image_url" => {
            Ok(Part::Image(Image::from_url(url)))
        }
        PartDocument { kind, .. } => {
            let field = format!("messages[{index}].content");
            let problem = format!("has a part of the type {kind:?}, which cannot be sent on");
            Err(not_here(field, &problem))
        }
    }
}

fn tool(index: usize, given: ToolDocument) -> Result<Tool, RequestError> {
    match given {
        ToolDocument { kind, function: Some(function) } if kind == "function" => {
            let FunctionDocument { name, description, parameters } = function;
            Ok(Tool { name, description, schema: parameters })
        }
        ToolDocument { kind, .. } => {
            let field = format!("tools[{index}].type");
            Err(not_here(field, &format!("is {kind:?}, but must be \"function\" with a function beside it")))
        }
    }
}

fn tool_choice(choice: &RawValue) -> Result<ToolChoice, RequestError> {
    let named = |choice: &str| {
        let NamedChoice { function } = serde_json::from_str(choice).ok()?;
        Some(function.name)
    };
    ToolChoice::read(choice, named).ok_or_else(|| not_here("tool_choice", ToolChoice::PROBLEM))
}

fn format(asked: ResponseFormat) -> Result<Option<Format>, RequestError> {
    match asked {
        ResponseFormat { kind, .. } if kind == "text" => Ok(None),
        ResponseFormat { kind, .. } if kind == "json_object" => Ok(Some(Format::Json)),
        ResponseFormat { kind, json_schema: Some(JsonSchema { schema: Some(schema) }) }
            if kind == "json_schema" =>
        {
            Ok(Some(Format::Schema(schema)))
        }
        ResponseFormat { .. } => {
            Err(not_here("response_format", "must be text, json_object or json_schema with a schema"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &str) -> Result<Chat, RequestError> {
        read_request(
            format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}]{fields}}}"#).as_bytes(),
        )
    }

    #[test]
    fn the_newer_name_of_the_token_limit_wins() {
        assert_eq!(read(r#","max_tokens":5,"max_completion_tokens":7"#).unwrap().max_tokens, Some(7));
        assert_eq!(read("").unwrap().max_tokens, None);
    }

    #[test]
    fn what_cannot_be_said_in_all_dialects_is_refused_by_its_name() {
        for (fields, field) in [
            (r#","n":2"#, "n"),
            (r#","logprobs":true"#, "logprobs"),
            (r#","functions":[]"#, "functions"),
            (r#","audio":{}"#, "audio"),
            (r#","tools":[{"type":"custom","custom":{"name":"x"}}]"#, "tools[0].type"),
            (r#","tool_choice":{"type":"allowed_tools"}"#, "tool_choice"),
            (r#","response_format":{"type":"grammar"}"#, "response_format"),
        ] {
            assert_eq!(read(fields).unwrap_err().parameter.as_deref(), Some(field), "{fields}");
        }
        for fields in
            [r#","n":1,"logprobs":false,"user":"u","presence_penalty":1"#, r#","stop":null,"tools":null"#]
        {
            assert!(read(fields).is_ok(), "{fields}");
        }
        let of = |message: &str| {
            read_request(format!(r#"{{"messages":[{message}]}}"#).as_bytes()).unwrap_err().parameter
        };
        for (message, field) in [
            (r#"{"role":"critic","content":"x"}"#, "messages[0].role"),
            (r#"{"role":"tool","content":"x"}"#, "messages[0].tool_call_id"),
            (r#"{"role":"user","content":[{"type":"input_audio"}]}"#, "messages[0].content"),
            (
                r#"{"role":"assistant","tool_calls":[{"id":"c","type":"custom"}]}"#,
                "messages[0].tool_calls[0].function",
            ),
        ] {
            assert_eq!(of(message).as_deref(), Some(field), "{message}");
        }
    }
}
