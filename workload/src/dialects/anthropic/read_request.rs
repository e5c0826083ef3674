//! A chat as a client of Anthropic's API asks it.

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
    system: Option<Content<Block>>,
    max_tokens: Option<u64>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<u64>,
    stop_sequences: Option<Vec<String>>,
    stream: Option<bool>,
    tools: Option<Vec<ToolDocument>>,
    tool_choice: Option<ToolChoiceDocument>,
    thinking: Option<Thinking>,
    output_config: Option<OutputConfig>,
}

#[derive(Deserialize)]
struct OutputConfig {
    format: Option<FormatDocument>,
}

#[derive(Deserialize)]
struct FormatDocument {
    schema: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Thinking {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct MessageDocument {
    role: String,
    content: Content<Block>,
}

/// A block of any type.
#[derive(Deserialize)]
struct Block {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
    source: Option<Source>,
    id: Option<String>,
    name: Option<String>,
    input: Option<Box<RawValue>>,
    tool_use_id: Option<String>,
    content: Option<Content<ResultBlock>>,
    is_error: Option<bool>,
}

/// What a tool gave back, which is no block with blocks in it.
#[derive(Deserialize)]
struct ResultBlock {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
    source: Option<Source>,
}

#[derive(Deserialize)]
struct Source {
    #[serde(rename = "type")]
    kind: String,
    media_type: Option<String>,
    data: Option<String>,
    url: Option<String>,
}

#[derive(Deserialize)]
struct ToolDocument {
    #[serde(rename = "type")]
    kind: Option<String>,
    name: Option<String>,
    description: Option<String>,
    input_schema: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct ToolChoiceDocument {
    #[serde(rename = "type")]
    kind: String,
    name: Option<String>,
    disable_parallel_tool_use: Option<bool>,
}

/// Reads a request's body.
pub fn read_request(body: &[u8]) -> Result<Chat, RequestError> {
    let document: Document = serde_json::from_slice(body)
        .map_err(|error| RequestError::body(format!("the body is not a valid JSON request: {error}")))?;
    let mut messages = Vec::new();
    if let Some(system) = document.system {
        let at = "system".to_owned();
        messages.push(Message { role: Role::System, parts: parts(&at, system)?, at });
    }
    for (index, said) in document.messages.into_iter().enumerate() {
        messages.push(message(index, said)?);
    }
    let tools = document.tools.unwrap_or_default().into_iter().enumerate();
    let choice = document.tool_choice;
    let one_call_at_a_time =
        choice.as_ref().and_then(|choice| choice.disable_parallel_tool_use) == Some(true);
    Ok(Chat {
        messages,
        max_tokens: document.max_tokens,
        sampling: Sampling {
            temperature: document.temperature,
            top_p: document.top_p,
            top_k: document.top_k,
            seed: None,
            stop: stop_texts("stop_sequences", document.stop_sequences.unwrap_or_default())?,
        },
        tools: tools.map(|(index, given)| tool(index, given)).collect::<Result<_, _>>()?,
        tool_choice: choice.map(tool_choice).transpose()?,
        one_call_at_a_time,
        format: document.output_config.and_then(|config| config.format).map(format).transpose()?,
        stream: document.stream == Some(true),
        include_usage: true,
        show_reasoning: document.thinking.is_some_and(|thinking| thinking.kind != "disabled"),
        names: FieldNames::default(),
    })
}

fn not_here(field: String, problem: &str) -> RequestError {
    let message =
        format!("{field} {problem} for this model, whose backend does not speak Anthropic's protocol");
    RequestError::at(field, message)
}

fn message(index: usize, said: MessageDocument) -> Result<Message, RequestError> {
    let role = match said.role.as_str() {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" => Role::System,
        other => {
            let field = format!("messages[{index}].role");
            return Err(RequestError::at(
                field.clone(),
                format!("{field} is {other:?}, but must be user or assistant"),
            ));
        }
    };
    let at = format!("messages[{index}]");
    Ok(Message { role, parts: parts(&format!("{at}.content"), said.content)?, at })
}

fn parts(at: &str, content: Content<Block>) -> Result<Vec<Part>, RequestError> {
    match content {
        Content::Text(text) => Ok(vec![Part::Text(text)]),
        Content::Parts(blocks) => {
            let parts =
                blocks.into_iter().enumerate().map(|(index, block)| part(&format!("{at}[{index}]"), block));
            Ok(parts.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
        }
    }
}

fn given_back(at: &str, content: Content<ResultBlock>) -> Result<Vec<Part>, RequestError> {
    let blocks = match content {
        Content::Text(text) => return Ok(vec![Part::Text(text)]),
        Content::Parts(blocks) => blocks,
    };
    let parts = blocks.into_iter().enumerate().map(|(index, block)| {
        let at = format!("{at}[{index}]");
        match block {
            ResultBlock { kind, text: Some(text), .. } if kind == "text" => Ok(Part::Text(text)),
            ResultBlock { kind, source: Some(source), .. } if kind == "image" => {
                Ok(Part::Image(image(&at, source)?))
            }
            ResultBlock { kind, .. } => {
                Err(not_here(at, &format!("is of the type {kind:?}, which cannot be sent on")))
            }
        }
    });
    parts.collect()
}

/// What the model thought before is left out: it is signed, and nobody but Anthropic reads it.
fn part(at: &str, block: Block) -> Result<Option<Part>, RequestError> {
    let missing = |field: &str| {
        let field = format!("{at}.{field}");
        RequestError::at(field.clone(), format!("{field} is required"))
    };
    Ok(Some(match block.kind.as_str() {
        "text" => Part::Text(block.text.ok_or_else(|| missing("text"))?),
        "image" => Part::Image(image(at, block.source.ok_or_else(|| missing("source"))?)?),
        "document" if block.source.as_ref().is_some_and(|source| source.kind == "text") => {
            Part::Text(block.source.and_then(|source| source.data).unwrap_or_default())
        }
        "tool_use" => Part::Call(ToolCall {
            id: block.id.ok_or_else(|| missing("id"))?,
            name: block.name.ok_or_else(|| missing("name"))?,
            arguments: block.input.map_or_else(|| "{}".to_owned(), |input| input.get().to_owned()),
        }),
        "tool_result" => {
            let id = block.tool_use_id.ok_or_else(|| missing("tool_use_id"))?;
            let content = block.content.map(|content| given_back(&format!("{at}.content"), content));
            Part::result(id, content.transpose()?.unwrap_or_default(), block.is_error == Some(true))
        }
        "thinking" | "redacted_thinking" => return Ok(None),
        kind => {
            return Err(not_here(
                at.to_owned(),
                &format!("is of the type {kind:?}, which cannot be sent on"),
            ));
        }
    }))
}

fn image(at: &str, source: Source) -> Result<Image, RequestError> {
    match source {
        Source { kind, media_type: Some(media_type), data: Some(data), .. } if kind == "base64" => {
            Ok(Image::Data { media_type, data })
        }
        Source { kind, url: Some(url), .. } if kind == "url" => Ok(Image::Url(url)),
        Source { .. } => {
            let field = format!("{at}.source");
            let problem = format!("{field} must have a media_type and data in base64, or a url");
            Err(RequestError::at(field, problem))
        }
    }
}

fn tool(index: usize, given: ToolDocument) -> Result<Tool, RequestError> {
    let ToolDocument { kind, name, description, input_schema } = given;
    let at = |field: &str| format!("tools[{index}].{field}");
    match (kind.as_deref(), name) {
        (None | Some("custom"), Some(name)) => Ok(Tool { name, description, schema: input_schema }),
        (None | Some("custom"), None) => {
            Err(RequestError::at(at("name"), format!("{} is required", at("name"))))
        }
        // What such a tool takes is known to Anthropic's models alone.
        (Some(kind), _) => Err(not_here(at("type"), &format!("is {kind:?}, but must be \"custom\""))),
    }
}

fn format(asked: FormatDocument) -> Result<Format, RequestError> {
    let missing = || RequestError::at("output_config.format", "output_config.format must have a schema");
    asked.schema.map(Format::Schema).ok_or_else(missing)
}

fn tool_choice(choice: ToolChoiceDocument) -> Result<ToolChoice, RequestError> {
    match choice {
        ToolChoiceDocument { kind, .. } if kind == "auto" => Ok(ToolChoice::Auto),
        ToolChoiceDocument { kind, .. } if kind == "any" => Ok(ToolChoice::Any),
        ToolChoiceDocument { kind, .. } if kind == "none" => Ok(ToolChoice::None),
        ToolChoiceDocument { kind, name: Some(name), .. } if kind == "tool" => Ok(ToolChoice::Named(name)),
        ToolChoiceDocument { .. } => {
            let problem = "tool_choice must be of the type auto, any, none, or tool with a name";
            Err(RequestError::at("tool_choice", problem))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_content(content: &str) -> Result<Chat, RequestError> {
        let body =
            format!(r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"user","content":{content}}}]}}"#);
        read_request(body.as_bytes())
    }

    #[test]
    fn blocks_become_parts_and_thoughts_are_left_out() {
        let chat = of_content(
            r#"[{"type":"thinking","thinking":"x","signature":"s"},{"type":"text","text":"a","cache_control":{"type":"ephemeral"}},
                {"type":"tool_result","tool_use_id":"c","content":[{"type":"text","text":"b"},{"type":"text","text":"c"}],"is_error":true}]"#,
        );
        let chat = chat.unwrap();
        let [Part::Text(text), Part::Result { id, text: given, is_error: true, .. }] =
            &*chat.messages[0].parts
        else {
            panic!("{chat:?}");
        };
        assert_eq!((&**text, &**id, &**given), ("a", "c", "b\nc"));
    }

    #[test]
    fn wrong_blocks_are_named() {
        for (content, field) in [
            (r#"[{"type":"text"}]"#, "messages[0].content[0].text"),
            (r#"[{"type":"document","source":{"type":"url","url":"x"}}]"#, "messages[0].content[0]"),
            (r#"[{"type":"image","source":{"type":"base64"}}]"#, "messages[0].content[0].source"),
            (r#"[{"type":"tool_result"}]"#, "messages[0].content[0].tool_use_id"),
            (
                r#"[{"type":"tool_result","tool_use_id":"c","content":[{"type":"pdf"}]}]"#,
                "messages[0].content[0].content[0]",
            ),
        ] {
            assert_eq!(of_content(content).unwrap_err().parameter.as_deref(), Some(field), "{content}");
        }
    }

    #[test]
    fn tools_and_their_choice_are_read() {
        let body = |more: &str| format!(r#"{{"messages":[{{"role":"user","content":"x"}}],{more}}}"#);
        let chat = body(
            r#""tools":[{"name":"look","input_schema":{"z":1,"a":2}}],"tool_choice":{"type":"tool","name":"look","disable_parallel_tool_use":true}"#,
        );
        let chat = read_request(chat.as_bytes()).unwrap();
        assert_eq!(chat.tools[0].schema.as_ref().unwrap().get(), r#"{"z":1,"a":2}"#);
        assert_eq!(chat.tool_choice, Some(ToolChoice::Named("look".into())));
        assert!(chat.one_call_at_a_time);
        for (more, field) in [
            (r#""tools":[{"type":"web_search_20250305","name":"web_search"}]"#, "tools[0].type"),
            (r#""tool_choice":{"type":"tool"}"#, "tool_choice"),
        ] {
            assert_eq!(read_request(body(more).as_bytes()).unwrap_err().parameter.as_deref(), Some(field));
        }
    }
}
