//! The messages of a chat: a list of objects, each with a role and a content.

use crate::json::{Json, Read};
use crate::request_error::RequestError;

/// Most messages of one request.
const MAX_MESSAGES: usize = 4096;

/// Takes what a content is, and says what is wrong with it; it is told where it is.
pub(super) type Content = fn(&mut Json<'_>, usize) -> Read<()>;

/// Of its insides, OpenAI-compatible backends have their own opinions.
pub(super) fn any_content(json: &mut Json<'_>, _: usize) -> Read<()> {
    json.value().map(drop)
}

/// Takes the messages.
pub(super) fn read(json: &mut Json<'_>, content: Content) -> Read<()> {
    if json.peek() != Some(b'[') {
        return Err(at("messages".into(), "must be an array of objects with a role and content"));
    }
    let wrong_number = || at("messages".into(), &format!("must have 1 to {MAX_MESSAGES} entries"));
    let mut is_empty = true;
    json.array(|json, index| {
        is_empty = false;
        if index == MAX_MESSAGES { Err(wrong_number()) } else { message(json, index, content) }
    })?;
    if is_empty { Err(wrong_number()) } else { Ok(()) }
}

fn message(json: &mut Json<'_>, index: usize, inside: Content) -> Read<()> {
    let path = |field: &str| format!("messages[{index}]{field}");
    if json.peek() != Some(b'{') {
        return Err(at(path(""), "must be an object with a role and content"));
    }
    let (mut role, mut has_content) = (None, false);
    json.object(|json, key| {
        let first = json.peek();
        let (is_known, is_right, problem) = match &*key {
            "role" => (role.is_some(), matches!(first, Some(b'"' | b'n')), "must be a string"),
            "content" => {
                (has_content, matches!(first, Some(b'"' | b'[' | b'n')), "must be a string or an array")
            }
            _ => return json.value().map(drop),
        };
        if !is_right {
            return Err(at(path(&format!(".{key}")), problem));
        }
        if key == "role" {
            role = Some(json.value()?);
        } else {
            inside(json, index)?;
            has_content = true;
        }
        if is_known { Err(at(path(&format!(".{key}")), "occurs twice")) } else { Ok(()) }
    })?;
    if role.is_none_or(|role| role == "null") { Err(at(path(".role"), "is required")) } else { Ok(()) }
}

fn at(parameter: String, what: &str) -> RequestError {
    let message = format!("{parameter} {what}");
    RequestError::at(parameter, message)
}
