//! The parts of OpenAI's and Anthropic's APIs that remote backends are asked for, and how the streams of each end.

/// One part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Chats.
    ChatCompletions,
    /// Texts that go on, the older way.
    Completions,
    /// Chats with tools that the backend runs, the newer way. What a backend keeps of one, only that backend knows.
    Responses,
    /// Vectors of texts.
    Embeddings,
    /// Chats in Anthropic's way.
    Messages,
}

/// By what a client can tell that a stream is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// By a line `data: [DONE]`.
    Mark,
    /// By an event of its own that is called `message_stop`.
    MessageStop,
    /// By an event of its own, which is one among others here: the stream is whole when its connection says so.
    Connection,
}

impl Endpoint {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::ChatCompletions, Self::Completions, Self::Responses, Self::Embeddings, Self::Messages];

    /// Where clients find it.
    pub const fn public_path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Responses => "/v1/responses",
            Self::Embeddings => "/v1/embeddings",
            Self::Messages => "/v1/messages",
        }
    }

    /// The same below `/v1`.
    pub const fn path(self) -> &'static str {
        self.public_path().split_at("/v1".len()).1
    }

    /// How its streams end.
    pub const fn stream_end(self) -> StreamEnd {
        match self {
            Self::Responses => StreamEnd::Connection,
            Self::Messages => StreamEnd::MessageStop,
            Self::ChatCompletions | Self::Completions | Self::Embeddings => StreamEnd::Mark,
        }
    }
}
