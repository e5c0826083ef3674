//! The connections to one backend, over HTTP/1.1: they are its own, so that one backend's trouble stays its own, and those who ask drive them.

mod alarm;
mod body;
mod connection;
mod idle;

pub use body::AnswerBody;

use bytes::Bytes;
use codecrucible_contract::Timeouts;
use connection::{Connection, Stream, Unanswered};
use futures::future::{Either, select};
use http::uri::Scheme;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::Full;
use hyper::service::Service as _;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::service::TowerToHyperService;
use idle::Idle;
use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Time in which a name is found, seconds: whoever asks for it asks again after 5, should the first question be lost.
const NAME_SECONDS: u64 = 6;

/// Connections to one server.
pub(super) struct Connections {
    server: Uri,
    connector: TowerToHyperService<HttpsConnector<HttpConnector>>,
    /// How long it may take in all to open one: to find the server's address, to reach it, and to agree on how to encrypt.
    patience: Duration,
    idle: Arc<Idle>,
}

/// Why a request was not answered. The cause may name addresses.
pub(super) enum AskError {
    /// There is no connection.
    Unreachable(Box<dyn Error + Send + Sync>),
    /// There was one.
    Cut(hyper::Error),
}

impl Connections {
    /// Where this goes, for the log.
    pub(super) fn server(&self) -> Option<&str> {
        self.server.host()
    }

    /// To the server of an `http` or `https` URL; trusts the public certificate authorities. Nothing is connected yet.
    pub(super) fn new(server: Uri, timeouts: Timeouts) -> Self {
        let to_reach = Duration::from_millis(timeouts.connect_ms);
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.enforce_http(false);
        // Where there are several addresses, of each its part.
        connector.set_connect_timeout(Some(to_reach));
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let patience = to_reach + Duration::from_secs(NAME_SECONDS);
        Self { server, connector: TowerToHyperService::new(connector), patience, idle: Arc::default() }
    }

    /// Sends a request, whose address is a path and whose host is in its headers, and gives what begins to be answered.
    pub(super) async fn ask(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<AnswerBody>, AskError> {
        loop {
            let (mut connection, is_new) = match self.idle.take() {
                Some(connection) => (connection, false),
                // What is rare takes no room in what every request takes.
                None => Box::pin(self.open_or_wait()).await?,
            };
            match connection.ask(request).await {
                Ok(answer) => {
                    return Ok(answer.map(|body| AnswerBody::new(body, connection, Arc::clone(&self.idle))));
                }
                // One that was used before may have been closed by the server meanwhile.
                Err(Unanswered { unsent: Some(unsent), .. }) if !is_new => request = unsent,
                Err(unanswered) => return Err(AskError::Cut(unanswered.error)),
            }
        }
    }

    fn open(&self) -> impl Future<Output = Result<Box<Connection>, AskError>> + Send + use<> {
        open(self.connector.call(self.server.clone()), self.patience)
    }

    /// A new connection, or one that becomes free before: over TLS, or to a server that is busy, it takes time to open one.
    /// Tells whether it is new.
    async fn open_or_wait(&self) -> Result<(Box<Connection>, bool), AskError> {
        let opening = Box::pin(self.open());
        let waiting = pin!(self.idle.wait());
        match select(opening, waiting).await {
            Either::Left((opened, _)) => Ok((opened?, true)),
            Either::Right((waited, opening)) => {
                let idle = Arc::clone(&self.idle);
                tokio::spawn(async move {
                    // Others may need it.
                    opening.await.into_iter().for_each(|opened| idle.put(opened));
                });
                Ok((waited, false))
            }
        }
    }
}

/// One that stands in time: a name that nobody knows and a server that says nothing of its certificate are as if nobody was there.
async fn open(
    connecting: impl Future<Output = Result<Stream, Box<dyn Error + Send + Sync>>>,
    patience: Duration,
) -> Result<Box<Connection>, AskError> {
    let stream = timeout(patience, connecting).await.unwrap_or_else(|late| Err(late.into()));
    Connection::over(stream.map_err(AskError::Unreachable)?).await.map(Box::new).map_err(AskError::Cut)
}

/// Whom a request names as its host that goes to this URL; nobody where there is none in it.
pub(super) fn host(url: &Uri) -> Option<HeaderValue> {
    let host = url.host()?;
    let usual = if url.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    let host = match url.port_u16() {
        Some(port) if port != usual => HeaderValue::try_from(format!("{host}:{port}")),
        _ => HeaderValue::try_from(host),
    };
    host.ok()
}

#[cfg(test)]
mod tests {
    use super::idle::{IDLE_CONNECTION_SECONDS, MAX_IDLE_CONNECTIONS};
    use super::*;
    use crate::collect::collect;
    use futures::StreamExt as _;
    use futures::future::join_all;
    use futures::stream::FuturesUnordered;
    use http_body_util::BodyExt as _;
    use std::future::poll_fn;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    const BEGINNING: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nbegun";

