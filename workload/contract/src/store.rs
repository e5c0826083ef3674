//! A store in which replicas count together, or find what others were answered.

use crate::validate::{Checked, check, is_authority, name};
use serde::{Deserialize, Serialize};

/// Longest scope, bytes.
const MAX_SCOPE_BYTES: usize = 256;

/// A Redis that replicas share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Store {
    /// `redis://` or `rediss://` (TLS), host and port, and the number of a database.
    pub url: String,
    /// Who asks; the default user if nobody is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Whether a password lies among the credentials.
    pub has_credential: bool,
    /// Whether it is a cluster, which the URL names one node of.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_cluster: bool,
}

impl Store {
    pub(crate) fn validate(&self) -> Checked {
        check(is_store_url(&self.url), "store.url", || {
            "is not redis:// or rediss:// with host and port, without credentials, and with no more than the number of a \
             database behind"
                .into()
        })?;
        check(!self.is_cluster || !has_database(&self.url), "store.url", || {
            "names a database, which a cluster does not have".into()
        })?;
        self.username.as_ref().map_or(Ok(()), |username| name("store.username", username))
    }
}

/// What tells a service from others that use the same store.
pub(crate) fn check_scope(path: &str, scope: &str) -> Checked {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-./".contains(&byte);
    check(scope.len() <= MAX_SCOPE_BYTES && scope.bytes().all(is_plain), path, || {
        format!("{scope:?} is not at most {MAX_SCOPE_BYTES} letters, digits, - . and /")
    })
}

fn is_store_url(url: &str) -> bool {
    let rest = url.strip_prefix("redis://").or_else(|| url.strip_prefix("rediss://"));
    rest.is_some_and(|rest| {
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let is_number = database.len() <= 4 && database.bytes().all(|byte| byte.is_ascii_digit());
        is_authority(authority) && is_number
    })
}

fn has_database(url: &str) -> bool {
    url.split_once("://")
        .and_then(|(_, rest)| rest.split_once('/'))
        .is_some_and(|(_, database)| !database.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_named_without_a_secret() {
        for url in
            ["redis://redis:6379", "rediss://redis.cache.svc:6380/1", "redis://[::1]:6379/", "redis://redis"]
        {
            assert!(is_store_url(url), "{url}");
        }
        for url in [
            "redis://:secret@redis:6379",
            "http://redis",
            "redis://",
            "redis://redis/name",
            "redis://redis/1?x=1",
        ] {
            assert!(!is_store_url(url), "{url}");
        }
    }
}
