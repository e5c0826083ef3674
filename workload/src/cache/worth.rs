//! Whether an answer is one that should be given again: backends also tell of errors with status 200, or within streams that end like whole ones.

use crate::backend::Endpoint;
use crate::json::fields;

/// What OpenAI's responses say of themselves when they are whole.
const COMPLETED: &str = "\"completed\"";
const DATA: &str = "data:";
const END_MARK: &str = "[DONE]";

/// Whether a document is a whole answer.
pub(super) fn is_whole_document(endpoint: Endpoint, document: &[u8]) -> bool {
    let Some(fields) = std::str::from_utf8(document).ok().and_then(fields) else { return false };
    fields.iter().all(|(name, value)| match &**name {
        "error" => *value == "null",
        "status" => endpoint != Endpoint::Responses || *value == COMPLETED,
        _ => true,
    })
}

/// Whether the events of a stream are those of a whole answer.
pub(super) fn are_whole_events(endpoint: Endpoint, events: &[u8]) -> bool {
    let Ok(events) = std::str::from_utf8(events) else { return false };
    let mut data = events.lines().filter_map(|line| Some(line.strip_prefix(DATA)?.trim()));
    data.all(|data| data == END_MARK || is_whole_document(endpoint, data.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_that_tells_of_an_error_or_is_cut_is_none() {
        let is_whole = |document: &str| is_whole_document(Endpoint::ChatCompletions, document.as_bytes());
        assert!(is_whole(r#"{"choices":[],"error":null,"status":"queued"}"#));
        for document in [r#"{"error":{"message":"x"}}"#, r#"{"choices":["#, "", "[]", r#"{"a":1}{"#] {
            assert!(!is_whole(document), "{document}");
        }
        let of_response = |document: &str| is_whole_document(Endpoint::Responses, document.as_bytes());
        assert!(of_response(r#"{"status":"completed","error":null}"#));
        assert!(!of_response(r#"{"status":"failed"}"#) && !of_response(r#"{"status":"incomplete"}"#));
    }

    #[test]
    fn so_is_a_stream_with_such_an_event() {
        let are_whole = |events: &str| are_whole_events(Endpoint::ChatCompletions, events.as_bytes());
        assert!(are_whole(": hello\n\ndata: {\"choices\":[]}\r\n\r\ndata:[DONE]\n\n"));
        assert!(!are_whole("data: {\"choices\":[]}\n\ndata: {\"error\":{}}\n\ndata: [DONE]\n\n"));
        assert!(!are_whole("data: {\"cho\n\ndata: [DONE]\n\n"));
    }
}