    const TIMEOUTS: Timeouts =
        Timeouts { connect_ms: 10_000, first_byte_ms: 10_000, idle_ms: 10_000, total_ms: 10_000 };

    struct Server {
        socket: TcpListener,
        connections: Connections,
    }

    impl Server {
        async fn new() -> Self {
            let socket = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let url = format!("http://{}", socket.local_addr().unwrap()).parse().unwrap();
            Self { socket, connections: Connections::new(url, TIMEOUTS) }
        }

        /// The next connection, on which a request is answered so.
        async fn answer(&self, answer: &[u8]) -> TcpStream {
            let mut stream = self.socket.accept().await.unwrap().0;
            answer_on(&mut stream, answer).await;
            stream
        }

        /// So many connections at once: none is answered before there is a request on each.
        async fn answer_at_once(&self, count: usize) -> Vec<TcpStream> {
            let asked = (0..count).map(|_| async {
                let mut stream = self.socket.accept().await.unwrap().0;
                hear(&mut stream).await;
                stream
            });
            let mut streams = join_all(asked).await;
            for stream in &mut streams {
                stream.write_all(ANSWER).await.unwrap();
            }
            streams
        }

        async fn ask(&self) -> Result<Response<AnswerBody>, AskError> {
            let asked = self.connections.ask(Request::new(Full::default()));
            timeout(Duration::from_secs(30), asked).await.unwrap()
        }

        /// All of an answer.
        async fn asked(&self) -> Bytes {
            collect(self.ask().await.ok().unwrap().into_body(), 99).await.unwrap()
        }

        fn waiting(&self) -> usize {
            self.connections.idle.count()
        }
    }

    async fn hear(stream: &mut TcpStream) {
        assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0, "there is a request");
    }

    async fn answer_on(stream: &mut TcpStream, answer: &[u8]) {
        hear(stream).await;
        stream.write_all(answer).await.unwrap();
    }

    async fn is_closed(stream: &mut TcpStream) -> bool {
        let read = timeout(Duration::from_secs(30), stream.read(&mut [0; 1024])).await;
        matches!(read.unwrap(), Ok(0) | Err(_))
    }

    #[tokio::test]
    async fn one_request_after_another_goes_over_one_connection() {
        let server = Server::new().await;
        let (mut stream, first) = tokio::join!(server.answer(ANSWER), server.asked());
        let ((), second) = tokio::join!(answer_on(&mut stream, ANSWER), server.asked());
        assert_eq!((first, second), (Bytes::from("ok"), Bytes::from("ok")));
        assert_eq!(server.waiting(), 1);
    }

    #[tokio::test]
    async fn requests_at_once_have_a_connection_each() {
        let server = Server::new().await;
        let (_streams, first, second) =
            tokio::join!(server.answer_at_once(2), server.asked(), server.asked());
        assert_eq!((first, second), (Bytes::from("ok"), Bytes::from("ok")));
        assert_eq!(server.waiting(), 2);
    }

    #[tokio::test]
    async fn connections_that_the_server_closed_meanwhile_are_passed_over() {
        let server = Server::new().await;
        let (streams, ..) = tokio::join!(server.answer_at_once(2), server.asked(), server.asked());
        drop(streams);
        server.connections.idle.until_the_first_is_closed().await;
        let (_stream, third) = tokio::join!(server.answer(ANSWER), server.asked());
        assert_eq!((third, server.waiting()), (Bytes::from("ok"), 1));
    }

