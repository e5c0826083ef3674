//! Anthropic's messages.

use super::{Typed, kept, typed};
use crate::json::{Json, Read, is_spelling_of};
use crate::request_error::RequestError;

/// Fields that lead to what a backend keeps, or to others that it asks.
pub(super) const FIELDS: [&str; 2] = ["container", "mcp_servers"];
/// The beginnings of the types of tools that the client runs itself, or that only look among these; one without a type is the former too.
const TOOLS: [&str; 7] =
    ["custom", "bash_", "text_editor_", "computer_", "browser_", "memory_", "tool_search_"];
/// A block, and a source of one, that is not given but kept.
const REFERENCES: [&str; 2] = ["container_upload", "file"];

/// Checks the tools of a request; of what is not a list of objects, backends have their own opinions.
pub(super) fn check(tools: Option<&str>) -> Result<(), RequestError> {
    for (index, Typed { kind, .. }) in typed("tools", tools)? {
        let is_run_by_client = |kind: &String| TOOLS.iter().any(|known| kind.starts_with(known));
        if !kind.as_ref().is_none_or(is_run_by_client) {
            let parameter = format!("tools[{index}].type");
            let problem = format!("{parameter} must be custom, or of a tool that the client runs");
            return Err(RequestError::at(parameter, problem));
        }
    }
    Ok(())
}

/// Takes a content, a message's or that of the instructions: no block of it, nor one within a block, may refer to what is kept. `at` is where it is.
pub(in crate::gateway) fn content(json: &mut Json<'_>, at: &dyn Fn() -> String) -> Read<()> {
    if json.peek() != Some(b'[') {
        return json.value().map(drop);
    }
    json.array(|json, block| part(json, &|| format!("{}[{block}]", at())))
}

/// A block, or what one is made of: those that have parts have them in `content` or `source`.
fn part(json: &mut Json<'_>, path: &dyn Fn() -> String) -> Read<()> {
    match json.peek() {
        Some(b'{') => {}
        Some(b'[') => return json.array(|json, _| part(json, path)),
        _ => return json.value().map(drop),
    }
    json.object(|json, key| {
        if is_spelling_of(&key, "content") || is_spelling_of(&key, "source") {
            return part(json, path);
        }
        let value = json.value()?;
        let is_type = is_spelling_of(&key, "type") && value.starts_with('"');
        if is_type && REFERENCES.contains(&&*json.decoded(value)?) { Err(kept(&path())) } else { Ok(()) }
    })
}

#[cfg(test)]
mod tests {
    use crate::backend::Endpoint;
    use crate::gateway::ModelRequest;
    use bytes::Bytes;

    fn parameter(content: &str, more: &str) -> Option<String> {
        let body = format!(
            r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"user","content":{content}}}]{more}}}"#
        );
        ModelRequest::parse(Endpoint::Messages, Bytes::from(body)).err().and_then(|error| error.parameter)
    }

    #[test]
    fn what_a_backend_keeps_of_one_client_no_other_one_gets() {
        let file = r#"{"type":"document","source":{"type":"file","file_id":"f"}}"#;
        let escaped = r#"{"type":"image","source":{"\u0074ype":"\u0066ile","file_id":"f"}}"#;
        let within = format!(r#"{{"type":"tool_result","tool_use_id":"c","content":[{file}]}}"#);
        for content in [file, escaped, r#"{"type":"container_upload","file_id":"f"}"#, &within] {
            let found = parameter(&format!(r#"[{{"type":"text","text":"x"}},{content}]"#), "");
            assert_eq!(found.as_deref(), Some("messages[0].content[1]"), "{content}");
        }
        let instructions = format!(r#","system":[{file}]"#);
        assert_eq!(parameter(r#""x""#, &instructions).as_deref(), Some("system[0]"));
        let otherwise = format!(r#""x","Content":[{file}]"#);
        assert_eq!(parameter(&otherwise, "").as_deref(), Some("messages[0].content"));
        for (more, field) in [
            (r#","container":"c""#, "container"),
            (r#","mcp_servers":[{"type":"url","url":"http://x"}]"#, "mcp_servers"),
            (r#","tools":[{"type":"code_execution_20250825","name":"code_execution"}]"#, "tools[0].type"),
        ] {
            assert_eq!(parameter(r#""x""#, more).as_deref(), Some(field), "{more}");
        }
    }

    #[test]
    fn what_is_given_passes() {
        for content in [
            r#""x""#,
            r#"[{"type":"text","text":"{\"type\":\"file\"}"}]"#,
            r#"[{"type":"tool_use","id":"c","name":"look","input":{"type":"file","source":{"type":"file"}}}]"#,
            r#"[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AA"}}]"#,
        ] {
            assert_eq!(
                parameter(
                    content,
                    r#","tools":[{"name":"look"},{"type":"bash_20250124","name":"bash"}],"container":null"#
                ),
                None,
                "{content}"
            );
        }
    }

    #[test]
    fn an_answer_needs_a_limit() {
        let body = Bytes::from(r#"{"model":"m","messages":[{"role":"user","content":"x"}]}"#);
        let error = ModelRequest::parse(Endpoint::Messages, body).unwrap_err();
        assert_eq!(error.parameter.as_deref(), Some("max_tokens"));
    }
}
