//! What kind of work a request is, by the first word of the user's last message that tells. Pure.

use codecrucible_contract::Task;

/// How words begin that tell.
const WORDS: [(&str, Task); 25] = [
    ("write", Task::Write),
    ("implement", Task::Write),
    ("create", Task::Write),
    ("generate", Task::Write),
    ("build", Task::Write),
    ("refactor", Task::Change),
    ("rewrite", Task::Change),
    ("rename", Task::Change),
    ("convert", Task::Change),
    ("port", Task::Change),
    ("optimi", Task::Change),
    ("fix", Task::Fix),
    ("debug", Task::Fix),
    ("bug", Task::Fix),
    ("broken", Task::Fix),
    ("fail", Task::Fix),
    ("review", Task::Review),
    ("critique", Task::Review),
    ("audit", Task::Review),
    ("test", Task::Test),
    ("explain", Task::Explain),
    ("describe", Task::Explain),
    ("why", Task::Explain),
    ("what", Task::Explain),
    ("how", Task::Explain),
];

/// The kind of work, if a word tells.
pub(super) fn task(text: &str) -> Option<Task> {
    let text = text.to_ascii_lowercase();
    let mut words = text.split(|char: char| !char.is_alphanumeric());
    words.find_map(|word| WORDS.iter().find(|(told, _)| word.starts_with(told)).map(|(_, task)| *task))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_that_tells_counts() {
        assert_eq!(task("Please write tests for what fails."), Some(Task::Write));
        assert_eq!(task("Why does this fail?"), Some(Task::Explain));
        assert_eq!(task("FIX: it is broken"), Some(Task::Fix));
        assert_eq!(task("Tests, please."), Some(Task::Test));
        assert_eq!(task("fn add(a: i32)"), None);
    }
}
