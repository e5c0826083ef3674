//! The last bytes of a stream that passes, by which it is known whether it is whole.

use crate::backend::StreamEnd;

/// The line that complete streams of OpenAI's end with, blank lines aside; the space may be missing.
const END_MARKS: [&[u8]; 2] = [b"data: [DONE]", b"data:[DONE]"];
/// How much of the end is remembered to find it, bytes.
const MARK_BYTES: usize = 24;
/// How the event begins that complete streams of Anthropic's end with.
const MESSAGE_STOPS: [&[u8]; 2] = [b"event: message_stop", b"event:message_stop"];
/// How much of the end is remembered to find it, bytes: some fill it up with spaces, or say there how long it all took.
const EVENT_BYTES: usize = 1024;

/// The last bytes that passed.
pub(super) struct Tail {
    end: StreamEnd,
    bytes: Box<[u8]>,
    length: usize,
}

impl Tail {
    /// Of a stream that ends in this way.
    pub(super) fn new(end: StreamEnd) -> Self {
        let most = match end {
            StreamEnd::Mark | StreamEnd::Connection => MARK_BYTES,
            StreamEnd::MessageStop => EVENT_BYTES,
        };
        Self { end, bytes: vec![0; most].into(), length: 0 }
    }

    /// More that passes.
    pub(super) fn push(&mut self, data: &[u8]) {
        let data = &data[data.len().saturating_sub(self.bytes.len())..];
        let kept = self.length.min(self.bytes.len() - data.len());
        self.bytes.copy_within(self.length - kept..self.length, 0);
        self.bytes[kept..kept + data.len()].copy_from_slice(data);
        self.length = kept + data.len();
    }

    /// Whether the stream is whole, as far as its bytes tell.
    pub(super) fn has_end(&self) -> bool {
        let tail = &self.bytes[..self.length];
        match self.end {
            StreamEnd::Mark => {
                let tail = tail.trim_ascii_end();
                // A line of its own: inside an event's text a line cannot begin.
                END_MARKS.iter().any(|mark| tail.strip_suffix(*mark).is_some_and(is_line_start))
            }
            StreamEnd::MessageStop => MESSAGE_STOPS.iter().any(|name| {
                let Some(start) = memchr::memmem::rfind(tail, name) else { return false };
                is_line_start(&tail[..start]) && is_one_event(&tail[start + name.len()..])
            }),
            StreamEnd::Connection => false,
        }
    }

    /// Whether what comes next is not read as a part of what came before.
    pub(super) fn is_between_events(&self) -> bool {
        let tail = &self.bytes[..self.length];
        tail.is_empty() || tail.ends_with(b"\n\n") || tail.ends_with(b"\r\n\r\n")
    }
}

fn is_line_start(before: &[u8]) -> bool {
    before.is_empty() || before.ends_with(b"\n")
}

/// Whether this is the end of the line with an event's name, one of data, and after it at most comments, or OpenAI's mark, which vLLM adds.
fn is_one_event(rest: &[u8]) -> bool {
    let says_nothing = |line: &[u8]| line.is_empty() || line.starts_with(b":") || END_MARKS.contains(&line);
    let mut lines = rest.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    let is_named = lines.next().is_some_and(<[u8]>::is_empty);
    let has_data = lines.next().is_some_and(|line| line.starts_with(b"data:"));
    is_named && has_data && rest.ends_with(b"\n") && lines.all(says_nothing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has_end(end: StreamEnd, text: &str) -> bool {
        let mut tail = Tail::new(end);
        text.as_bytes().chunks(7).for_each(|piece| tail.push(piece));
        tail.has_end()
    }

    #[test]
    fn a_mark_is_a_line_of_its_own() {
        for text in ["data: 1\n\ndata: [DONE]\n\n", "data:[DONE]", "data: [DONE]\r\n\r\n"] {
            assert!(has_end(StreamEnd::Mark, text), "{text}");
        }
        for text in ["", "data: \"data: [DONE]", "data: [DONE]\n\ndata: 1\n\n"] {
            assert!(!has_end(StreamEnd::Mark, text), "{text}");
        }
    }

    #[test]
    fn a_message_stops_with_an_event_of_this_name() {
        let spaces = " ".repeat(900);
        for text in [
            "event: ping\ndata: {}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
            "event:message_stop\r\ndata:{}\r\n\r\n",
            &format!("event: message_stop\ndata: {{\"type\":\"message_stop\"{spaces}}}\n\n"),
            "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\ndata: [DONE]\n\n",
            "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n: bye\n\n",
        ] {
            assert!(has_end(StreamEnd::MessageStop, text), "{text}");
        }
        for text in [
            "",
            "event: message_stop\n",
            "event: message_stop\ndata: {\"ty",
            "event: message_stopped\ndata: {}\n\n",
            "event: message_stop\ndata: {}\n\nevent: error\ndata: {}\n\n",
            "data: {\"text\":\"event: message_stop\\ndata: {}\"}\n\n",
            "data: [DONE]\n\n",
        ] {
            assert!(!has_end(StreamEnd::MessageStop, text), "{text}");
        }
    }
}
