//! What makes two requests the same question: all that they say, who may share the answer, and who would be asked.
//!
//! A SHA-256 over parts that each begin with their length, so that no two questions come to one text.

use super::rules::{Asked, Sharers};
use crate::json::fields;
use crate::routing::Target;
use sha2::{Digest as _, Sha256};

/// Most fields of a request that is worth looking for; those of the API are fewer.
const MAX_FIELDS: usize = 128;

/// By what an answer is found.
pub(super) type Key = [u8; 32];

/// The key of a request; nothing for one with too many fields.
pub(super) fn key(
    asked: &Asked<'_>,
    sharers: Sharers<'_>,
    epoch: u32,
    targets: &[&Target],
    body: &str,
) -> Option<Key> {
    let mut hash = Parts(Sha256::new());
    let (kind, sharer) = match sharers {
        Sharers::Client(client) => ("client", client),
        Sharers::Namespace(namespace) => ("namespace", namespace),
    };
    for part in [kind, sharer, asked.endpoint.path(), asked.model, asked.told] {
        hash.add(part.as_bytes());
    }
    if !asked.redaction.is_empty() {
        hash.add(b"redaction");
        hash.add(asked.redaction.as_bytes());
    }
    hash.add(&epoch.to_be_bytes());
    hash.add(&targets.len().to_be_bytes());
    for target in targets {
        hash.add(target.backend.identity());
        hash.add(target.backend_model.as_bytes());
    }
    let mut fields = fields(body, MAX_FIELDS)?;
    // The name of the model is that of the route, and the order of fields says nothing.
    fields.retain(|(name, _)| name != "model");
    fields.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (name, value) in fields {
        hash.add(name.as_bytes());
        hash.add(value.as_bytes());
    }
    Some(hash.0.finalize().into())
}

struct Parts(Sha256);

impl Parts {
    fn add(&mut self, part: &[u8]) {
        self.0.update((part.len() as u64).to_be_bytes());
        self.0.update(part);
    }
}
