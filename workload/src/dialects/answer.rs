//! An answer as no dialect says it and each can: whole, or piece by piece.

use super::ToolCall;
use bytes::Bytes;

/// What clients know an answer by.
#[derive(Clone, Debug)]
pub struct Head {
    /// Unique.
    pub id: String,
    /// Seconds since 1970.
    pub created: u64,
    /// By the name that clients use.
    pub model: String,
}

/// A whole answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// What it says.
    pub text: String,
    /// What the model thought before.
    pub reasoning: String,
    /// Tools that the client is to call.
    pub calls: Vec<ToolCall>,
    /// Why it ends.
    pub stop: StopReason,
    /// What it used.
    pub usage: Usage,
}

/// Why an answer ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StopReason {
    /// The model was done.
    #[default]
    Done,
    /// One of the client's texts ended it.
    StopText,
    /// The limit of tokens was reached.
    Length,
    /// The client is to call tools.
    Calls,
    /// The backend does not let it be said.
    Filtered,
}

/// Tokens that were used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Read, those included that were known from before.
    pub prompt: u64,
    /// Of these, known from before.
    pub cached: u64,
    /// Written.
    pub completion: u64,
}

/// A piece of an answer. Whole answers end with [`Delta::End`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delta {
    /// More text.
    Text(String),
    /// More of what the model thinks.
    Reasoning(String),
    /// A call of a tool begins, the so manieth of the answer, whose arguments follow.
    Call {
        /// From 0.
        index: usize,
        /// What the result refers to; empty where the backend gives none.
        id: String,
        /// The tool's name.
        name: String,
    },
    /// More of a call's arguments, as text.
    Arguments {
        /// The call's.
        index: usize,
        /// A part of a JSON object.
        text: String,
    },
    /// Why the answer ends.
    Stop(StopReason),
    /// What it used in all.
    Usage(Usage),
    /// It is whole.
    End,
}

/// What a backend says in place of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// Something that is not in its dialect.
    Unreadable,
    /// That it gave up.
    GivenUp,
}

/// Reads what a backend answers.
pub trait AnswerReader: Send {
    /// A whole answer.
    fn whole(&mut self, document: &[u8]) -> Result<Answer, NoAnswer>;

    /// One event of a stream.
    fn event(&mut self, event: &str) -> Result<Vec<Delta>, NoAnswer>;
}

/// Writes a stream for a client.
pub trait StreamWriter: Send {
    /// What is said before anything is known.
    fn start(&mut self) -> Bytes;

    /// What is said of a piece; empty if nothing.
    fn write(&mut self, delta: Delta) -> Bytes;

    /// Whether the stream has become longer than it can be written.
    fn is_too_long(&self) -> bool {
        false
    }
}

impl Head {
    /// A call's id: some backends give it none, and what a tool gives back must refer to one.
    pub(super) fn call_id(&self, given: String, index: usize) -> String {
        if given.is_empty() { format!("call_{}_{index}", self.id) } else { given }
    }
}

impl Delta {
    /// What of it a model has written.
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Reasoning(text) | Self::Arguments { text, .. } => text,
            Self::Call { name, .. } => name,
            Self::Stop(_) | Self::Usage(_) | Self::End => "",
        }
    }
}

impl Answer {
    /// As pieces.
    pub fn into_deltas(self) -> Vec<Delta> {
        let Self { text, reasoning, calls, stop, usage } = self;
        let mut deltas = Vec::new();
        if !reasoning.is_empty() {
            deltas.push(Delta::Reasoning(reasoning));
        }
        if !text.is_empty() {
            deltas.push(Delta::Text(text));
        }
        for (index, ToolCall { id, name, arguments }) in calls.into_iter().enumerate() {
            deltas.extend([Delta::Call { index, id, name }, Delta::Arguments { index, text: arguments }]);
        }
        deltas.extend([Delta::Stop(stop), Delta::Usage(usage), Delta::End]);
        deltas
    }

    /// Takes a piece.
    pub fn take(&mut self, delta: Delta) {
        match delta {
            Delta::Text(text) => self.text.push_str(&text),
            Delta::Reasoning(text) => self.reasoning.push_str(&text),
            Delta::Call { id, name, .. } => self.calls.push(ToolCall { id, name, arguments: String::new() }),
            Delta::Arguments { index, text } => {
                if let Some(call) = self.calls.get_mut(index) {
                    call.arguments.push_str(&text);
                }
            }
            Delta::Stop(stop) => self.stop = stop,
            Delta::Usage(usage) => self.usage = usage,
            Delta::End => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_in_pieces_is_the_answer() {
        let call = |id: &str| ToolCall { id: id.into(), name: "look".into(), arguments: "{\"at\":1}".into() };
        let answer = Answer {
            text: "Yes.".into(),
            reasoning: "Hm.".into(),
            calls: vec![call("a"), call("b")],
            stop: StopReason::Calls,
            usage: Usage { prompt: 3, cached: 1, completion: 2 },
        };
        let mut again = Answer::default();
        answer.clone().into_deltas().into_iter().for_each(|delta| again.take(delta));
        assert_eq!(again, answer);
    }
}
