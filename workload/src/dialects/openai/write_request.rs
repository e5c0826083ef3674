//! A chat as an OpenAI-compatible backend is asked it.

use crate::dialects::function_tool::FunctionTool;
use crate::dialects::{Chat, Format, Image, Message, Part, Role, ToolChoice};
use serde::Serialize;
use serde_json::{Map, Value, json, value::RawValue};

#[derive(Serialize)]
struct Document<'a> {
    model: &'a str,
    messages: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<FunctionTool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<FormatDocument<'a>>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<Value>,
}

#[derive(Serialize)]
struct FormatDocument<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    json_schema: Option<SchemaDocument<'a>>,
}

#[derive(Serialize)]
struct SchemaDocument<'a> {
    name: &'static str,
    schema: &'a RawValue,
}

/// Writes the body. A stream is always to end with what was used: who asks gets it in another dialect, and limits count it.
pub fn write_request(chat: &Chat, model: &str) -> Vec<u8> {
    let document = Document {
        model,
        messages: chat.messages.iter().flat_map(messages).collect(),
        max_tokens: chat.max_tokens,
        temperature: chat.sampling.temperature,
        top_p: chat.sampling.top_p,
        top_k: chat.sampling.top_k,
        seed: chat.sampling.seed,
        stop: &chat.sampling.stop,
        tools: chat.tools.iter().map(FunctionTool::from).collect(),
        tool_choice: chat.tool_choice.as_ref().map(tool_choice),
        parallel_tool_calls: (chat.one_call_at_a_time && !chat.tools.is_empty()).then_some(false),
        response_format: chat.format.as_ref().map(format),
        stream: chat.stream,
        stream_options: chat.stream.then(|| json!({"include_usage": true})),
    };
    // Nothing in it can fail to be written.
    serde_json::to_vec(&document).unwrap_or_default()
}

fn tool_choice(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => json!("auto"),
        ToolChoice::None => json!("none"),
        ToolChoice::Any => json!("required"),
        ToolChoice::Named(name) => json!({"type": "function", "function": {"name": name}}),
    }
}

fn format(format: &Format) -> FormatDocument<'_> {
    match format {
        Format::Json => FormatDocument { kind: "json_object", json_schema: None },
        Format::Schema(schema) => FormatDocument {
            kind: "json_schema",
            json_schema: Some(SchemaDocument { name: "answer", schema }),
        },
    }
}

/// What tools gave back are messages of their own, and come first: they belong to the calls of the message before.
fn messages(message: &Message) -> Vec<Value> {
    let (mut messages, mut parts, mut calls) = (Vec::new(), Vec::new(), Vec::new());
    let mut pictures_of_tools = Vec::new();
    for part in &message.parts {
        match part {
            Part::Text(text) => parts.push(json!({"type": "text", "text": text})),
            Part::Image(picture) => parts.push(image(picture)),
            Part::Call(call) => calls.push(json!({
                "id": call.id, "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            })),
            Part::Result { id, text, images, .. } => {
                messages.push(json!({"role": "tool", "tool_call_id": id, "content": text}));
                // A tool's message is text only.
                pictures_of_tools.extend(images.iter().map(image));
            }
        }
    }
    pictures_of_tools.append(&mut parts);
    if pictures_of_tools.is_empty() && calls.is_empty() && !messages.is_empty() {
        return messages;
    }
    let mut own = Map::new();
    own.insert("role".into(), json!(message.role));
    own.insert("content".into(), content(message.role, pictures_of_tools, !calls.is_empty()));
    if !calls.is_empty() {
        own.insert("tool_calls".into(), calls.into());
    }
    messages.push(own.into());
    messages
}

/// A lone text as such, and of all but users as such in any case: many backends know no parts there.
fn content(role: Role, parts: Vec<Value>, has_calls: bool) -> Value {
    let are_texts = parts.iter().all(|part| part["type"] == "text");
    if parts.is_empty() && has_calls {
        return Value::Null;
    }
    if are_texts && (role != Role::User || parts.len() < 2) {
        let texts: Vec<&str> = parts.iter().filter_map(|part| part["text"].as_str()).collect();
        return texts.join("\n").into();
    }
    parts.into()
}

fn image(image: &Image) -> Value {
    let url = match image {
        Image::Data { media_type, data } => format!("data:{media_type};base64,{data}"),
        Image::Url(url) => url.clone(),
    };
    json!({"type": "image_url", "image_url": {"url": url}})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialects::{anthropic, openai};

    fn written(body: &str) -> Value {
        let chat = anthropic::read_request(body.as_bytes()).unwrap();
        serde_json::from_slice(&write_request(&chat, "m")).unwrap()
    }

    #[test]
    fn what_tools_gave_back_are_messages_of_their_own() {
        let document = written(
            r#"{"system":[{"type":"text","text":"Be"},{"type":"text","text":"kind."}],"max_tokens":9,"messages":[
                {"role":"user","content":"Look."},
                {"role":"assistant","content":[{"type":"text","text":"Well."},{"type":"tool_use","id":"a","name":"look","input":{"x":1}}]},
                {"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[{"type":"text","text":"1"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AA"}}]},{"type":"text","text":"So?"}]}]}"#,
        );
        let picture = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}});
        let expected = json!([
            {"role": "system", "content": "Be\nkind."},
            {"role": "user", "content": "Look."},
            {"role": "assistant", "content": "Well.", "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "look", "arguments": "{\"x\":1}"}},
            ]},
            {"role": "tool", "tool_call_id": "a", "content": "1"},
            {"role": "user", "content": [picture, {"type": "text", "text": "So?"}]},
        ]);
        assert_eq!(document["messages"], expected);
        assert_eq!((&document["max_tokens"], &document["stream"]), (&json!(9), &json!(false)));
    }

    #[test]
    fn what_is_read_is_what_is_written() {
        let body = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"max_tokens":9,"temperature":0.5,"seed":7,"stop":["a"],"tools":[{"type":"function","function":{"name":"look","description":"d","parameters":{"z":1,"a":2}}}],"tool_choice":{"type":"function","function":{"name":"look"}},"parallel_tool_calls":false,"response_format":{"type":"json_object"},"stream":true,"stream_options":{"include_usage":true}}"#;
        let chat = openai::read_request(body.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(write_request(&chat, "m")).unwrap(), body);
    }
}
