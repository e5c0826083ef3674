//! A bounded load over a few connections.

use futures::StreamExt as _;
use std::net::SocketAddr;

/// Requests under way at once.
const CONCURRENCY: usize = 8;
/// Size of the request body that the budgets speak of, bytes.
const BODY_BYTES: usize = 273;

/// Who is asked.
pub struct Target {
    /// Where.
    pub address: SocketAddr,
    /// With which token.
    pub token: String,
}

/// A kind of request.
pub struct Load {
    body: String,
    client: reqwest::Client,
}

impl Load {
    /// Chats of 273 bytes, whole or streamed.
    pub fn new(stream: bool) -> Self {
        let body = |filler: usize| {
            let content = "x".repeat(filler);
            format!(
                "{{\"model\":\"m\",\"stream\":{stream},\"messages\":[{{\"role\":\"user\",\"content\":\"{content}\"}}]}}"
            )
        };
        let body = body(BODY_BYTES - body(0).len());
        Self { body, client: reqwest::Client::new() }
    }

    /// Sends so many requests and reads every answer to its end.
    pub async fn send(&self, target: &Target, count: usize) -> anyhow::Result<()> {
        let url = format!("http://{}/v1/chat/completions", target.address);
        let ask = |_| {
            let request = self.client.post(&url).bearer_auth(&target.token).body(self.body.clone());
            async move {
                let answer = request.header("content-type", "application/json").send().await?;
                anyhow::ensure!(answer.status() == 200, "{}", answer.status());
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
