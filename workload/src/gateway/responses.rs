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
    for (index, Typed { kind, .. }) in typed("tools", tools)? {
        if !kind.is_some_and(|kind| TOOLS.contains(&kind.as_str())) {
            let parameter = format!("tools[{index}].type");
            let problem = format!("{parameter} must be one of {}, which the client runs", TOOLS.join(", "));
            return Err(RequestError::at(parameter, problem));
        }
    }
    // What is given says its type, or whose message it is; to some servers the rest is a reference.
    let is_reference = |item: &Typed| item.kind.as_ref().map_or(!item.has_role, |kind| kind == REFERENCE);
    match typed("input", input)?.into_iter().find(|(_, item)| is_reference(item)) {
        Some((index, _)) => Err(kept(&format!("input[{index}]"))),
        None => Ok(()),
    }
}

/// The error for a field that leads to what a backend keeps.
pub(super) fn kept(parameter: &str) -> RequestError {
    let problem = format!("{parameter} is not supported: what backends keep is not kept apart by client");
    RequestError::at(parameter, problem)
}

/// An object of a list.
#[derive(Default)]
pub(super) struct Typed {
    /// Nothing where it has none, or one that is no text.
    pub(super) kind: Option<String>,
    has_role: bool,
}

/// The objects of a list. One that has several types is refused: which of them counts, others may see otherwise.
pub(super) fn typed(field: &str, list: Option<&str>) -> Read<Vec<(usize, Typed)>> {
    let mut objects = Vec::new();
    let mut json = Json::new(list.unwrap_or_default());
    if json.peek() != Some(b'[') {
        return Ok(objects);
    }
    json.array(|json, index| {
        if json.peek() != Some(b'{') {
            return json.value().map(drop);
        }
        let (mut object, mut has_type) = (Typed::default(), false);
        json.object(|json, key| {
            let value = json.value()?;
            object.has_role |= key == "role" && value != "null";
            if is_spelling_of(&key, "type") {
                if std::mem::replace(&mut has_type, true) {
                    let parameter = format!("{field}[{index}].type");
                    let problem = format!("{parameter} occurs twice");
                    return Err(RequestError::at(parameter, problem));
                }
                object.kind = json.decoded(value).ok();
            }
            Ok(())
        })?;
        objects.push((index, object));
        Ok(())
    })?;
    Ok(objects)
}
