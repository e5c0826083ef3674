//! One byte string for one document: keys sorted, no white space.
//!
//! Written out rather than left to the map type of `serde_json`, whose order depends on a feature that
//! any crate of the build may switch on.

use serde_json::Value;

/// The canonical form of a document.
pub fn canonical(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            write_sequence(out, ('{', '}'), entries, |out, (key, value)| {
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write(value, out);
            });
        }
        Value::Array(items) => write_sequence(out, ('[', ']'), items, |out, item| write(item, out)),
        scalar => out.push_str(&scalar.to_string()),
    }
}

fn write_sequence<T>(
    out: &mut String,
    (open, close): (char, char),
    items: impl IntoIterator<Item = T>,
    write_item: impl Fn(&mut String, T),
) {
    out.push(open);
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_item(out, item);
    }
    out.push(close);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn documents_that_differ_only_in_order_have_one_form() {
        let one: Value = serde_json::from_str(r#"{"b":[1,{"d":null,"c":"é\n"}],"a":true}"#).unwrap();
        assert_eq!(canonical(&one), r#"{"a":true,"b":[1,{"c":"é\n","d":null}]}"#);
    }

    #[test]
    fn empty_containers_keep_their_brackets() {
        assert_eq!(canonical(&json!({"a": {}, "b": []})), r#"{"a":{},"b":[]}"#);
    }
}
