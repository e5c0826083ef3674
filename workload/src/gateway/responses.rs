//! What of OpenAI's responses is refused: all clients are one to a backend, so what it keeps of one of them, or gets for one by tools of
//! its own, any other one could have.

use crate::json::{Json, Read, is_spelling_of};
use crate::request_error::RequestError;

/// Fields that lead to what a backend keeps.
pub(super) const KEPT_BY_BACKENDS: [&str; 5] =
    ["previous_response_id", "conversation", "prompt", "background", "request_id"];
/// Tools that the client runs itself.
const TOOLS: [&str; 2] = ["function", "custom"];
/// An input that is not given but kept.
const REFERENCE: &str = "item_reference";

/// Checks the tools and the input of a request; of what is not a list of objects, backends have their own opinions.
pub(super) fn check(tools: Option<&str>, input: Option<&str>) -> Result<(), RequestError> {
    for (index, kind) in kinds("tools", tools)? {
        if !TOOLS.contains(&kind.as_str()) {
            let parameter = format!("tools[{index}].type");
            let problem = format!("{parameter} must be one of {}, which the client runs", TOOLS.join(", "));
            return Err(RequestError::at(parameter, problem));
        }
    }
    match kinds("input", input)?.into_iter().find(|(_, kind)| kind == REFERENCE) {
        Some((index, _)) => Err(kept(&format!("input[{index}]"))),
        None => Ok(()),
    }
}

/// The error for a field that leads to what a backend keeps.
pub(super) fn kept(parameter: &str) -> RequestError {
    let problem = format!("{parameter} is not supported: what backends keep is not kept apart by client");
    RequestError::at(parameter, problem)
}

/// The types of the objects in a list. One that has several is refused: which of them counts, others may see otherwise.
fn kinds(field: &str, list: Option<&str>) -> Read<Vec<(usize, String)>> {
    let mut kinds = Vec::new();
    let mut json = Json::new(list.unwrap_or_default());
    if json.peek() != Some(b'[') {
        return Ok(kinds);
    }
    json.array(|json, index| {
        if json.peek() != Some(b'{') {
            return json.value().map(drop);
        }
        let before = kinds.len();
        json.object(|json, key| {
            let value = json.value()?;
            if !is_spelling_of(&key, "type") {
                return Ok(());
            }
            if kinds.len() > before {
                let parameter = format!("{field}[{index}].type");
                let problem = format!("{parameter} occurs twice");
                return Err(RequestError::at(parameter, problem));
            }
            // Whatever is no text is no type either.
            kinds.push((index, json.decoded(value).unwrap_or_default()));
            Ok(())
        })
    })?;
    Ok(kinds)
}
