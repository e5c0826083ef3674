//! Whether an answer is one that should be given again: backends also tell of errors with status 200, or within streams that end like whole ones.

use crate::backend::Endpoint;
use crate::json::fields;

/// What OpenAI's responses say of themselves when they are whole.
const COMPLETED: &str = "\"completed\"";
const DATA: &str = "data:";
const END_MARK: &str = "[DONE]";
/// How lines of events begin that tell of an error: the second is a field of its own to some servers.
const ERRORS: [&str; 5] =
    ["event: error", "event:error", "error:", "event: response.incomplete", "event: response.failed"];
/// What servers say of an answer that they gave up.
const GIVEN_UP: [&str; 2] = ["\"finish_reason\":\"abort\"", "\"finish_reason\": \"abort\""];

/// Whether a document is a whole answer.
pub(super) fn is_whole_document(endpoint: Endpoint, document: &[u8]) -> bool {
    let Ok(document) = std::str::from_utf8(document) else { return false };
    if GIVEN_UP.iter().any(|given_up| document.contains(given_up)) {
        return false;
    }
    let Some(fields) = fields(document, usize::MAX) else { return false };
    fields.iter().all(|(name, value)| match &**name {
        "error" => *value == "null",
        "status" => endpoint != Endpoint::Responses || *value == COMPLETED,
        _ => true,
    })
}

/// Whether the events of a stream are those of a whole answer.
pub(super) fn are_whole_events(endpoint: Endpoint, events: &[u8]) -> bool {
    let Ok(events) = std::str::from_utf8(events) else { return false };
    if events.lines().any(|line| ERRORS.iter().any(|error| line.starts_with(error))) {
        return false;
    }
    let data = events.lines().filter_map(|line| Some(line.strip_prefix(DATA)?.trim()));
    let mut documents = data.filter(|data| *data != END_MARK).peekable();
    documents.peek().is_some() && documents.all(|data| is_whole_document(endpoint, data.as_bytes()))
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
        for events in [
            "data: {\"cho\n\ndata: [DONE]\n\n",
            "data: [DONE]\n\n",
            "data: {}\n\nerror: {\"code\":500}\n\ndata: [DONE]\n\n",
            "data: {}\n\nevent: error\ndata: {}\n\ndata: [DONE]\n\n",
            "data: {\"choices\":[{\"finish_reason\":\"abort\"}]}\n\ndata: [DONE]\n\n",
            "event: response.incomplete\ndata: {\"response\":{}}\n\n",
        ] {
            assert!(!are_whole(events), "{events}");
        }
    }
}
