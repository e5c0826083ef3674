//! Notes how each completion and synthesis of a client with a token was served, and how long it took until its answer began: for a stream, until there
//! was something to send.

use super::limits::Unchecked;
use crate::service::Service;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use std::time::Instant;

pub(super) async fn note(State(service): State<Service>, request: Request, next: Next) -> Response {
    let begin = Instant::now();
    let response = next.run(request).await;
    if response.extensions().get::<Unchecked>().is_none() {
        service.served().note(response.status(), begin.elapsed());
    }
    response
}
