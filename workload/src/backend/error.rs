//! Why a backend did not answer. The texts are for clients: they name no address.

/// A failed attempt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// No connection, or it broke before an answer.
    #[error("the model's backend cannot be reached")]
    Unreachable,
    /// No first byte, or no further one, in time.
    #[error("the model's backend did not answer in time")]
    TimedOut,
    /// The answer ended early.
    #[error("the model's backend ended its answer early")]
    Cut,
    /// Not an answer in OpenAI's protocol.
    #[error("the model's backend gave an answer that is not in the expected protocol")]
    Protocol,
    /// The backend refused our credential.
    #[error("the model's backend refused the service's credential")]
    Credential,
    /// The backend refused the request; its status is passed on.
    #[error("the model's backend refused the request with status {status}")]
    Refused {
        /// HTTP status.
        status: u16,
    },
    /// Too much work is waiting.
    #[error("the model is busy")]
    Busy,
    /// The model is being loaded.
    #[error("the model is still being loaded")]
    Loading,
    /// The model cannot be loaded; the operators' log says why.
    #[error("the model is not available")]
    Unavailable,
    /// The request asks for more than the model can take.
    #[error("{0}")]
    TooLong(String),
    /// The model failed while answering.
    #[error("the model failed while answering")]
    Failed,
}

/// Why a backend cannot be set up. Read by operators, not by clients; shows no credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// Not an address that requests can be sent to.
    #[error("its URL is not usable")]
    Url,
    /// Not text that fits a header.
    #[error("its credential does not fit a header")]
    Credential,
}
