//! What of OpenAI's responses is refused: all clients are one to a backend, so what it keeps of one of them, or gets for one by tools of
//! its own, any other one could have.

use crate::request_error::RequestError;
use serde::Deserialize;
use std::borrow::Cow;

/// Fields that lead to what a backend keeps.
pub(super) const KEPT_BY_BACKENDS: [&str; 5] =
    ["previous_response_id", "conversation", "prompt", "background", "request_id"];
/// Tools that the client runs itself.
const TOOLS: [&str; 2] = ["function", "custom"];
/// An input that is not given but kept.
const REFERENCE: &str = "item_reference";

/// Something that has a type.
#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
}

/// Checks the tools and the input of a request; of what is not a list of objects, backends have their own opinions.
pub(super) fn check(tools: Option<&str>, input: Option<&str>) -> Result<(), RequestError> {
    for (index, kind) in kinds(tools) {
        if !TOOLS.contains(&&*kind) {
            let parameter = format!("tools[{index}].type");
            let problem = format!("{parameter} must be one of {}, which the client runs", TOOLS.join(", "));
            return Err(RequestError::at(parameter, problem));
        }
    }
    match kinds(input).into_iter().find(|(_, kind)| kind == REFERENCE) {
        Some((index, _)) => Err(kept(&format!("input[{index}]"))),
        None => Ok(()),
    }
}

/// The error for a field that leads to what a backend keeps.
pub(super) fn kept(parameter: &str) -> RequestError {
    let problem = format!("{parameter} is not supported: what backends keep is not kept apart by client");
    RequestError::at(parameter, problem)
}

fn kinds(list: Option<&str>) -> Vec<(usize, Cow<'_, str>)> {
    let typed: Vec<Typed<'_>> = list.and_then(|list| serde_json::from_str(list).ok()).unwrap_or_default();
    typed.into_iter().enumerate().filter_map(|(index, typed)| Some((index, typed.kind?))).collect()
}
