//! What is wrong with a client's request: the same shape for every kind of request.

/// What is wrong with a request; `parameter` is the field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestError {
    /// The field, where there is one.
    pub parameter: Option<String>,
    /// What is wrong, for the client.
    pub message: String,
}

impl RequestError {
    /// An error at a field.
    pub fn at(parameter: impl Into<String>, message: impl Into<String>) -> Self {
        Self { parameter: Some(parameter.into()), message: message.into() }
    }

    /// An error of the whole body.
    pub fn body(message: impl Into<String>) -> Self {
        Self { parameter: None, message: message.into() }
    }
}
