//! A chat as no dialect says it and each can: who said what, which tools there are, and how the answer is to be.

use crate::request_error::RequestError;
use serde::Serialize;
use serde_json::value::RawValue;

/// Most texts that end an answer: more than any of the APIs takes.
const MAX_STOP_TEXTS: usize = 64;

/// What a model is asked.
#[derive(Clone, Debug, Default)]
pub struct Chat {
    /// The conversation, in the client's order.
    pub messages: Vec<Message>,
    /// Most tokens of the answer.
    pub max_tokens: Option<u64>,
    /// How the answer is drawn.
    pub sampling: Sampling,
    /// What the model may have the client do.
    pub tools: Vec<Tool>,
    /// Whether it has to.
    pub tool_choice: Option<ToolChoice>,
    /// Whether it may call one tool at a time only.
    pub one_call_at_a_time: bool,
    /// What the answer has to look like.
    pub format: Option<Format>,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Whether a stream is to end with what was used, in dialects where that is asked for.
    pub include_usage: bool,
    /// Whether the client wants to see what the model thinks, in dialects where that is asked for.
    pub show_reasoning: bool,
    /// How the client calls what may be wrong for a backend.
    pub names: FieldNames,
}

/// Names of fields that differ between dialects of clients, for errors.
#[derive(Clone, Copy, Debug)]
pub struct FieldNames {
    /// Of [`Chat::max_tokens`].
    pub max_tokens: &'static str,
    /// Of [`Chat::format`].
    pub format: &'static str,
}

/// Those of chats.
impl Default for FieldNames {
    fn default() -> Self {
        Self { max_tokens: "max_tokens", format: "response_format" }
    }
}

/// How an answer is drawn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampling {
    /// Zero always takes the likeliest token.
    pub temperature: Option<f64>,
    /// Share of probability that is drawn from.
    pub top_p: Option<f64>,
    /// Number of tokens that are drawn from.
    pub top_k: Option<u64>,
    /// For the same answer again.
    pub seed: Option<i64>,
    /// Texts that end the answer.
    pub stop: Vec<String>,
}

/// Who speaks. What a tool gave back, the user says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names of all dialects")]
pub enum Role {
    System,
    User,
    Assistant,
}

/// What one of them says at a time.
#[derive(Clone, Debug)]
pub struct Message {
    /// Where it stands in the client's request, such as `messages[3]`.
    pub at: String,
    /// Who.
    pub role: Role,
    /// What.
    pub parts: Vec<Part>,
}

/// A part of a message.
#[derive(Clone, Debug)]
pub enum Part {
    /// A text.
    Text(String),
    /// A picture.
    Image(Image),
    /// A tool that the model has called.
    Call(ToolCall),
    /// What the tool gave back.
    Result {
        /// The call's.
        id: String,
        /// What it gave.
        text: String,
        /// Pictures that it gave.
        images: Vec<Image>,
        /// Whether it failed.
        is_error: bool,
    },
}

/// A picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Image {
    /// In the request.
    Data {
        /// Such as `image/png`.
        media_type: String,
        /// In base 64.
        data: String,
    },
    /// Somewhere else, for the backend to get.
    Url(String),
}

impl Image {
    /// By its URL: one with `data:` (RFC 2397) has the picture in it.
    pub(super) fn from_url(url: String) -> Self {
        let inside = url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
        match inside {
            Some((media_type, data)) => {
                Self::Data { media_type: media_type.to_owned(), data: data.to_owned() }
            }
            None => Self::Url(url),
        }
    }
}

/// A call of a tool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolCall {
    /// What the result refers to; empty where the backend gives none.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// A JSON object, as text.
    pub arguments: String,
}

/// Something that the client can do for the model.
#[derive(Clone, Debug)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// A JSON schema of its arguments, as it is written: in which order properties stand may matter to the model.
    pub schema: Option<Box<RawValue>>,
}

/// Whether the model has to call a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice {
    /// As it sees fit.
    Auto,
    /// None.
    None,
    /// Some tool.
    Any,
    /// The one of this name.
    Named(String),
}

impl ToolChoice {
    /// What is said of one that cannot be read.
    pub(super) const PROBLEM: &str = "must be \"auto\", \"none\", \"required\" or the name of a function";

    /// As both of OpenAI's APIs write it, but for how a function is named.
    pub(super) fn read(choice: &RawValue, named: impl FnOnce(&str) -> Option<String>) -> Option<Self> {
        match choice.get() {
            "\"auto\"" => Some(Self::Auto),
            "\"none\"" => Some(Self::None),
            "\"required\"" => Some(Self::Any),
            other => named(other).map(Self::Named),
        }
    }
}

/// What an answer has to look like.
#[derive(Clone, Debug)]
pub enum Format {
    /// Some JSON object.
    Json,
    /// One that a JSON schema describes.
    Schema(Box<RawValue>),
}

/// Texts that end an answer, if they are not too many.
pub(super) fn stop_texts(field: &str, texts: Vec<String>) -> Result<Vec<String>, RequestError> {
    if texts.len() > MAX_STOP_TEXTS {
        return Err(RequestError::at(field, format!("{field} must have at most {MAX_STOP_TEXTS} texts")));
    }
    Ok(texts)
}

impl Message {
    /// A message of nothing but text.
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        Self { at: String::new(), role, parts: vec![Part::Text(text.into())] }
    }
}

impl Part {
    /// What a tool gave back, which is texts and pictures.
    pub(super) fn result(id: String, content: Vec<Self>, is_error: bool) -> Self {
        let (mut texts, mut images) = (Vec::new(), Vec::new());
        for part in content {
            match part {
                Self::Text(text) => texts.push(text),
                Self::Image(image) => images.push(image),
                Self::Call(_) | Self::Result { .. } => {}
            }
        }
        Self::Result { id, text: texts.join("\n"), images, is_error }
    }
}

impl ToolCall {
    /// The arguments as the object that they are; none at all are an empty one.
    pub(super) fn object(&self) -> Option<&RawValue> {
        let arguments = match self.arguments.trim() {
            "" => "{}",
            arguments => arguments,
        };
        serde_json::from_str::<&RawValue>(arguments).ok().filter(|object| object.get().starts_with('{'))
    }
}

impl Chat {
    /// The first message with a part like this.
    pub(super) fn first_with(&self, is_wanted: impl Fn(&Part) -> bool) -> Option<&Message> {
        self.messages.iter().find(|message| message.parts.iter().any(&is_wanted))
    }

    /// The first one with a call whose arguments are no object, which a model may write, and not all backends read.
    pub(super) fn first_with_unreadable_call(&self) -> Option<&Message> {
        self.first_with(|part| matches!(part, Part::Call(call) if call.object().is_none()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_come_with_the_request_or_are_somewhere_else() {
        let image = |url: &str| Image::from_url(url.to_owned());
        assert_eq!(
            image("data:image/png;base64,AAAA"),
            Image::Data { media_type: "image/png".into(), data: "AAAA".into() }
        );
        assert_eq!(image("https://example.com/a.png"), Image::Url("https://example.com/a.png".into()));
    }
}
