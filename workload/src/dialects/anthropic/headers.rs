//! The headers of Anthropic's API that are its own.

use http::{HeaderName, HeaderValue};

/// The key.
pub const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// Which of its ways the API is asked in.
pub const VERSION: HeaderName = HeaderName::from_static("anthropic-version");
/// What of the API that is not final is used.
pub const BETA: HeaderName = HeaderName::from_static("anthropic-beta");
/// The one by which SDKs say that they come with a token, which is for us alone.
pub const BETA_OF_TOKENS: &str = "oauth-2025-04-20";
/// The way that is asked for unless the client says otherwise; there was no other one since 2023.
pub const USUAL_VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");
