//! Clients of all kinds, each of which never stops: those that want to know something, and those that leave, ask wrongly, or are nobody.

use anyhow::ensure;
use futures::StreamExt as _;
use reqwest::{Client, Response};
use serde_json::json;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::runtime::Runtime;

/// Clients of each kind.
const KINDS: [(Kind, usize); 8] = [
    (Kind::Chat, 6),
    (Kind::SameChat, 2),
    (Kind::LongPrompt, 1),
    (Kind::Stream, 2),
    (Kind::LeftStream, 1),
    (Kind::Wrong, 1),
    (Kind::Nobody, 1),
    (Kind::NewConnection, 1),
];
/// Content of a long prompt, bytes.
const LONG_BYTES: usize = 32 * 1024;
/// Threads of all clients.
const THREADS: usize = 1;

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A chat that nobody had before.
    Chat,
    /// One that is kept.
    SameChat,
    LongPrompt,
    Stream,
    /// A stream whose client leaves after the first event.
    LeftStream,
    /// A body that is cut off.
    Wrong,
    /// A token that is none.
    Nobody,
    /// A client that never comes back.
    NewConnection,
}

/// All clients.
pub struct Load {
    runtime: Runtime,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    asked: AtomicU64,
    failed: AtomicU64,
    first_failure: OnceLock<String>,
}

/// What they saw.
pub struct Requests {
    asked: u64,
    /// Those that were not answered as they should be.
    failed: u64,
    /// What the first of those was.
    pub first_failure: Option<String>,
}

impl fmt::Display for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests, {} of them not answered as they should be", self.asked, self.failed)
    }
}

impl Load {
    /// Starts all clients of a service.
    pub fn start(base: &str, token: &str) -> Self {
        let counts = Arc::<Counts>::default();
        #[allow(clippy::expect_used, reason = "without threads there is nothing to measure")]
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .enable_all()
            .build()
            .expect("a runtime");
        for (kind, clients) in KINDS {
            for _ in 0..clients {
                let asker =
                    Asker { url: format!("{base}/v1/chat/completions"), token: token.to_owned(), kind };
                runtime.spawn(asker.ask_for_ever(Arc::clone(&counts)));
            }
        }
        Self { runtime, counts }
    }

    /// Ends them.
    pub fn stop(self) -> Requests {
        self.runtime.shutdown_background();
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Requests {
            asked: count(&self.counts.asked),
            failed: count(&self.counts.failed),
            first_failure: self.counts.first_failure.get().cloned(),
        }
    }
}

struct Asker {
    url: String,
    token: String,
    kind: Kind,
}

impl Asker {
    async fn ask_for_ever(self, counts: Arc<Counts>) {
        let mut client = Client::new();
        loop {
            if matches!(self.kind, Kind::NewConnection) {
                client = Client::new();
            }
            let number = counts.asked.fetch_add(1, Ordering::Relaxed);
            if let Err(failure) = self.ask(&client, number).await {
                counts.failed.fetch_add(1, Ordering::Relaxed);
                counts.first_failure.get_or_init(|| format!("{:?}: {failure:#}", self.kind));
            }
        }
    }

    /// Asks once; the answer is to be what it should be.
    async fn ask(&self, client: &Client, number: u64) -> anyhow::Result<()> {
        let is_stream = matches!(self.kind, Kind::Stream | Kind::LeftStream);
        let content = match self.kind {
            Kind::SameChat => "the same".to_owned(),
            Kind::LongPrompt => format!("{number} {}", "x".repeat(LONG_BYTES)),
            _ => number.to_string(),
        };
        let body =
            json!({"model": "m", "stream": is_stream, "messages": [{"role": "user", "content": content}]});
        let mut body = body.to_string();
        let (token, expected) = match self.kind {
            Kind::Nobody => ("nobody", 401),
            Kind::Wrong => {
                body.pop();
                (&*self.token, 400)
            }
            _ => (&*self.token, 200),
        };
        let request = client.post(&self.url).bearer_auth(token).header("content-type", "application/json");
        let answer = request.body(body).send().await?;
        ensure!(answer.status() == expected, "{} in place of {expected}", answer.status());
        match self.kind {
            Kind::LeftStream => {
                answer.bytes_stream().next().await;
            }
            Kind::Stream => ensure!(is_whole(answer).await?, "a stream that is not whole"),
            _ => drop(answer.bytes().await?),
        }
        Ok(())
    }
}

async fn is_whole(stream: Response) -> reqwest::Result<bool> {
    Ok(stream.bytes().await?.ends_with(b"data: [DONE]\n\n"))
}
