//! Conversations, and the ChatML form in which both families read them.

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum Role {
    System,
    User,
    Assistant,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Who speaks.
    pub role: Role,
    /// What is said; marks of the prompt's form in it are read as plain text.
    pub content: String,
}

/// A part of a prompt.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    /// The mark that begins a message.
    Start,
    /// The mark that ends a message.
    End,
    /// Text.
    Text(&'a str),
}

/// The conversation with the beginning of the answer.
pub(crate) fn prompt(turns: &[Turn]) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    if turns.first().is_none_or(|turn| turn.role != Role::System) {
        parts.extend([
            Part::Start,
            Part::Text("system\nYou are a helpful assistant."),
            Part::End,
            Part::Text("\n"),
        ]);
    }
    for turn in turns {
        let role = match turn.role {
            Role::System => "system\n",
            Role::User => "user\n",
            Role::Assistant => "assistant\n",
        };
        parts.extend([Part::Start, Part::Text(role), Part::Text(&turn.content), Part::End, Part::Text("\n")]);
    }
    parts.extend([Part::Start, Part::Text("assistant\n")]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_message_replaces_the_usual_one() {
        let turns = [
            Turn { role: Role::System, content: "S".into() },
            Turn { role: Role::User, content: "U".into() },
        ];
        let parts = prompt(&turns);
        assert_eq!(parts[..3], [Part::Start, Part::Text("system\n"), Part::Text("S")]);
        assert_eq!(parts.iter().filter(|part| **part == Part::Start).count(), 3);
        assert_eq!(prompt(&turns[1..])[1], Part::Text("system\nYou are a helpful assistant."));
    }
}
