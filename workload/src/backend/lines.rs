//! Reads lines out of bytes that arrive in any pieces.

use super::BackendError;

/// Longest line, bytes.
const MAX_LINE_BYTES: usize = 1024 * 1024;

/// Collects bytes until whole lines have arrived.
#[derive(Default)]
pub struct LineReader {
    buffer: Vec<u8>,
}

impl LineReader {
    /// Takes more bytes and gives each line that they complete, empty ones aside. Each byte is looked at once.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Vec<String>, BackendError> {
        let mut lines = Vec::new();
        let mut rest = bytes;
        while let Some(length) = memchr::memchr(b'\n', rest) {
            self.buffer.extend_from_slice(&rest[..length]);
            let line =
                String::from_utf8(std::mem::take(&mut self.buffer)).map_err(|_| BackendError::Protocol)?;
            if !line.trim().is_empty() {
                lines.push(line);
            }
            rest = &rest[length + 1..];
        }
        self.buffer.extend_from_slice(rest);
        if self.buffer.len() > MAX_LINE_BYTES { Err(BackendError::Protocol) } else { Ok(lines) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "{\"a\":1}\r\n\n{\"é\":2}\n{\"cut";

    #[test]
    fn lines_are_the_same_however_the_bytes_are_cut() {
        for size in 1..STREAM.len() {
            let mut reader = LineReader::default();
            let lines: Vec<String> =
                STREAM.as_bytes().chunks(size).flat_map(|piece| reader.read(piece).unwrap()).collect();
            assert_eq!(lines, ["{\"a\":1}\r", "{\"é\":2}"], "pieces of {size} bytes");
        }
    }

    #[test]
    fn a_line_without_end_is_refused_at_the_limit() {
        let mut reader = LineReader::default();
        assert!(reader.read(&vec![b'x'; MAX_LINE_BYTES]).is_ok());
        assert_eq!(reader.read(b"x"), Err(BackendError::Protocol));
        assert_eq!(LineReader::default().read(b"\xff\n"), Err(BackendError::Protocol));
    }
}
