//! Ends an answer at a text that the client named, also when it arrives in pieces.

/// Watches one answer.
pub(crate) struct StopWatch {
    stops: Vec<String>,
    held: String,
}

/// What may be sent on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Passed {
    pub(crate) text: String,
    pub(crate) stopped: bool,
}

impl StopWatch {
    pub(crate) fn new(stops: Vec<String>) -> Self {
        Self { stops: stops.into_iter().filter(|stop| !stop.is_empty()).collect(), held: String::new() }
    }

    /// Takes more text; what could be the beginning of a stop text is held back.
    pub(crate) fn push(&mut self, text: &str) -> Passed {
        self.held.push_str(text);
        let first = self.stops.iter().filter_map(|stop| self.held.find(stop)).min();
        if let Some(position) = first {
            self.held.truncate(position);
            return Passed { text: std::mem::take(&mut self.held), stopped: true };
        }
        let keep = self.stops.iter().map(|stop| overlap(&self.held, stop)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - keep);
        Passed { text: std::mem::replace(&mut self.held, rest), stopped: false }
    }

    /// What was held back, once the answer ended otherwise.
    pub(crate) fn finish(self) -> String {
        self.held
    }
}

/// Length of the longest end of `text` that is a beginning of `stop`, but not all of it.
fn overlap(text: &str, stop: &str) -> usize {
    let lengths = (1..stop.len()).rev().filter(|&length| stop.is_char_boundary(length));
    lengths.into_iter().find(|&length| text.ends_with(&stop[..length])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stops: &[&str], pieces: &[&str]) -> (String, bool) {
        let mut watch = StopWatch::new(stops.iter().map(|stop| (*stop).to_owned()).collect());
        let mut text = String::new();
        for piece in pieces {
            let passed = watch.push(piece);
            text.push_str(&passed.text);
            if passed.stopped {
                return (text, true);
            }
        }
        (text + &watch.finish(), false)
    }

    #[test]
    fn a_stop_text_ends_the_answer_however_it_is_cut() {
        for pieces in [&["a END b"][..], &["a E", "ND b"], &["a ", "E", "N", "D"], &["a ", "END"]] {
            assert_eq!(run(&["END"], pieces), ("a ".into(), true), "{pieces:?}");
        }
    }

    #[test]
    fn a_beginning_that_does_not_go_on_is_let_go() {
        assert_eq!(run(&["END"], &["E", "Nx", "EN"]), ("ENxEN".into(), false));
    }

    #[test]
    fn the_earliest_of_several_wins_and_characters_stay_whole() {
        assert_eq!(run(&["zz", "é!"], &["aé", "! zz"]), ("a".into(), true));
        assert_eq!(run(&["éé"], &["aé"]), ("aé".into(), false));
    }

    #[test]
    fn without_stop_texts_everything_passes_at_once() {
        assert_eq!(
            StopWatch::new(vec![String::new()]).push("x"),
            Passed { text: "x".into(), stopped: false }
        );
    }
}