    #[tokio::test]
    async fn an_answer_that_is_not_read_to_its_end_takes_its_connection_with_it() {
        let server = Server::new().await;
        let (mut stream, answer) = tokio::join!(server.answer(BEGINNING), server.ask());
        let mut body = answer.ok().unwrap().into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "begun");
        drop(body);
        assert_eq!(server.waiting(), 0);
        assert!(is_closed(&mut stream).await);
    }

    #[tokio::test]
    async fn a_request_that_nobody_waits_for_takes_its_connection_with_it() {
        let server = Server::new().await;
        let asked = tokio::select! {
            answer = server.ask() => Err(answer.map(drop).map_err(drop)),
            stream = server.answer(b"HTTP/1.1 200 OK\r\n") => Ok(stream),
        };
        assert_eq!(server.waiting(), 0);
        assert!(is_closed(&mut asked.unwrap()).await);
    }

    #[tokio::test]
    async fn an_answer_that_ends_early_is_no_whole_one() {
        let server = Server::new().await;
        let (stream, answer) = tokio::join!(server.answer(BEGINNING), server.ask());
        drop(stream);
        assert!(collect(answer.ok().unwrap().into_body(), 99).await.is_err());
        assert_eq!(server.waiting(), 0);
    }

    #[tokio::test]
    async fn an_answer_that_has_come_and_is_not_read_leaves_its_connection_to_others() {
        let server = Server::new().await;
        let refusal = b"HTTP/1.1 503 No\r\ntransfer-encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n";
        let (_stream, refused) = tokio::join!(server.answer(refusal), server.ask());
        drop(refused);
        assert_eq!(server.waiting(), 1);
    }

    #[tokio::test]
    async fn what_a_server_says_beyond_its_answer_answers_nothing_else() {
        let server = Server::new().await;
        let more = [ANSWER, b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"].concat();
        let (_stream, first) = tokio::join!(server.answer(&more), server.asked());
        let (_other, second) = tokio::join!(server.answer(ANSWER), server.asked());
        assert_eq!((first, second), (Bytes::from("ok"), Bytes::from("ok")));
    }

    #[tokio::test]
    async fn who_is_answered_before_all_was_sent_leaves_the_connection_to_nobody() {
        let server = Server::new().await;
        let request = Request::new(Full::from(vec![b'x'; 64 << 20]));
        let (mut stream, answer) = tokio::join!(server.answer(ANSWER), server.connections.ask(request));
        assert_eq!(collect(answer.ok().unwrap().into_body(), 99).await.unwrap(), "ok");
        assert_eq!(server.waiting(), 0);
        while !is_closed(&mut stream).await {}
    }

    #[tokio::test]
    async fn one_that_is_a_minute_old_is_used_no_more() {
        let server = Server::new().await;
        let (mut stream, _) = tokio::join!(server.answer(ANSWER), server.asked());
        let idle = &server.connections.idle;
        let connection = idle.take().unwrap();
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(44)).await;
        idle.put(connection);
        assert_eq!(server.waiting(), 1);
        let connection = idle.take().unwrap();
        tokio::time::advance(Duration::from_secs(16)).await;
        idle.put(connection);
        assert_eq!(server.waiting(), 0);
        // The network has no part in that clock.
        tokio::time::resume();
        assert!(is_closed(&mut stream).await);
    }

    #[tokio::test]
    async fn who_says_nothing_of_its_certificate_is_not_there() {
        let server = Server::new().await;
        let tls = Uri::try_from(format!("https://{}", server.socket.local_addr().unwrap())).unwrap();
        let connections =
            Connections { patience: Duration::from_millis(50), ..Connections::new(tls, TIMEOUTS) };
        let asked = connections.ask(Request::new(Full::default()));
        let (answer, _silent) = tokio::join!(asked, server.socket.accept());
        assert!(matches!(answer, Err(AskError::Unreachable(_))));
    }

    #[tokio::test]
    async fn who_waits_for_a_connection_takes_one_that_becomes_free_before() {
        let server = Server::new().await;
        let (mut stream, begun) = tokio::join!(server.answer(BEGINNING), server.ask());
        let idle = Arc::clone(&server.connections.idle);
        let tls = Uri::try_from(format!("https://{}", server.socket.local_addr().unwrap())).unwrap();
        let slow = Connections { idle, ..Connections::new(tls, TIMEOUTS) };
        let answered = async {
            // Nobody answers the new one.
            let _silent = server.socket.accept().await.unwrap();
            stream.write_all(&[b'x'; 94]).await.unwrap();
            drop(collect(begun.ok().unwrap().into_body(), 99).await);
            answer_on(&mut stream, ANSWER).await;
        };
        let (answer, ()) = tokio::join!(slow.ask(Request::new(Full::default())), answered);
        assert_eq!(collect(answer.ok().unwrap().into_body(), 99).await.unwrap(), "ok");
    }

    #[tokio::test]
    async fn who_reads_many_small_pieces_lets_others_have_their_turn() {
        let server = Server::new().await;
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".as_slice();
        let pieces = [head, &b"1\r\nx\r\n".repeat(1_000), b"0\r\n\r\n"].concat();
        let (_stream, answer) = tokio::join!(server.answer(&pieces), server.ask());
        let mut body = answer.ok().unwrap().into_body();
        let (mut turns, mut read) = (0, Box::pin(async { while body.frame().await.is_some() {} }));
        poll_fn(|context| {
            turns += 1;
            read.as_mut().poll(context)
        })
        .await;
        assert!(turns > 5, "{turns}");
    }

    #[tokio::test]
    async fn what_a_server_wants_closed_is_not_used_again() {
        let server = Server::new().await;
        let last = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
        let (mut stream, answer) = tokio::join!(server.answer(last), server.asked());
        assert_eq!((answer, server.waiting()), (Bytes::from("ok"), 0));
        assert!(is_closed(&mut stream).await);
    }

    #[tokio::test]
    async fn what_nobody_uses_for_long_is_closed() {
        let server = Server::new().await;
        let (mut stream, _) = tokio::join!(server.answer(ANSWER), server.asked());
        assert_eq!(server.waiting(), 1);
        tokio::time::pause();
        let begin = tokio::time::Instant::now();
        assert!(is_closed(&mut stream).await);
        assert_eq!(server.waiting(), 0);
        // It had waited for a moment before.
        assert!((IDLE_CONNECTION_SECONDS - 1..=IDLE_CONNECTION_SECONDS).contains(&begin.elapsed().as_secs()));
    }

    #[tokio::test]
    async fn of_too_many_the_superfluous_are_closed() {
        let (server, many) = (Server::new().await, MAX_IDLE_CONNECTIONS + 2);
        let asked = join_all((0..many).map(|_| server.asked()));
        let (mut streams, _) = tokio::join!(server.answer_at_once(many), asked);
        assert_eq!(server.waiting(), MAX_IDLE_CONNECTIONS);
        let mut closing: FuturesUnordered<_> = streams.iter_mut().map(is_closed).collect();
        assert_eq!((closing.next().await, closing.next().await), (Some(true), Some(true)));
        assert_eq!(server.waiting(), MAX_IDLE_CONNECTIONS, "it is none of those that still wait");
    }

    #[tokio::test]
    async fn those_of_a_backend_that_is_no_more_are_closed() {
        let server = Server::new().await;
        let (mut stream, _) = tokio::join!(server.answer(ANSWER), server.asked());
        let idle = Arc::downgrade(&server.connections.idle);
        drop(server);
        assert!(idle.upgrade().is_none(), "nobody has them any more");
        assert!(is_closed(&mut stream).await);
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_told_from_one_that_hangs_up() {
        let server = Server::new().await;
        let hanging_up = async { drop(server.socket.accept().await.unwrap()) };
        let ((), cut) = tokio::join!(hanging_up, server.ask());
        assert!(matches!(cut, Err(AskError::Cut(_))));
        let Server { socket, connections } = server;
        drop(socket);
        let unreachable = connections.ask(Request::new(Full::default())).await;
        assert!(matches!(unreachable, Err(AskError::Unreachable(_))));
    }

    #[test]
    fn a_host_is_named_with_its_port_unless_that_is_the_usual_one() {
        for (url, named) in [
            ("http://models.example/v1", "models.example"),
            ("http://models.example:80/v1", "models.example"),
            ("https://models.example:443/v1", "models.example"),
            ("https://models.example:80/v1", "models.example:80"),
            ("http://[::1]:8000", "[::1]:8000"),
        ] {
            assert_eq!(host(&url.parse().unwrap()).unwrap(), named, "{url}");
        }
        assert!(host(&"/v1".parse().unwrap()).is_none());
    }
}
