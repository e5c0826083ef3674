//! Reads server-sent events out of bytes that arrive in any pieces (WHATWG HTML, section 9.2).
//!
//! Only the `data` field matters: in Anthropic's protocol, the name of an event stands in there too.

use super::BackendError;
use bytes::{Bytes, BytesMut};
use std::ops::Range;

/// Longest event that is read, bytes.
const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// Collects bytes until whole events have arrived.
pub struct EventSplitter {
    max_bytes: usize,
    buffer: BytesMut,
    /// Where the first event's current line begins; what lies before was looked at.
    line_start: usize,
    /// Where the search for that line's end goes on.
    searched: usize,
}

impl EventSplitter {
    /// For events of no more bytes than this.
    pub fn up_to(max_bytes: usize) -> Self {
        Self { max_bytes, buffer: BytesMut::new(), line_start: 0, searched: 0 }
    }

    /// Takes more bytes and gives each event that they complete, with the empty line that ends it. Each byte is looked at once.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Vec<Bytes>, BackendError> {
        self.buffer.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(length) = memchr::memchr(b'\n', &self.buffer[self.searched..]) {
            let line = &self.buffer[self.line_start..self.searched + length];
            let is_empty = line.is_empty() || line == b"\r";
            let next = self.searched + length + 1;
            (self.line_start, self.searched) = (next, next);
            if is_empty {
                events.push(self.buffer.split_to(next).freeze());
                (self.line_start, self.searched) = (0, 0);
            }
        }
        self.searched = self.buffer.len();
        if self.buffer.len() > self.max_bytes { Err(BackendError::Protocol) } else { Ok(events) }
    }

    /// What is left when no more comes.
    pub fn rest(&mut self) -> Bytes {
        (self.line_start, self.searched) = (0, 0);
        self.buffer.split().freeze()
    }
}

/// Gives the data of events.
pub struct EventReader(EventSplitter);

impl Default for EventReader {
    fn default() -> Self {
        Self(EventSplitter::up_to(MAX_EVENT_BYTES))
    }
}

impl EventReader {
    /// Takes more bytes and gives the data of each event that they complete.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Vec<String>, BackendError> {
        let events = self.0.read(bytes)?;
        let data = events.iter().map(|event| data_of(event));
        data.filter_map(Result::transpose).collect()
    }
}

/// Where an event's data is, if it has some. An error where it is in several lines, or where a line has a carriage return in it, which ends it to some readers.
pub fn data_line(event: &[u8]) -> Result<Option<Range<usize>>, BackendError> {
    let (mut found, mut start) = (None, 0);
    for line in event.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let data = text.strip_prefix(b"data:").map(<[u8]>::trim_ascii);
        let is_second = data.is_some() && found.is_some();
        if is_second || text.contains(&b'\r') {
            return Err(BackendError::Protocol);
        }
        if let Some(data) = data {
            let before = text.len() - b"data:".len() - text[b"data:".len()..].trim_ascii_start().len();
            let begin = start + b"data:".len() + before;
            found = Some(begin..begin + data.len());
        }
        start += line.len();
    }
    Ok(found)
}

fn data_of(event: &[u8]) -> Result<Option<String>, BackendError> {
    let text = std::str::from_utf8(event).map_err(|_| BackendError::Protocol)?;
    let lines: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .map(|data| data.strip_prefix(' ').unwrap_or(data))
        .collect();
    Ok((!lines.is_empty()).then(|| lines.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": comment\r\nevent: x\r\ndata: {\"a\":1}\r\n\r\ndata: one\ndata:two\n\nid: 7\n\ndata: é\n\ndata: cut";

    #[test]
    fn events_are_the_same_however_the_bytes_are_cut() {
        for size in 1..STREAM.len() {
            let mut reader = EventReader::default();
            let events: Vec<String> =
                STREAM.as_bytes().chunks(size).flat_map(|piece| reader.read(piece).unwrap()).collect();
            assert_eq!(events, ["{\"a\":1}", "one\ntwo", "é"], "pieces of {size} bytes");
        }
    }

    #[test]
    fn an_event_without_end_is_refused_at_the_limit() {
        let mut reader = EventReader::default();
        assert!(reader.read(&vec![b'x'; MAX_EVENT_BYTES]).is_ok());
        assert_eq!(reader.read(b"x"), Err(BackendError::Protocol));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused() {
        assert_eq!(EventReader::default().read(b"data: \xff\n\n"), Err(BackendError::Protocol));
    }

    #[test]
    fn data_that_is_in_one_line_is_found_and_what_readers_might_take_otherwise_is_refused() {
        for (event, data) in [
            ("data: {}\n\n", Some("{}")),
            ("event: x\r\ndata:\t {\"a\": 1} \r\n\r\n", Some("{\"a\": 1}")),
            ("data:\n\n", Some("")),
            (": data: x\n\n", None),
        ] {
            let place = data_line(event.as_bytes()).unwrap();
            assert_eq!(place.map(|place| &event[place]), data, "{event:?}");
        }
        for event in ["data: 1\ndata: 2\n\n", "data: 1\rdata: 2\n\n", ": \r\r\n\n"] {
            assert_eq!(data_line(event.as_bytes()), Err(BackendError::Protocol), "{event:?}");
        }
    }
}
