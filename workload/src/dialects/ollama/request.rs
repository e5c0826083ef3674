//! A chat as Ollama's API is asked it.

use crate::dialects::function_tool::FunctionTool;
use crate::dialects::{Chat, Format, Image, Message, Part, Role, ToolChoice};
use crate::request_error::RequestError;
use codecrucible_contract::Ollama;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

#[derive(Serialize)]
struct Document<'a> {
    model: &'a str,
    messages: Vec<MessageDocument<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<FunctionTool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<FormatDocument<'a>>,
    options: Options<'a>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_alive: Option<String>,
}

#[derive(Default, Serialize)]
struct MessageDocument<'a> {
    role: &'static str,
    content: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_name: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum FormatDocument<'a> {
    Json(&'static str),
    Schema(&'a RawValue),
}

#[derive(Serialize)]
struct Options<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    num_ctx: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_predict: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stop: &'a [String],
}

/// What of a chat the API cannot do.
pub fn unsupported(chat: &Chat) -> Option<RequestError> {
    let problem = |field: String, problem: &str| {
        let message = format!("{field} {problem}: this model's backend speaks Ollama's protocol");
        Some(RequestError::at(field, message))
    };
    let is_elsewhere = |image: &Image| matches!(image, Image::Url(_));
    let has_such = |part: &Part| match part {
        Part::Image(image) => is_elsewhere(image),
        Part::Result { images, .. } => images.iter().any(is_elsewhere),
        Part::Text(_) | Part::Call(_) => false,
    };
    if let Some(Message { at, .. }) = chat.first_with(has_such) {
        return problem(format!("{at}.content"), "must have pictures as data: URLs");
    }
    if let Some(Message { at, .. }) = chat.first_with_unreadable_call() {
        return problem(at.clone(), "has a call whose arguments are not a JSON object");
    }
    if matches!(chat.tool_choice, Some(ToolChoice::Any | ToolChoice::Named(_))) {
        return problem("tool_choice".into(), "must be auto or none");
    }
    None
}

/// Writes the body.
pub fn write_request(chat: &Chat, model: &str, ollama: &Ollama) -> Vec<u8> {
    let tools = chat.tools.iter().filter(|_| chat.tool_choice != Some(ToolChoice::None));
    let sampling = &chat.sampling;
    let document = Document {
        model,
        messages: chat.messages.iter().flat_map(|message| messages(chat, message)).collect(),
        tools: tools.map(FunctionTool::from).collect(),
        format: chat.format.as_ref().map(|format| match format {
            Format::Json => FormatDocument::Json("json"),
            Format::Schema(schema) => FormatDocument::Schema(schema),
        }),
        options: Options {
            num_ctx: ollama.context_tokens,
            num_predict: chat.max_tokens,
            temperature: sampling.temperature,
            top_p: sampling.top_p,
            top_k: sampling.top_k,
            seed: sampling.seed,
            stop: &sampling.stop,
        },
        stream: chat.stream,
        keep_alive: ollama.keep_alive_seconds.map(|seconds| format!("{seconds}s")),
    };
    // Nothing in it can fail to be written.
    serde_json::to_vec(&document).unwrap_or_default()
}

/// What tools gave back are messages of their own, and come first: they belong to the calls of the message before.
fn messages<'a>(chat: &'a Chat, message: &'a Message) -> Vec<MessageDocument<'a>> {
    let role = match message.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    let (mut messages, mut texts) = (Vec::new(), Vec::new());
    let mut own = MessageDocument { role, ..MessageDocument::default() };
    for part in &message.parts {
        match part {
            Part::Text(text) => texts.push(text.as_str()),
            Part::Image(image) => own.images.extend(data(image)),
            Part::Call(call) => own.tool_calls.push(json!({
                "id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.object()},
            })),
            Part::Result { id, text, images, .. } => messages.push(MessageDocument {
                role: "tool",
                content: text.clone(),
                images: images.iter().filter_map(data).collect(),
                tool_calls: Vec::new(),
                tool_call_id: Some(id),
                tool_name: called(chat, id),
            }),
        }
    }
    if messages.is_empty() || !texts.is_empty() || !own.images.is_empty() || !own.tool_calls.is_empty() {
        own.content = texts.join("\n");
        messages.push(own);
    }
    messages
}

/// The name of the tool that was called by this id.
fn called<'a>(chat: &'a Chat, id: &str) -> Option<&'a str> {
    chat.messages.iter().flat_map(|message| &message.parts).find_map(|part| match part {
        Part::Call(call) if call.id == id => Some(&*call.name),
        _ => None,
    })
}

fn data(image: &Image) -> Option<&str> {
    match image {
        Image::Data { data, .. } => Some(data),
        Image::Url(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialects::openai;

    fn read(messages: &str, more: &str) -> Chat {
        openai::read_request(format!(r#"{{"messages":[{messages}]{more}}}"#).as_bytes()).unwrap()
    }

    #[test]
    fn a_chat_is_put_as_the_api_has_it() {
        let messages = r#"{"role":"user","content":[{"type":"text","text":"x"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AA"}}]},
            {"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"look","arguments":"{\"x\":1}"}}]},
            {"role":"tool","tool_call_id":"a","content":"1"}"#;
        let more = r#","max_tokens":9,"temperature":0,"seed":7,"stop":["END"],"response_format":{"type":"json_object"},"stream":true"#;
        let chat = read(messages, more);
        assert_eq!(unsupported(&chat), None);
        let settings = Ollama { context_tokens: Some(8192), keep_alive_seconds: Some(300) };
        let document: Value = serde_json::from_slice(&write_request(&chat, "coder", &settings)).unwrap();
        let call =
            json!({"id": "a", "type": "function", "function": {"name": "look", "arguments": {"x": 1}}});
        let expected = json!({
            "model": "coder", "stream": true, "format": "json", "keep_alive": "300s",
            "options": {"num_ctx": 8192, "num_predict": 9, "temperature": 0.0, "seed": 7, "stop": ["END"]},
            "messages": [
                {"role": "user", "content": "x", "images": ["AA"]},
                {"role": "assistant", "content": "", "tool_calls": [call]},
                {"role": "tool", "content": "1", "tool_call_id": "a", "tool_name": "look"},
            ],
        });
        assert_eq!(document, expected);
    }

    #[test]
    fn what_the_api_cannot_do_is_named() {
        let user = r#"{"role":"user","content":"x"}"#;
        let problem =
            |messages: &str, more: &str| unsupported(&read(messages, more)).unwrap().parameter.unwrap();
        assert_eq!(problem(user, r#","tool_choice":"required""#), "tool_choice");
        let elsewhere = r#"{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}]}"#;
        assert_eq!(problem(&format!("{user},{elsewhere}"), ""), "messages[1].content");
        let call = r#"{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"look","arguments":"[1]"}}]}"#;
        assert_eq!(problem(call, ""), "messages[0]");
    }
}
