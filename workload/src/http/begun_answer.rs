//! An answer that has begun, and what is told of one that breaks: to metrics, to the operator where it tries out new pods, and to the log and the trace of
//! the request. Its client is told by whoever writes it. The breaker is not: a client can have an honest answer break, by what it asks for or by how slowly
//! it reads, and a backend that is in trouble fails new requests as well.

use super::exchange::Exchange;
use crate::backend::{BackendError, InFlight, TOTAL_TIMEOUT};
use crate::service::Service;
use crate::telemetry::TroubleNote;
use tokio::time::Instant;

/// Such an answer; its backend has the request for as long as this lasts.
pub(super) struct BegunAnswer {
    service: Service,
    trouble: TroubleNote,
    /// Whether a client asked, and not the service itself.
    is_for_client: bool,
    /// Nothing of one that is all there.
    in_flight: Option<InFlight>,
}

impl BegunAnswer {
    pub(super) fn new(service: &Service, exchange: &Exchange, in_flight: Option<InFlight>) -> Self {
        let (trouble, is_for_client) = (exchange.trouble_note(), exchange.is_for_client());
        Self { service: service.clone(), trouble, is_for_client, in_flight }
    }

    /// It broke.
    pub(super) fn broke(&self, error: &BackendError) {
        let models = &self.service.metrics().models;
        let broken = self.in_flight.as_ref().map(|in_flight| in_flight.broke(error, Instant::now(), models));
        self.trouble.set(broken.unwrap_or(error.kind()));
        // How long it takes in all is also its client's doing.
        if self.is_for_client && broken != Some(TOTAL_TIMEOUT) && error.is_the_backends_fault() {
            self.service.served().broke();
        }
    }
}
