//! Notes how each completion and synthesis of a client with a token was served, and how long it took until its answer began: for a stream, until there
//! was something to send.

use crate::service::Service;
use axum::response::Response;
use std::time::Instant;

/// Marks an answer that says nothing about how the replica serves: limits that cannot be asked, or a wish of the client that cannot be met.
#[derive(Clone, Copy)]
pub(super) struct Neutral;

/// An answer, and how long it takes until it begins.
pub(super) async fn timed(service: &Service, answer: impl Future<Output = Response>) -> Response {
    let begin = Instant::now();
    let response = answer.await;
    if response.extensions().get::<Neutral>().is_none() {
        service.served().note(response.status(), begin.elapsed());
    }
    response
}
