//! The messages of a chat: a list of objects, each with a role and a content.

use crate::json::{Json, Read, is_spelling_of};
use crate::request_error::RequestError;
use std::ops::Range;

/// Most messages of one request.
const MAX_MESSAGES: usize = 4096;

/// The user's role, as nearly all write it.
const USER: &str = "\"user\"";

/// Takes what a content is, and says what is wrong with it; it is told where it is.
pub(super) type Content = fn(&mut Json<'_>, &dyn Fn() -> String) -> Read<()>;

/// Of its insides, OpenAI-compatible backends have their own opinions.
pub(super) fn any_content(json: &mut Json<'_>, _: &dyn Fn() -> String) -> Read<()> {
    json.value().map(drop)
}

/// Takes the messages, and gives where those are with which a conversation begins: all until the user's first one, which stay the same while it goes on.
pub(super) fn read(json: &mut Json<'_>, content: Content) -> Read<Range<usize>> {
    if json.peek() != Some(b'[') {
        return Err(at("messages".into(), "must be an array of objects with a role and content"));
    }
    let wrong_number = || at("messages".into(), &format!("must have 1 to {MAX_MESSAGES} entries"));
    let (mut is_empty, start, mut end) = (true, json.position(), None);
    json.array(|json, index| {
        is_empty = false;
        if index == MAX_MESSAGES {
            return Err(wrong_number());
        }
        if message(json, index, content)? == USER && end.is_none() {
            end = Some(json.position());
        }
        Ok(())
    })?;
    let end = end.unwrap_or_else(|| json.position());
    if is_empty { Err(wrong_number()) } else { Ok(start..end) }
}

/// Takes one, and gives its role as it is written.
fn message<'a>(json: &mut Json<'a>, index: usize, inside: Content) -> Read<&'a str> {
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
            // Some servers ignore case, and would take it for the field.
            _ => {
                let meant = ["role", "content"].into_iter().find(|field| is_spelling_of(&key, field));
                meant.map_or(Ok(()), |field| Err(at(path(&format!(".{field}")), "must be in lower case")))?;
                return json.value().map(drop);
            }
        };
        if !is_right {
            return Err(at(path(&format!(".{key}")), problem));
        }
        if key == "role" {
            role = Some(json.value()?);
        } else {
            inside(json, &|| path(".content"))?;
            has_content = true;
        }
        if is_known { Err(at(path(&format!(".{key}")), "occurs twice")) } else { Ok(()) }
    })?;
    role.filter(|role| *role != "null").ok_or_else(|| at(path(".role"), "is required"))
}

fn at(parameter: String, what: &str) -> RequestError {
    let message = format!("{parameter} {what}");
    RequestError::at(parameter, message)
}
