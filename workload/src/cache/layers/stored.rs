//! An answer as bytes that outlive the process: a number of the form, what kind it is, when it was given (milliseconds since 1970), for how long it is good
//! (milliseconds), and the answer itself. What is of another form, as another version wrote it, is none.

use super::super::{Content, KeptAnswer, Layer, MAX_KEPT_BYTES};
use bytes::Bytes;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Of this form. A changed form has another one.
const FORM: u8 = 1;
const DOCUMENT: u8 = 0;
const EVENTS: u8 = 1;
const HEAD_BYTES: usize = 18;
/// Longest of all, bytes.
pub(super) const MAX_STORED_BYTES: usize = HEAD_BYTES + MAX_KEPT_BYTES;

pub(super) fn stored(answer: &KeptAnswer, now: Instant, today: SystemTime) -> Vec<u8> {
    let given = today.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(answer.age(now));
    let kind = match answer.content {
        Content::Document(_) => DOCUMENT,
        Content::Events(_) => EVENTS,
    };
    let mut bytes = Vec::with_capacity(HEAD_BYTES + answer.content.bytes().len());
    bytes.extend([FORM, kind]);
    bytes.extend(milliseconds(given).to_be_bytes());
    bytes.extend(milliseconds(answer.ttl).to_be_bytes());
    bytes.extend_from_slice(answer.content.bytes());
    bytes
}

/// Nothing if it is not such an answer, or one from before this machine ran.
pub(super) fn parse(bytes: &Bytes, layer: Layer, now: Instant, today: SystemTime) -> Option<KeptAnswer> {
    let (head, _) = bytes.split_first_chunk::<HEAD_BYTES>().filter(|_| bytes.len() <= MAX_STORED_BYTES)?;
    let number = |at: usize| Some(u64::from_be_bytes(head.get(at..at + 8)?.try_into().ok()?));
    let content = bytes.slice(HEAD_BYTES..);
    let content = match head[..2] {
        [FORM, DOCUMENT] => Content::Document(content),
        [FORM, EVENTS] => Content::Events(content),
        _ => return None,
    };
    let since_1970 = today.duration_since(UNIX_EPOCH).ok()?;
    // Who wrote it may have a clock that is a little ahead.
    let age = since_1970.saturating_sub(Duration::from_millis(number(2)?));
    let at = now.checked_sub(age)?;
    Some(KeptAnswer { content, at, ttl: Duration::from_millis(number(10)?), layer })
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn answer(content: Content, now: Instant) -> KeptAnswer {
        KeptAnswer { content, at: now - 5 * SECOND, ttl: 60 * SECOND, layer: Layer::Memory }
    }

    #[test]
    fn what_is_stored_is_the_same_and_as_old_for_whoever_reads_it_later() {
        let (now, today) = (Instant::now(), SystemTime::now());
        for content in
            [Content::Document(Bytes::from("{}")), Content::Events(Bytes::from("data: [DONE]\n\n"))]
        {
            let bytes = stored(&answer(content.clone(), now), now, today).into();
            let read = parse(&bytes, Layer::Disk, now + SECOND, today + SECOND).unwrap();
            assert_eq!((read.content.clone(), read.ttl, read.layer), (content, 60 * SECOND, Layer::Disk));
            let age = read.age(now + SECOND);
            assert!((6 * SECOND..6 * SECOND + Duration::from_millis(2)).contains(&age), "{age:?}");
        }
    }

    #[test]
    fn what_comes_from_a_clock_that_is_ahead_is_new() {
        let (now, today) = (Instant::now(), SystemTime::now());
        let new = KeptAnswer { at: now, ..answer(Content::Document(Bytes::from("{}")), now) };
        let bytes = stored(&new, now, today + 60 * SECOND).into();
        assert_eq!(parse(&bytes, Layer::Redis, now, today).unwrap().age(now), Duration::ZERO);
    }

    #[test]
    fn what_is_not_of_the_form_is_no_answer() {
        let (now, today) = (Instant::now(), SystemTime::now());
        let whole = stored(&answer(Content::Document(Bytes::from("{}")), now), now, today);
        let changed = |at: usize, byte: u8| {
            let mut bytes = whole.clone();
            bytes[at] = byte;
            bytes
        };
        let too_long = [&*whole, &vec![b' '; MAX_KEPT_BYTES]].concat();
        for bytes in [Vec::new(), whole[..HEAD_BYTES - 1].to_vec(), changed(0, 2), changed(1, 2), too_long] {
            assert!(parse(&bytes.into(), Layer::Redis, now, today).is_none());
        }
    }
}
