//! Models, as clients of Anthropic's API list them.

use serde_json::{Value, json};

/// A model. When it was made is not known; the field is required.
pub fn model(id: &str) -> Value {
    json!({"type": "model", "id": id, "display_name": id, "created_at": "1970-01-01T00:00:00Z"})
}

/// All of them, on one page.
pub fn list<'a>(ids: impl Iterator<Item = &'a str> + Clone) -> Value {
    let data: Vec<Value> = ids.clone().map(model).collect();
    json!({"first_id": ids.clone().next(), "last_id": ids.last(), "has_more": false, "data": data})
}
