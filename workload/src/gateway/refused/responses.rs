//! OpenAI's responses.

use super::{Typed, kept, typed};
use crate::request_error::RequestError;

/// Fields that lead to what a backend keeps.
pub(super) const FIELDS: [&str; 5] =
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
