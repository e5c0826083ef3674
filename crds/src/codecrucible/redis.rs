//! A Redis that replicas share: to count together, or to find what others were answered.

use crate::SecretKeyReference;
use serde::{Deserialize, Serialize};

/// A Redis that replicas share.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Redis {
    /// Where it is, such as `redis://redis.cache.svc:6379`, or `rediss://` with TLS and a certificate of a public authority; the number
    /// of a database may follow, such as `/1`. The service's network policy opens the URL's port.
    #[schemars(length(max = 512), regex(pattern = r"^rediss?://[^\s/?#@]+(/[0-9]{0,4})?$"))]
    pub url: String,
    /// Who asks; Redis' default user, if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub username: Option<String>,
    /// The key of a Secret with the password, if one is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretKeyReference>,
    /// Whether it is a Redis Cluster, of which the URL names one node.
    #[serde(default)]
    pub cluster: bool,
}
