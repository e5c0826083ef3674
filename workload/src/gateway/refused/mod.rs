//! What of requests is refused because of what backends keep: all clients are one to a backend, so what it keeps of one of them, or gets for one by tools
//! of its own, any other one could have.

mod messages;
mod responses;

pub(super) use messages::content;

use crate::backend::Endpoint;
use crate::json::{Json, Read, is_spelling_of};
use crate::request_error::RequestError;

/// Fields that lead to what a backend keeps, or to others that it asks.
pub(super) const fn fields(endpoint: Endpoint) -> &'static [&'static str] {
    match endpoint {
        Endpoint::Responses => &responses::FIELDS,
        Endpoint::Messages => &messages::FIELDS,
        Endpoint::ChatCompletions | Endpoint::Completions | Endpoint::Embeddings => &[],
    }
}

/// Checks such a field, if there is one, the tools and the input of a request; of what is not a list of objects, backends have their own opinions.
pub(super) fn check(
    endpoint: Endpoint,
    field: Option<&str>,
    tools: Option<&str>,
    input: Option<&str>,
) -> Result<(), RequestError> {
    field.map_or(Ok(()), |field| Err(kept(field)))?;
    match endpoint {
        Endpoint::Responses => responses::check(tools, input),
        Endpoint::Messages => messages::check(tools),
        Endpoint::ChatCompletions | Endpoint::Completions | Endpoint::Embeddings => Ok(()),
    }
}

/// The error for a field that leads to what a backend keeps.
fn kept(parameter: &str) -> RequestError {
    let problem = format!("{parameter} is not supported: what backends keep is not kept apart by client");
    RequestError::at(parameter, problem)
}

/// An object of a list.
#[derive(Default)]
struct Typed {
    /// Nothing where it has none, or one that is no text.
    kind: Option<String>,
    has_role: bool,
}

/// The objects of a list. One that has several types is refused: which of them counts, others may see otherwise.
fn typed(field: &str, list: Option<&str>) -> Read<Vec<(usize, Typed)>> {
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
