//! A chat as Anthropic's API is asked it. How an answer is drawn (temperature and the like), its models do not let themselves be told any more: that is
//! left out.

use crate::dialects::{Chat, Format, Image, Message, Part, Role, Tool, ToolChoice};
use crate::request_error::RequestError;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// Tokens that an answer may be where the client sets no limit: the API asks for one, and each model takes this one.
const DEFAULT_MAX_TOKENS: u64 = 4096;
/// What a tool takes that says nothing of it.
const NOTHING: &str = r#"{"type":"object","properties":{}}"#;

#[derive(Serialize)]
struct Document<'a> {
    model: &'a str,
    messages: Vec<MessageDocument>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Value>,
    max_tokens: u64,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stop_sequences: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<ToolDocument<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<OutputConfig<'a>>,
    stream: bool,
}

#[derive(Serialize)]
struct OutputConfig<'a> {
    format: FormatDocument<'a>,
}

#[derive(Serialize)]
struct FormatDocument<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    schema: &'a RawValue,
}

#[derive(Serialize)]
struct MessageDocument {
    role: &'static str,
    content: Vec<Value>,
}

#[derive(Serialize)]
struct ToolDocument<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    input_schema: &'a RawValue,
}

/// What of a chat the API cannot do.
pub fn unsupported(chat: &Chat) -> Option<RequestError> {
    let problem = |field: &str, problem: &str| {
        Some(RequestError::at(
            field,
            format!("{field} {problem}: this model's backend speaks Anthropic's protocol"),
        ))
    };
    if matches!(chat.format, Some(Format::Json)) {
        return problem(chat.names.format, "must be text or json_schema");
    }
    if let Some(Message { at, .. }) = chat.first_with_unreadable_call() {
        return problem(at, "has a call whose arguments are not a JSON object");
    }
    None
}

/// Writes the body.
pub fn write_request(chat: &Chat, model: &str) -> Vec<u8> {
    let is_system = |message: &&Message| message.role == Role::System;
    let system = chat.messages.iter().filter(is_system).flat_map(|message| &message.parts);
    // Built in: that it is JSON is tested below.
    let nothing = serde_json::from_str(NOTHING).ok();
    let document = Document {
        model,
        messages: turns(&chat.messages),
        system: system.filter_map(block).collect(),
        max_tokens: chat.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS),
        stop_sequences: &chat.sampling.stop,
        tools: chat.tools.iter().filter_map(|given| tool(given, nothing)).collect(),
        tool_choice: tool_choice(chat),
        output_config: match &chat.format {
            Some(Format::Schema(schema)) => {
                Some(OutputConfig { format: FormatDocument { kind: "json_schema", schema } })
            }
            Some(Format::Json) | None => None,
        },
        stream: chat.stream,
    };
    // Nothing in it can fail to be written.
    serde_json::to_vec(&document).unwrap_or_default()
}

