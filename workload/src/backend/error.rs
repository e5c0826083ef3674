//! Why a backend did not answer. The texts are for clients: they name no address.

use crate::dialects::NoAnswer;

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
    /// More of an answer than is taken: what was asked for is too much, whoever is asked.
    #[error("the model's backend gave a larger answer than is taken; ask for less at once")]
    TooLarge,
    /// The backend refused our credential.
    #[error("the model's backend refused the service's credential")]
    Credential,
    /// The backend failed with a status that says nothing about the request.
    #[error("the model's backend failed with status {status}")]
    Refused {
        /// HTTP status.
        status: u16,
    },
    /// The backend finds fault with the request.
    #[error("the model's backend does not take the request: status {status}")]
    Faulty {
        /// HTTP status, of those that are passed on.
        status: u16,
    },
    /// The backend has too much to do.
    #[error("the model's backend has too much to do")]
    PutOff {
        /// After which time it wants to be asked again, seconds, if it says so.
        seconds: Option<u64>,
    },
    /// All backends of the model are left alone for a while, because they fail or have too much to do.
    #[error("the model's backends fail or have too much to do, and are left alone for {seconds} s")]
    Resting {
        /// For how long at least, seconds.
        seconds: u64,
    },
    /// All backends of the model have as many requests as they are to have, and more than that wait, or for longer, than may.
    #[error("the model's backends have as much to do as they take, and too many requests wait already")]
    Full {
        /// After which time it is worth asking again, seconds.
        seconds: u64,
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

/// What may be tried after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Another backend, or the same one again: it may have been a moment's trouble.
    Again,
    /// Another backend.
    Elsewhere,
    /// Nothing: it is the request.
    Never,
}

impl BackendError {
    /// Its name in metrics and the log.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timeout",
            Self::Cut => "cut",
            Self::Protocol => "protocol",
            Self::TooLarge => "too_large",
            Self::Credential => "credential",
            Self::Refused { .. } => "error",
            Self::Faulty { .. } => "refused",
            Self::PutOff { .. } => "put_off",
            Self::Busy => "busy",
            Self::Loading => "loading",
            Self::Unavailable => "unavailable",
            Self::TooLong(_) => "too_long",
            Self::Failed => "failed",
            Self::Resting { .. } => "resting",
            Self::Full { .. } => "full",
        }
    }

    /// The status with which the backend failed, if it failed with one that says no more.
    pub fn failing_status(&self) -> Option<u16> {
        match self {
            Self::Refused { status } => Some(*status),
            _ => None,
        }
    }

    /// After which time it is worth asking again, where a backend was left alone.
    pub fn worth_asking_after(&self) -> Option<u64> {
        match self {
            Self::Resting { seconds } | Self::Full { seconds } => Some(*seconds),
            _ => None,
        }
    }

    /// What may be tried after it.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Unreachable | Self::Cut | Self::Refused { status: 502 | 503 } => Retry::Again,
            Self::TooLong(_) | Self::TooLarge => Retry::Never,
            // It may be called otherwise elsewhere.
            Self::Faulty { status } if *status != 404 => Retry::Never,
            _ => Retry::Elsewhere,
        }
    }

    /// Whether it tells that the backend is in trouble.
    pub fn is_the_backends_fault(&self) -> bool {
        !matches!(
            self,
            Self::Busy
                | Self::Loading
                | Self::TooLong(_)
                | Self::TooLarge
                | Self::Faulty { .. }
                | Self::PutOff { .. }
                | Self::Resting { .. }
                | Self::Full { .. }
        )
    }

    /// Whether the backend may have worked on the request: to ask others again and again may cost as much each time, or bring each of
    /// them down.
    pub fn may_have_cost(&self) -> bool {
        match self {
            // That is said before any work is done.
            Self::Refused { status } => *status != 503,
            other => {
                matches!(other, Self::Cut | Self::TimedOut | Self::Protocol | Self::TooLarge | Self::Failed)
            }
        }
    }
}

impl From<NoAnswer> for BackendError {
    fn from(said: NoAnswer) -> Self {
        match said {
            NoAnswer::Unreadable => Self::Protocol,
            NoAnswer::GivenUp => Self::Cut,
        }
    }
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
