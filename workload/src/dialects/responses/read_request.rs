//! A response as it is asked for, as a chat. What would make another answer of it than the client expects, and cannot be said in all dialects, is refused;
//! what only nudges an answer (metadata, service tiers, the effort of thinking) is left out.

use crate::dialects::content::Content;
use crate::dialects::{
    Chat, FieldNames, Format, Image, Message, Part, Role, Sampling, Tool, ToolCall, ToolChoice,
};
use crate::request_error::RequestError;
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Document {
    input: Option<Content<ItemDocument>>,
    instructions: Option<String>,
    max_output_tokens: Option<u64>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_logprobs: Option<u64>,
    stream: Option<bool>,
    tools: Option<Vec<ToolDocument>>,
    tool_choice: Option<Box<RawValue>>,
    parallel_tool_calls: Option<bool>,
    text: Option<TextDocument>,
}

/// Anything that was said or done.
#[derive(Deserialize)]
struct ItemDocument {
    #[serde(rename = "type")]
    kind: Option<String>,
    role: Option<String>,
    content: Option<Content<PartDocument>>,
    call_id: Option<String>,
    name: Option<String>,
    arguments: Option<String>,
    output: Option<Content<PartDocument>>,
}

#[derive(Deserialize)]
struct PartDocument {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
    refusal: Option<String>,
    image_url: Option<String>,
}

