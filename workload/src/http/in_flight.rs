//! Counts requests while they are answered: a stream until its last byte, or until its client is gone.

use crate::service::Service;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use prometheus::IntGauge;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Counts one request.
struct Counted(IntGauge);

impl Counted {
    fn begin(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// An answer that is counted until it ends.
struct CountedBody {
    inner: Body,
    _counted: Counted,
}

pub(super) async fn count(State(service): State<Service>, request: Request, next: Next) -> Response {
    let counted = Counted::begin(&service.metrics().requests_in_flight);
    next.run(request).await.map(|inner| Body::new(CountedBody { inner, _counted: counted }))
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
