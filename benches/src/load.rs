//! A bounded load over a few connections.

use futures::StreamExt as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc::{Receiver, channel};

/// What a prompt begins with whose stream is not to end.
pub(crate) const HOLD: &str = "hold";
/// Requests under way at once.
const CONCURRENCY: usize = 8;
/// Size of a small request's body, bytes.
const SMALL_BYTES: usize = 273;
/// Size of one with a long prompt, bytes.
const LONG_BYTES: usize = 33 * 1024;

/// What one that is too long announces, bytes.
const TOO_LONG_BYTES: u64 = 1 << 40;

/// Who is asked.
pub struct Target {
    /// Where.
    pub address: SocketAddr,
    /// With which token.
    pub token: String,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A small chat.
    Chat,
    /// A chat with a long prompt.
    LongPrompt,
    /// A chat that is streamed.
    Stream,
    /// The same, whose stream does not end.
    OpenStream,
    /// A small chat of somebody unknown.
    Stranger,
    /// The head of one that is too long.
    TooLong,
}

/// A kind of request, and the status of its answer.
pub struct Load {
    body: String,
    status: u16,
    is_known: bool,
    is_too_long: bool,
    client: reqwest::Client,
}

impl Load {
    /// Requests that are answered in this way.
    pub fn new(ask: Ask, status: u16) -> Self {
        let (stream, size) = match ask {
            Ask::Chat | Ask::Stranger | Ask::TooLong => (false, SMALL_BYTES),
            Ask::LongPrompt => (false, LONG_BYTES),
            Ask::Stream | Ask::OpenStream => (true, SMALL_BYTES),
        };
        let body = |filler: usize| {
            let hold = if ask == Ask::OpenStream { HOLD } else { "" };
            let content = format!("{hold}{}", "x".repeat(filler));
            format!(
                "{{\"model\":\"m\",\"stream\":{stream},\"messages\":[{{\"role\":\"user\",\"content\":\"{content}\"}}]}}"
            )
        };
        let body = body(size - body(0).len());
        Self {
            body,
            status,
            is_known: ask != Ask::Stranger,
            is_too_long: ask == Ask::TooLong,
            client: reqwest::Client::new(),
        }
    }

    /// The same, answered with 200 by whoever asks nobody who he is.
    pub fn of_floor(ask: Ask) -> anyhow::Result<Self> {
        if ask != Ask::TooLong {
            return Ok(Self::new(ask, 200));
        }
        // It has no limit. Whoever is refused before his body is read has to come again over a new connection, so that is what both cost.
        let client = reqwest::Client::builder().pool_max_idle_per_host(0).build()?;
        Ok(Self { client, ..Self::new(Ask::Chat, 200) })
    }

    /// Sends so many requests a second for a while, whether the ones before are answered or not, and gives how long each took, microseconds.
    pub async fn steady(
        &self,
        target: &Target,
        per_second: u32,
        lasts: Duration,
    ) -> anyhow::Result<Vec<f64>> {
        let count = (lasts.as_secs_f64() * f64::from(per_second)) as u32;
        let mut beats = beats(count, Duration::from_secs(1) / per_second);
        let mut answers = tokio::task::JoinSet::new();
        while beats.recv().await.is_some() {
            let request = self.request(target);
            answers.spawn(async move {
                let sent = Instant::now();
                let answer = request.send().await?.error_for_status()?;
                answer.bytes().await?;
                Ok::<_, reqwest::Error>(sent.elapsed().as_secs_f64() * 1e6)
            });
        }
        let mut times = Vec::new();
        while let Some(time) = answers.join_next().await {
            times.push(time??);
        }
        Ok(times)
    }

    /// Begins so many requests and keeps what has begun of their answers.
    pub async fn open(&self, target: &Target, count: usize) -> anyhow::Result<Vec<reqwest::Response>> {
        let begin = |_| async {
            let mut answer = self.request(target).send().await?.error_for_status()?;
            answer.chunk().await?;
            Ok::<_, reqwest::Error>(answer)
        };
        let opening = futures::stream::iter(0..count).map(begin).buffer_unordered(CONCURRENCY);
        opening.map(|opened| opened.map_err(Into::into)).collect::<Vec<_>>().await.into_iter().collect()
    }

    fn request(&self, target: &Target) -> reqwest::RequestBuilder {
        let url = format!("http://{}/v1/chat/completions", target.address);
        let request = self.client.post(url).bearer_auth(&target.token).body(self.body.clone());
        request.header("content-type", "application/json")
    }

    /// Sends so many requests and reads every answer to its end.
    pub async fn send(&self, target: &Target, count: usize) -> anyhow::Result<()> {
        if self.is_too_long {
            return announce(target, self.status, count).await;
        }
        let url = format!("http://{}/v1/chat/completions", target.address);
        let token = if self.is_known { target.token.clone() } else { target.token.chars().rev().collect() };
        let ask = |_| {
            let request = self.client.post(&url).bearer_auth(&token).body(self.body.clone());
            async move {
                let answer = request.header("content-type", "application/json").send().await?;
                anyhow::ensure!(answer.status() == self.status, "{}", answer.status());
                answer.bytes().await?;
                Ok(())
            }
        };
        let mut answers = futures::stream::iter(0..count).map(ask).buffer_unordered(CONCURRENCY);
        while let Some(answer) = answers.next().await {
            answer?;
        }
        Ok(())
    }
}

/// So many, one after another at equal distances. A runtime's timers are exact to the millisecond only, and would send all requests of a millisecond at
/// once, which then wait for each other.
fn beats(count: u32, apart: Duration) -> Receiver<()> {
    // There is room for all, so that none is late.
    let (beat, beats) = channel(count as usize);
    std::thread::spawn(move || {
        let begin = Instant::now();
        for number in 0..count {
            std::thread::sleep((begin + number * apart).saturating_duration_since(Instant::now()));
            // Nobody counts them any more when the load has failed.
            if beat.blocking_send(()).is_err() {
                break;
            }
        }
    });
    beats
}

/// Announces so many requests that are too long, each over a connection of its own, which ends with the answer.
async fn announce(target: &Target, status: u16, count: usize) -> anyhow::Result<()> {
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {TOO_LONG_BYTES}\r\nexpect: 100-continue\r\n\r\n",
        target.token
    );
    let expected = format!("HTTP/1.1 {status} ");
    let announce = |_| async {
        let mut stream = tokio::net::TcpStream::connect(target.address).await?;
        stream.write_all(head.as_bytes()).await?;
        let mut answer = vec![0; expected.len()];
        stream.read_exact(&mut answer).await?;
        anyhow::ensure!(answer == expected.as_bytes(), "{}", String::from_utf8_lossy(&answer));
        Ok(())
    };
    let mut answers = futures::stream::iter(0..count).map(announce).buffer_unordered(CONCURRENCY);
    while let Some(answer) = answers.next().await {
        answer?;
    }
    Ok(())
}
