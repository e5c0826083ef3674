//! An answer as bytes that outlive the process: a number of the form, what kind it is, when it was given (milliseconds since 1970), for how long it is good
//! (milliseconds), and the answer itself. What is of another form, as another version wrote it, is none.

use super::super::answer::{Content, KeptAnswer, MAX_KEPT_BYTES};
use bytes::{Buf as _, BufMut as _, Bytes};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Of this form. A changed form has another one.
const FORM: u8 = 1;
const DOCUMENT: u8 = 0;
const EVENTS: u8 = 1;
const HEAD_BYTES: usize = 18;
/// How far the clock of whoever wrote it may be ahead.
const MAX_AHEAD: Duration = Duration::from_secs(5);
/// Longest of all, bytes.
pub(super) const MAX_STORED_BYTES: usize = HEAD_BYTES + MAX_KEPT_BYTES;

pub(super) fn stored(answer: &KeptAnswer, now: Instant, today: SystemTime) -> Vec<u8> {
    let given = today.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(answer.age(now));
    let kind = match answer.content {
        Content::Document(_) => DOCUMENT,
        Content::Events(_) => EVENTS,
    };
    let mut bytes = Vec::with_capacity(HEAD_BYTES + answer.content.bytes().len());
    bytes.put_u8(FORM);
    bytes.put_u8(kind);
    bytes.put_u64(milliseconds(given));
    bytes.put_u64(milliseconds(answer.ttl));
    bytes.put_slice(answer.content.bytes());
    bytes
}

/// Nothing if it is not such an answer, or one from before this machine ran, or from the future.
pub(super) fn parse(bytes: &Bytes, now: Instant, today: SystemTime) -> Option<KeptAnswer> {
    if !(HEAD_BYTES..=MAX_STORED_BYTES).contains(&bytes.len()) {
        return None;
    }
    let mut bytes = bytes.clone();
    let (form, kind, given_ms, ttl_ms) = (bytes.get_u8(), bytes.get_u8(), bytes.get_u64(), bytes.get_u64());
    let content = match (form, kind) {
        (FORM, DOCUMENT) => Content::Document(bytes),
        (FORM, EVENTS) => Content::Events(bytes),
        _ => return None,
    };
    let (today, given) = (today.duration_since(UNIX_EPOCH).ok()?, Duration::from_millis(given_ms));
    if given > today + MAX_AHEAD {
        return None;
    }
    let age = today.saturating_sub(given);
    Some(KeptAnswer { content, at: now.checked_sub(age)?, ttl: Duration::from_millis(ttl_ms) })
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn answer(content: Content, now: Instant) -> KeptAnswer {
        KeptAnswer { content, at: now - 5 * SECOND, ttl: 60 * SECOND }
    }

    #[test]
    fn what_is_stored_is_the_same_and_as_old_for_whoever_reads_it_later() {
        let (now, today) = (Instant::now(), SystemTime::now());
        for content in
            [Content::Document(Bytes::from("{}")), Content::Events(Bytes::from("data: [DONE]\n\n"))]
        {
            let bytes = stored(&answer(content.clone(), now), now, today).into();
            let read = parse(&bytes, now + SECOND, today + SECOND).unwrap();
            assert_eq!((read.content.clone(), read.ttl), (content, 60 * SECOND));
            let age = read.age(now + SECOND);
            assert!((6 * SECOND..6 * SECOND + Duration::from_millis(2)).contains(&age), "{age:?}");
        }
    }

    #[test]
    fn what_comes_from_a_clock_that_is_a_little_ahead_is_new_and_from_the_future_nothing_comes() {
        let (now, today) = (Instant::now(), SystemTime::now());
        let new = KeptAnswer { at: now, ..answer(Content::Document(Bytes::from("{}")), now) };
        let from_ahead = |ahead| parse(&stored(&new, now, today + ahead).into(), now, today);
        assert_eq!(from_ahead(4 * SECOND).unwrap().age(now), Duration::ZERO);
        assert!(from_ahead(6 * SECOND).is_none());
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
            assert!(parse(&bytes.into(), now, today).is_none());
        }
    }
}