#[derive(Deserialize)]
struct ToolDocument {
    #[serde(rename = "type")]
    kind: String,
    name: Option<String>,
    description: Option<String>,
    parameters: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct NamedChoice {
    #[serde(rename = "type")]
    kind: String,
    name: String,
}

#[derive(Deserialize)]
struct TextDocument {
    format: Option<FormatDocument>,
}

#[derive(Deserialize)]
struct FormatDocument {
    #[serde(rename = "type")]
    kind: String,
    schema: Option<Box<RawValue>>,
}

/// Reads a request's body.
pub fn read_request(body: &[u8]) -> Result<Chat, RequestError> {
    let document: Document = serde_json::from_slice(body)
        .map_err(|error| RequestError::body(format!("the body is not a valid JSON request: {error}")))?;
    if document.top_logprobs.is_some_and(|count| count > 0) {
        return Err(not_here("top_logprobs", "must be 0"));
    }
    let tools = document.tools.unwrap_or_default().into_iter().enumerate();
    Ok(Chat {
        messages: messages(document.instructions, document.input)?,
        max_tokens: document.max_output_tokens,
        sampling: Sampling {
            temperature: document.temperature,
            top_p: document.top_p,
            ..Sampling::default()
        },
        tools: tools.map(|(index, given)| tool(index, given)).collect::<Result<_, _>>()?,
        tool_choice: document.tool_choice.map(|choice| tool_choice(&choice)).transpose()?,
        one_call_at_a_time: document.parallel_tool_calls == Some(false),
        format: document.text.and_then(|text| text.format).map(format).transpose()?.flatten(),
        stream: document.stream == Some(true),
        include_usage: true,
        show_reasoning: true,
        names: FieldNames { max_tokens: "max_output_tokens", format: "text.format" },
    })
}

fn not_here(field: impl Into<String>, problem: &str) -> RequestError {
    let field = field.into();
    let message = format!("{field} {problem} for this model, whose backend answers chats only");
    RequestError::at(field, message)
}

fn messages(
    instructions: Option<String>,
    input: Option<Content<ItemDocument>>,
) -> Result<Vec<Message>, RequestError> {
    let mut messages: Vec<Message> = Vec::new();
    if let Some(instructions) = instructions {
        messages.push(Message { at: "instructions".into(), ..Message::text(Role::System, instructions) });
    }
    match input {
        None => return Err(RequestError::at("input", "input is required")),
        Some(Content::Text(text)) => {
            messages.push(Message { at: "input".into(), ..Message::text(Role::User, text) });
        }
        Some(Content::Parts(items)) => {
            for (index, item) in items.into_iter().enumerate() {
                let Some((said, is_step)) = message(index, item)? else { continue };
                match messages.last_mut() {
                    // Calls of one turn are a message in all dialects, and so is what came of them.
                    Some(before) if is_step && before.role == said.role => before.parts.extend(said.parts),
                    _ => messages.push(said),
                }
            }
        }
    }
    Ok(messages)
}

/// What an item says, and whether it is a call or what came of one; nothing of thoughts, which are for the model that had them.
fn message(index: usize, item: ItemDocument) -> Result<Option<(Message, bool)>, RequestError> {
    let at = format!("input[{index}]");
    let required = |field: &str| not_here(format!("{at}.{field}"), "is required");
    let ItemDocument { kind, role, content, call_id, name, arguments, output } = item;
    let (role, parts, is_step) = match kind.as_deref() {
        Some("reasoning") => return Ok(None),
        None | Some("message") => {
            let field = format!("{at}.content");
            let role = self::role(&at, role.as_deref())?;
            (role, parts(&field, content)?, false)
        }
        Some("function_call") => {
            let id = call_id.ok_or_else(|| required("call_id"))?;
            let name = name.ok_or_else(|| required("name"))?;
            let call = ToolCall { id, name, arguments: arguments.unwrap_or_default() };
            (Role::Assistant, vec![Part::Call(call)], true)
        }
        Some("function_call_output") => {
            let id = call_id.ok_or_else(|| required("call_id"))?;
            let given = parts(&format!("{at}.output"), output)?;
            (Role::User, vec![Part::result(id, given, false)], true)
        }
        Some(kind) => {
            return Err(not_here(format!("{at}.type"), &format!("is {kind:?}, which cannot be sent on")));
        }
    };
    Ok(Some((Message { at, role, parts }, is_step)))
}

fn role(at: &str, role: Option<&str>) -> Result<Role, RequestError> {
    match role {
        Some("system" | "developer") => Ok(Role::System),
        Some("user") => Ok(Role::User),
        Some("assistant") => Ok(Role::Assistant),
        _ => Err(not_here(format!("{at}.role"), "must be user, assistant, system or developer")),
    }
}

fn parts(field: &str, content: Option<Content<PartDocument>>) -> Result<Vec<Part>, RequestError> {
    match content {
        None => Ok(Vec::new()),
        Some(Content::Text(text)) => Ok(vec![Part::Text(text)]),
        Some(Content::Parts(parts)) => parts.into_iter().map(|given| part(field, given)).collect(),
    }
}

fn part(field: &str, given: PartDocument) -> Result<Part, RequestError> {
    let PartDocument { kind, text, refusal, image_url } = given;
    match (kind.as_str(), text, refusal, image_url) {
        ("input_text" | "output_text" | "text", Some(text), ..) | ("refusal", _, Some(text), _) => {
            Ok(Part::Text(text))
        }
        ("input_image", _, _, Some(url)) => Ok(Part::Image(Image::from_url(url))),
        _ => Err(not_here(field, &format!("has a part of the type {kind:?}, which cannot be sent on"))),
    }
}

fn tool(index: usize, given: ToolDocument) -> Result<Tool, RequestError> {
    match given {
        ToolDocument { kind, name: Some(name), description, parameters } if kind == "function" => {
            Ok(Tool { name, description, schema: parameters })
        }
        ToolDocument { kind, .. } => {
            let field = format!("tools[{index}].type");
            Err(not_here(field, &format!("is {kind:?}, but must be \"function\" with a name beside it")))
        }
    }
}

fn tool_choice(choice: &RawValue) -> Result<ToolChoice, RequestError> {
    let named = |choice: &str| {
        let NamedChoice { kind, name } = serde_json::from_str(choice).ok()?;
        (kind == "function").then_some(name)
    };
    ToolChoice::read(choice, named).ok_or_else(|| not_here("tool_choice", ToolChoice::PROBLEM))
}

fn format(asked: FormatDocument) -> Result<Option<Format>, RequestError> {
    match asked {
        FormatDocument { kind, .. } if kind == "text" => Ok(None),
        FormatDocument { kind, .. } if kind == "json_object" => Ok(Some(Format::Json)),
        FormatDocument { kind, schema: Some(schema) } if kind == "json_schema" => {
            Ok(Some(Format::Schema(schema)))
        }
        FormatDocument { .. } => {
            Err(not_here("text.format", "must be text, json_object or json_schema with a schema"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &str) -> Result<Chat, RequestError> {
        read_request(format!(r#"{{"model":"m",{fields}}}"#).as_bytes())
    }

    /// Who says what, in short.
    fn said(chat: &Chat) -> Vec<(Role, String)> {
        let short = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Image(_) => "picture".into(),
            Part::Call(call) => format!("{}({})", call.name, call.arguments),
            Part::Result { id, text, .. } => format!("{id}={text}"),
        };
        let parts = |message: &Message| message.parts.iter().map(short).collect::<Vec<_>>().join("+");
        chat.messages.iter().map(|message| (message.role, parts(message))).collect()
    }

    #[test]
    fn a_text_is_what_the_user_says_after_the_instructions() {
        let chat =
            read(r#""input":"Hi","instructions":"Be short.","max_output_tokens":7,"store":true"#).unwrap();
        assert_eq!(said(&chat), [(Role::System, "Be short.".into()), (Role::User, "Hi".into())]);
        assert_eq!(chat.max_tokens, Some(7));
    }

    #[test]
    fn calls_of_one_turn_are_one_message_and_so_is_what_came_of_them() {
        let chat = read(
            r#""input":[{"role":"user","content":[{"type":"input_text","text":"Look"},{"type":"input_image","image_url":"data:image/png;base64,AA"}]},
            {"type":"reasoning","id":"r","summary":[]},
            {"type":"message","role":"assistant","content":[{"type":"output_text","text":"So."}]},
            {"type":"function_call","call_id":"a","name":"look","arguments":"{}"},
            {"type":"function_call","call_id":"b","name":"look","arguments":"{\"x\":1}"},
            {"type":"function_call_output","call_id":"a","output":"1"},
            {"type":"function_call_output","call_id":"b","output":[{"type":"input_text","text":"2"}]}]"#,
        );
        let expected = [
            (Role::User, "Look+picture".to_owned()),
            (Role::Assistant, "So.+look({})+look({\"x\":1})".to_owned()),
            (Role::User, "a=1+b=2".to_owned()),
        ];
        assert_eq!(said(&chat.unwrap()), expected);
    }

    #[test]
    fn tools_and_formats_are_read_as_they_stand_here() {
        let chat = read(
            r#""input":"Hi","tools":[{"type":"function","name":"look","parameters":{"z":1,"a":2},"strict":true}],
            "tool_choice":{"type":"function","name":"look"},"parallel_tool_calls":false,
            "text":{"format":{"type":"json_schema","name":"n","schema":{"type":"object"}}}"#,
        )
        .unwrap();
        assert_eq!(chat.tools[0].name, "look");
        assert_eq!(chat.tools[0].schema.as_ref().unwrap().get(), r#"{"z":1,"a":2}"#);
        assert_eq!(chat.tool_choice, Some(ToolChoice::Named("look".into())));
        assert!(chat.one_call_at_a_time && matches!(chat.format, Some(Format::Schema(_))));
    }

    #[test]
    fn what_cannot_be_said_in_all_dialects_is_refused_by_its_name() {
        for (fields, field) in [
            (r#""instructions":"x""#, "input"),
            (r#""input":"x","top_logprobs":2"#, "top_logprobs"),
            (r#""input":"x","tools":[{"type":"custom","name":"x"}]"#, "tools[0].type"),
            (r#""input":"x","tool_choice":{"type":"allowed_tools","name":"x"}"#, "tool_choice"),
            (r#""input":"x","text":{"format":{"type":"grammar"}}"#, "text.format"),
            (r#""input":[{"type":"computer_call","call_id":"c"}]"#, "input[0].type"),
            (r#""input":[{"role":"critic","content":"x"}]"#, "input[0].role"),
            (
                r#""input":[{"role":"user","content":[{"type":"input_file","file_id":"f"}]}]"#,
                "input[0].content",
            ),
            (r#""input":[{"type":"function_call_output","output":"x"}]"#, "input[0].call_id"),
        ] {
            assert_eq!(read(fields).unwrap_err().parameter.as_deref(), Some(field), "{fields}");
        }
    }
}
