//! Reads server-sent events out of bytes that arrive in any pieces (WHATWG HTML, section 9.2).
//!
//! Only the `data` field matters: in Anthropic's protocol, the name of an event stands in there too.

use super::BackendError;
use bytes::{Bytes, BytesMut};
use std::ops::Range;

/// Longest event, bytes.
const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// Collects bytes until whole events have arrived.
#[derive(Default)]
pub struct EventSplitter {
    buffer: BytesMut,
    /// Where the first event's current line begins; what lies before was looked at.
    line_start: usize,
    /// Where the search for that line's end goes on.
    searched: usize,
}

impl EventSplitter {
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
        if self.buffer.len() > MAX_EVENT_BYTES { Err(BackendError::Protocol) } else { Ok(events) }
    }

    /// What is left when no more comes.
    pub fn rest(&mut self) -> Bytes {
        (self.line_start, self.searched) = (0, 0);
        self.buffer.split().freeze()
    }
}

/// Gives the data of events.
#[derive(Default)]
pub struct EventReader(EventSplitter);

impl EventReader {
    /// Takes more bytes and gives the data of each event that they complete.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Vec<String>, BackendError> {
        let events = self.0.read(bytes)?;
        let data = events.iter().map(|event| data_of(event));
        data.filter_map(Result::transpose).collect()
    }
}

/// Where an event's data is, if it is in one line.
pub fn data_line(event: &[u8]) -> Option<Range<usize>> {
    let (mut found, mut start) = (None, 0);
    for line in event.split_inclusive(|byte| *byte == b'\n') {
        if let Some(data) = line.strip_prefix(b"data:") {
            let before = if data.starts_with(b" ") { 6 } else { 5 };
            if found.replace(start + before..start + line.trim_ascii_end().len().max(before)).is_some() {
                return None;
            }
        }
        start += line.len();
    }
    found
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
}
