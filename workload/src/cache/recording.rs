//! A stream that is written down while it passes, to be kept should it end well.

use super::answer::{Content, MAX_KEPT_BYTES};
use super::place::Place;
use std::sync::atomic::{AtomicU64, Ordering};

/// The part of the room for answers that streams take which are being written down, of which not all will be kept.
const PART: u64 = 4;

/// What an event ends with.
const BETWEEN_EVENTS: [&[u8]; 2] = [b"\n\n", b"\r\n\r\n"];

/// What all streams take together that are being written down or held for those who read along, bytes.
#[derive(Debug, Default)]
pub(super) struct Written(AtomicU64);

impl Written {
    /// Takes room, if there is some within the most that there may be.
    pub(super) fn take(&self, bytes: u64, most: u64) -> bool {
        let is_taken = self.0.fetch_add(bytes, Ordering::Relaxed) + bytes <= most;
        if !is_taken {
            self.0.fetch_sub(bytes, Ordering::Relaxed);
        }
        is_taken
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Gives some of it back.
    pub(super) fn give_back(&self, bytes: u64) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A stream as far as it has passed.
pub struct Recording {
    place: Place,
    text: Vec<u8>,
    is_given_up: bool,
}

impl Recording {
    /// Of a stream whose answer is to be kept here.
    pub fn new(place: Place) -> Self {
        Self { place, text: Vec::new(), is_given_up: false }
    }

    /// Some of it has passed. What becomes too long is given up.
    pub fn frame(&mut self, bytes: &[u8]) {
        if self.is_given_up {
            return;
        }
        let is_room = self.text.len() + bytes.len() <= MAX_KEPT_BYTES
            && self.place.written().take(bytes.len() as u64, self.place.memory_bytes() / PART);
        if is_room {
            self.text.extend_from_slice(bytes);
        } else {
            self.is_given_up = true;
            self.give_back();
        }
    }

    /// It has ended with its mark.
    pub fn keep(mut self) {
        // Outside a runtime the process is about to end.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.is_given_up {
            return;
        }
        let mut text = self.give_back();
        if !BETWEEN_EVENTS.iter().any(|end| text.ends_with(end)) {
            // What ends the event of the mark may still be on its way.
            text.extend_from_slice(BETWEEN_EVENTS[0]);
        }
        text.shrink_to_fit();
        let place = self.place.clone();
        runtime.spawn(async move { place.keep(Content::Events(text.into())).await });
    }

    fn give_back(&mut self) -> Vec<u8> {
        let text = std::mem::take(&mut self.text);
        self.place.written().give_back(text.len() as u64);
        text
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Endpoint;
    use crate::cache::fixtures::rule;
    use crate::cache::layers::{Layers, Memory};
    use crate::cache::{Directives, Look};
    use crate::telemetry::Metrics;
    use std::sync::Arc;
    use std::time::Instant;

    fn place(memory_bytes: u64) -> Place {
        Place {
            layers: Arc::new(Layers {
                memory: Arc::new(Memory::new(memory_bytes)),
                disk: None,
                shared: None,
            }),
            metrics: Arc::new(Metrics::new().unwrap()),
            key: [0; 32],
            endpoint: Endpoint::ChatCompletions,
            rule: Arc::new(rule("all").into()),
        }
    }

    fn taken(place: &Place) -> u64 {
        place.written().bytes()
    }

    async fn kept(place: &Place) -> Option<String> {
        // It is kept in a task, which runs when this one waits.
        tokio::task::yield_now().await;
        match place.look(Directives::default(), Instant::now()).await {
            Look::Kept(kept, _) => Some(String::from_utf8(kept.content.bytes().to_vec()).unwrap()),
            _ => None,
        }
    }

    #[tokio::test]
    async fn a_stream_is_kept_with_what_ends_its_last_event() {
        let place = place(1 << 20);
        let mut recording = Recording::new(place.clone());
        recording.frame(b"data: {}\n\nda");
        recording.frame(b"ta: [DONE]");
        assert_eq!(taken(&place), 22);
        recording.keep();
        assert_eq!(kept(&place).await.as_deref(), Some("data: {}\n\ndata: [DONE]\n\n"));
        assert_eq!(taken(&place), 0);
    }

    #[tokio::test]
    async fn what_is_too_long_or_would_take_too_much_with_others_is_given_up() {
        let place = place(4_000);
        let mut first = Recording::new(place.clone());
        first.frame(&[b' '; 900]);
        let mut second = Recording::new(place.clone());
        second.frame(&[b' '; 90]);
        second.frame(&[b' '; 90]);
        assert_eq!(taken(&place), 900, "what is given up takes nothing");
        second.keep();
        assert_eq!(kept(&place).await, None);
        drop(first);
        assert_eq!(taken(&place), 0);
        let large = self::place(1 << 30);
        let mut long = Recording::new(large.clone());
        long.frame(&vec![b' '; MAX_KEPT_BYTES]);
        long.frame(b" ");
        assert_eq!(taken(&large), 0);
    }
}
