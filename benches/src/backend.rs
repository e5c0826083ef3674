//! A backend that answers at once: a whole answer, or 64 chunks.

use crate::load::HOLD;
use axum::Router;
use axum::body::Body;
use axum::routing::post;
use axum::serve::ListenerExt as _;
use bytes::Bytes;
use futures::StreamExt as _;
use http::header::CONTENT_TYPE;
use std::convert::Infallible;
use std::net::SocketAddr;

/// Chunks of a streamed answer.
const CHUNKS: usize = 64;

/// The backend's router.
pub struct Backend;

impl Backend {
    /// Serves on a port of its own.
    pub async fn serve() -> anyhow::Result<SocketAddr> {
        let socket = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = socket.local_addr()?;
        let router = Router::new().route("/v1/chat/completions", post(answer));
        // Whatever else a gateway asks, it is well.
        let router = router.fallback(|| async { "{}" });
        let socket = socket.tap_io(|connection| {
            let _ = connection.set_nodelay(true);
        });
        tokio::spawn(async move { axum::serve(socket, router).await });
        Ok(address)
    }
}

async fn answer(body: Bytes) -> http::Response<Body> {
    let is_stream = body.windows(13).any(|window| window == b"\"stream\":true");
    let holds = body.windows(HOLD.len()).any(|window| window == HOLD.as_bytes());
    let (kind, body) = match (is_stream, holds) {
        (true, true) => ("text/event-stream", stream_without_end()),
        (true, false) => ("text/event-stream", stream()),
        (false, _) => ("application/json", Body::from(WHOLE)),
    };
    let mut response = http::Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response
}

const WHOLE: &str = "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"Hello there, how can I help you today?\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":10,\"total_tokens\":19}}";

fn stream_without_end() -> Body {
    let first = futures::stream::once(async { Ok::<_, Infallible>(Bytes::from_static(CHUNK.as_bytes())) });
    Body::from_stream(first.chain(futures::stream::pending()))
}

const CHUNK: &str = "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word\"},\"finish_reason\":null}]}\n\n";

fn stream() -> Body {
    let chunks = futures::stream::iter((0..CHUNKS).map(|_| CHUNK)).then(|chunk| async move {
        // Each chunk is a write of its own, as a model's would be.
        tokio::task::yield_now().await;
        chunk
    });
    let end = futures::stream::once(async { "data: [DONE]\n\n" });
    Body::from_stream(chunks.chain(end).map(|text| Ok::<_, Infallible>(Bytes::from_static(text.as_bytes()))))
}
