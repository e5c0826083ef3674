//! Reads server-sent events out of bytes that arrive in any pieces (WHATWG HTML, section 9.2).
//!
//! Only the `data` field matters: in Anthropic's protocol, the name of an event stands in there too.

use super::BackendError;

/// Longest event, bytes.
const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// Collects bytes until whole events have arrived.
#[derive(Default)]
pub struct EventReader {
    buffer: Vec<u8>,
    /// Where the first event's current line begins; what lies before was looked at.
    line_start: usize,
    /// Where the search for that line's end goes on.
    searched: usize,
}

impl EventReader {
    /// Takes more bytes and gives the data of each event that they complete. Each byte is looked at once.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Vec<String>, BackendError> {
        self.buffer.extend_from_slice(bytes);
        let mut events = Vec::new();
        let mut event_start = 0;
        while let Some(length) = self.buffer[self.searched..].iter().position(|&byte| byte == b'\n') {
            let line = &self.buffer[self.line_start..self.searched + length];
            let next = self.searched + length + 1;
            if line.is_empty() || line == b"\r" {
                events.extend(data_of(&self.buffer[event_start..self.line_start])?);
                event_start = next;
            }
            (self.line_start, self.searched) = (next, next);
        }
        self.buffer.drain(..event_start);
        self.line_start -= event_start;
        self.searched = self.buffer.len();
        if self.buffer.len() > MAX_EVENT_BYTES { Err(BackendError::Protocol) } else { Ok(events) }
    }
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