/// What one side says at a time, all of it: what tools gave back must stand in one message after the calls.
fn turns(messages: &[Message]) -> Vec<MessageDocument> {
    let mut turns: Vec<MessageDocument> = Vec::new();
    for Message { role, parts, .. } in messages {
        let role = match role {
            Role::System => continue,
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        let blocks = parts.iter().filter_map(block);
        match turns.last_mut() {
            Some(turn) if turn.role == role => turn.content.extend(blocks),
            _ => turns.push(MessageDocument { role, content: blocks.collect() }),
        }
    }
    turns.retain(|turn| !turn.content.is_empty());
    turns
}

/// Nothing for an empty text, which the API refuses.
fn block(part: &Part) -> Option<Value> {
    Some(match part {
        Part::Text(text) if text.is_empty() => return None,
        Part::Text(text) => json!({"type": "text", "text": text}),
        Part::Image(picture) => image(picture),
        Part::Call(call) => {
            json!({"type": "tool_use", "id": call.id, "name": call.name, "input": call.object()})
        }
        Part::Result { id, text, images, is_error } => {
            let mut content: Vec<Value> = images.iter().map(image).collect();
            if !text.is_empty() {
                content.insert(0, json!({"type": "text", "text": text}));
            }
            let mut block = json!({"type": "tool_result", "tool_use_id": id, "content": content});
            if *is_error {
                block["is_error"] = true.into();
            }
            block
        }
    })
}

fn image(image: &Image) -> Value {
    let source = match image {
        Image::Data { media_type, data } => json!({"type": "base64", "media_type": media_type, "data": data}),
        Image::Url(url) => json!({"type": "url", "url": url}),
    };
    json!({"type": "image", "source": source})
}

fn tool<'a>(tool: &'a Tool, nothing: Option<&'a RawValue>) -> Option<ToolDocument<'a>> {
    let input_schema = tool.schema.as_deref().or(nothing)?;
    Some(ToolDocument { name: &tool.name, description: tool.description.as_deref(), input_schema })
}

fn tool_choice(chat: &Chat) -> Option<Value> {
    if chat.tools.is_empty() {
        return None;
    }
    let mut choice = match chat.tool_choice.as_ref() {
        None if !chat.one_call_at_a_time => return None,
        Some(ToolChoice::None) => return Some(json!({"type": "none"})),
        None | Some(ToolChoice::Auto) => json!({"type": "auto"}),
        Some(ToolChoice::Any) => json!({"type": "any"}),
        Some(ToolChoice::Named(name)) => json!({"type": "tool", "name": name}),
    };
    if chat.one_call_at_a_time {
        choice["disable_parallel_tool_use"] = true.into();
    }
    Some(choice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialects::openai;

    fn written(messages: &str, more: &str) -> Value {
        let chat = openai::read_request(format!(r#"{{"messages":[{messages}]{more}}}"#).as_bytes()).unwrap();
        assert_eq!(unsupported(&chat), None);
        serde_json::from_slice(&write_request(&chat, "claude")).unwrap()
    }

    #[test]
    fn instructions_stand_beside_the_turns_and_results_in_one_of_them() {
        let messages = r#"{"role":"system","content":"Be kind."},{"role":"user","content":"Look twice."},
            {"role":"assistant","content":"","tool_calls":[{"id":"a","type":"function","function":{"name":"look","arguments":"{\"x\":1}"}},{"id":"b","type":"function","function":{"name":"look","arguments":""}}]},
            {"role":"tool","tool_call_id":"a","content":"1"},{"role":"tool","tool_call_id":"b","content":"2"},{"role":"user","content":"So?"}"#;
        let document = written(messages, "");
        assert_eq!(document["system"], json!([{"type": "text", "text": "Be kind."}]));
        assert_eq!(document["max_tokens"], DEFAULT_MAX_TOKENS);
        let result = |id: &str, text: &str| json!({"type": "tool_result", "tool_use_id": id, "content": [{"type": "text", "text": text}]});
        let expected = json!([
            {"role": "user", "content": [{"type": "text", "text": "Look twice."}]},
            {"role": "assistant", "content": [
                {"type": "tool_use", "id": "a", "name": "look", "input": {"x": 1}},
                {"type": "tool_use", "id": "b", "name": "look", "input": {}},
            ]},
            {"role": "user", "content": [result("a", "1"), result("b", "2"), {"type": "text", "text": "So?"}]},
        ]);
        assert_eq!(document["messages"], expected);
    }

    #[test]
    fn tools_pictures_and_formats_are_put_as_the_api_has_them() {
        let picture = r#"{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AA"}},{"type":"text","text":"x"}]}"#;
        let more = r#","temperature":0.5,"stop":"END","tools":[{"type":"function","function":{"name":"look"}}],"tool_choice":"required","parallel_tool_calls":false,"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object"}}}"#;
        let document = written(picture, more);
        assert_eq!(
            document["tools"],
            json!([{"name": "look", "input_schema": {"type": "object", "properties": {}}}])
        );
        assert_eq!(document["tool_choice"], json!({"type": "any", "disable_parallel_tool_use": true}));
        assert_eq!(document["stop_sequences"], json!(["END"]));
        assert_eq!(
            document["output_config"],
            json!({"format": {"type": "json_schema", "schema": {"type": "object"}}})
        );
        assert_eq!(document["temperature"], Value::Null);
        let source = json!({"type": "base64", "media_type": "image/png", "data": "AA"});
        assert_eq!(document["messages"][0]["content"][0], json!({"type": "image", "source": source}));
    }
}
