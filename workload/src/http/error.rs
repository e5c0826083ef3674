//! Errors in OpenAI's shape, with the statuses that official SDKs turn into their exceptions.

use super::limits::{add_refusal, ask_no_more, status_of};
use super::served::Neutral;
use crate::backend::{BackendError, Refusal as BackendRefusal};
use crate::identity::TokenError;
use crate::limits::Refusal;
use crate::request_error::RequestError;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

/// What a client should wait while a model is busy or being loaded, seconds.
const RETRY_AFTER_SECONDS: u64 = 2;

/// An error for a client.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    kind: &'static str,
    code: Option<&'static str>,
    parameter: Option<String>,
    message: String,
    /// What the client should wait, seconds.
    retry_after: Option<u64>,
    /// Whether it says nothing about how the replica serves.
    is_neutral: bool,
    /// What a limit says, where one refuses it.
    refusal: Option<Box<Refusal>>,
}

impl ApiError {
    pub(super) fn new(
        status: StatusCode,
        kind: &'static str,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            kind,
            code: Some(code),
            parameter: None,
            message: message.into(),
            retry_after: None,
            is_neutral: false,
            refusal: None,
        }
    }

    pub(super) fn model_not_found(model: &str) -> Self {
        let shown: String = model.chars().take(64).collect();
        let message = format!("The model `{shown}` does not exist.");
        let error = Self::new(StatusCode::NOT_FOUND, "invalid_request_error", "model_not_found", message);
        Self { parameter: Some("model".into()), ..error }
    }

    pub(super) fn not_permitted(model: Option<&str>) -> Self {
        let model =
            model.map_or_else(|| "the default model".to_owned(), |model| format!("the model `{model}`"));
        let message = format!("This client may not use {model} in this way.");
        let error = Self::new(StatusCode::FORBIDDEN, "permission_error", "not_permitted", message);
        Self { parameter: Some("model".into()), ..error }
    }

    pub(super) fn body_too_large(limit_bytes: usize) -> Self {
        let message = format!("The body is larger than the limit of {limit_bytes} bytes.");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error", "body_too_large", message)
    }

    pub(super) fn busy() -> Self {
        let message = "Too many requests are running; try again later.";
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", "busy", message);
        Self { retry_after: Some(RETRY_AFTER_SECONDS), ..error }
    }

    /// The time in which the answer could have ended is over.
    pub(super) fn stopping() -> Self {
        let message = "The server stops before the answer is complete; send the request again.";
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "api_error", "server_stopping", message);
        Self { retry_after: Some(RETRY_AFTER_SECONDS), ..error }
    }

    /// It is not kept, and the client wants nothing else.
    pub(super) fn not_kept() -> Self {
        let message = "The answer is not kept, and the request has the directive only-if-cached.";
        let error = Self::new(StatusCode::GATEWAY_TIMEOUT, "invalid_request_error", "not_cached", message);
        Self { is_neutral: true, ..error }
    }

    /// One of the limits refuses it, or none can be asked.
    pub(super) fn limited(refusal: Refusal) -> Self {
        let (kind, code) = match refusal.limit {
            Some(_) => ("rate_limit_error", "rate_limit_exceeded"),
            None => ("api_error", "limits_unavailable"),
        };
        let status = status_of(&refusal);
        let message = format!("{} Try again in {} seconds.", refusal.description, refusal.retry_seconds());
        let is_neutral = refusal.limit.is_none();
        Self { is_neutral, refusal: Some(Box::new(refusal)), ..Self::new(status, kind, code, message) }
    }

    /// A backend refuses it, in its own words.
    pub(super) fn refused_by_backend(refusal: BackendRefusal) -> Self {
        let error = Self::from(BackendError::from(&refusal));
        Self { message: refusal.message, ..error }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn code(&self) -> Option<&'static str> {
        self.code
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    pub(super) fn document(&self) -> Value {
        json!({"error": {"message": self.message, "type": self.kind, "param": self.parameter, "code": self.code}})
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.document().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(refusal) = &self.refusal {
            add_refusal(headers, refusal);
        } else if self.is_neutral {
            ask_no_more(headers);
        }
        if self.is_neutral {
            response.extensions_mut().insert(Neutral);
        }
        response
    }
}

impl From<RequestError> for ApiError {
    fn from(error: RequestError) -> Self {
        let RequestError { parameter, message } = error;
        let error = Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", "invalid_request", message);
        Self { parameter, ..error }
    }
}

impl From<TokenError> for ApiError {
    fn from(error: TokenError) -> Self {
        let code = match error {
            TokenError::Expired => "token_expired",
            _ => "invalid_api_key",
        };
        Self::new(StatusCode::UNAUTHORIZED, "authentication_error", code, error.to_string())
    }
}

impl From<BackendError> for ApiError {
    fn from(error: BackendError) -> Self {
        let soon = Some(RETRY_AFTER_SECONDS);
        let (status, code, retry_after) = match &error {
            BackendError::Unreachable => (StatusCode::BAD_GATEWAY, "backend_unreachable", None),
            BackendError::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "backend_timeout", None),
            BackendError::Cut => (StatusCode::BAD_GATEWAY, "backend_cut", None),
            BackendError::Protocol => (StatusCode::BAD_GATEWAY, "backend_protocol", None),
            BackendError::TooLarge => (StatusCode::BAD_GATEWAY, "backend_answer_too_large", None),
            BackendError::Credential => (StatusCode::BAD_GATEWAY, "backend_credential", None),
            BackendError::Refused { .. } => (StatusCode::BAD_GATEWAY, "backend_refused", None),
            BackendError::Faulty { status } => {
                (StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_REQUEST), "backend_refused", None)
            }
            BackendError::PutOff { seconds } => {
                (StatusCode::TOO_MANY_REQUESTS, "backend_busy", seconds.or(soon))
            }
            BackendError::Failed => (StatusCode::BAD_GATEWAY, "backend_failed", None),
            BackendError::Resting { seconds } => {
                (StatusCode::SERVICE_UNAVAILABLE, "backend_resting", Some(*seconds))
            }
            BackendError::Full { seconds } => (StatusCode::SERVICE_UNAVAILABLE, "overloaded", Some(*seconds)),
            BackendError::Busy => (StatusCode::TOO_MANY_REQUESTS, "backend_busy", soon),
            BackendError::Loading => (StatusCode::SERVICE_UNAVAILABLE, "model_loading", soon),
            BackendError::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "model_unavailable", None),
            BackendError::TooLong(_) => (StatusCode::BAD_REQUEST, "context_length_exceeded", None),
        };
        let kind = match status {
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_client_error() => "invalid_request_error",
            _ => "api_error",
        };
        let message = error.to_string();
        Self { retry_after, ..Self::new(status, kind, code, message) }
    }
}
