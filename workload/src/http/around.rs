//! What is around the answers at public routes, each of which has a name in metrics and in the log; around probes there is nothing. One future lies within
//! the other and stays where it is: layers of the router's own are copied and boxed anew, one by one, for each request.

use super::authentication::Caller;
use super::error::ApiError;
use super::exchange::{Exchange, followed};
use super::in_flight::counted;
use super::served::timed;
use crate::service::Service;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures::FutureExt as _;
use std::pin::pin;

/// Around what takes no token.
pub(super) async fn open<A: Future<Output: IntoResponse>>(
    service: Service,
    route: &'static str,
    request: Request,
    handler: impl FnOnce(Service, Exchange, Request) -> A,
) -> Response {
    let within =
        |exchange, request| handler(service.clone(), exchange, request).map(IntoResponse::into_response);
    followed(&service, route, request, within).await
}

/// Around what takes one.
pub(super) async fn authenticated<A: Future<Output: IntoResponse>>(
    service: Service,
    route: &'static str,
    request: Request,
    handler: impl FnOnce(Service, Caller, Exchange, Request) -> A,
) -> Response {
    let within = |exchange: Exchange, request: Request| async {
        match Caller::of(&service, &request) {
            Ok(caller) => {
                exchange.note_client(&caller.principal.subject);
                let answer =
                    || handler(service.clone(), caller, exchange, request).map(IntoResponse::into_response);
                // Whoever has no token is not counted, or could drive an autoscaler, and end a canary.
                counted(&service, answer).await
            }
            Err(error) => ApiError::from(error).into_response(),
        }
    };
    followed(&service, route, request, within).await
}

/// Around what models answer to those who have a token.
pub(super) async fn answered<A: Future<Output: IntoResponse>>(
    service: Service,
    route: &'static str,
    request: Request,
    handler: impl FnOnce(Service, Caller, Exchange, Request) -> A,
) -> Response {
    let timing = |service: Service, caller, exchange, request| async move {
        let answer = handler(service.clone(), caller, exchange, request);
        timed(&service, pin!(answer.map(IntoResponse::into_response))).await
    };
    authenticated(service, route, request, timing).await
}

#[cfg(test)]
mod tests {
    use super::super::gateway;
    use super::*;
    use crate::backend::Endpoint;

    /// Most that the future of a request may take, bytes: it is made anew for each, and moved.
    const MOST_BYTES: usize = 8 * 1024;

    fn size_of_answer<A>(_: impl Fn(Service, Request) -> A) -> usize {
        size_of::<A>()
    }

    #[test]
    fn what_is_rare_takes_no_room_in_the_future_of_every_request() {
        let size = size_of_answer(|service, request| {
            answered(service, "/v1/chat/completions", request, |service, caller, exchange, request| {
                gateway::answer(Endpoint::ChatCompletions, service, caller, exchange, request)
            })
        });
        assert!(size <= MOST_BYTES, "{size}");
    }
}
