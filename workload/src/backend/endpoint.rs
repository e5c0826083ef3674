//! The parts of OpenAI's API that remote backends are asked for: the path below the base URL of each, and how its streams end.

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
}

/// By what a client can tell that a stream is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// By a line `data: [DONE]`.
    Mark,
    /// By an event of its own, which is one among others here: the stream is whole when its connection says so.
    Connection,
}

impl Endpoint {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::ChatCompletions, Self::Completions, Self::Responses, Self::Embeddings];

    /// Below a base URL that ends before the slash.
    pub const fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/chat/completions",
            Self::Completions => "/completions",
            Self::Responses => "/responses",
            Self::Embeddings => "/embeddings",
        }
    }

    /// How its streams end.
    pub const fn stream_end(self) -> StreamEnd {
        match self {
            Self::Responses => StreamEnd::Connection,
            Self::ChatCompletions | Self::Completions | Self::Embeddings => StreamEnd::Mark,
        }
    }
}
