//! Lets the voices speak side by side and decides between them.

use super::candidate::best;
use super::{Candidate, Outcome, Plan, Synthesis, code, evidence};
use crate::backend::{Backend, BackendError, CompletionRequest, Finish, Piece, Role, Turn};
use codecrucible_contract::Voice;
use futures::StreamExt as _;
use futures::future::join_all;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Most text that is kept of one voice, bytes.
const MAX_TEXT_BYTES: usize = 256 * 1024;

/// What happens while the voices speak.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type")]
pub enum Progress {
    /// A voice was asked.
    #[serde(rename = "voice.started")]
    Started {
        /// The voice.
        voice: String,
    },
    /// A voice said more.
    #[serde(rename = "voice.delta")]
    Delta {
        /// The voice.
        voice: String,
        /// What it said.
        text: String,
    },
    /// A voice ended, well or not.
    #[serde(rename = "voice.finished")]
    Finished(Candidate),
}

/// Runs a plan. Progress that nobody takes in time slows the voices down; nobody listening cancels them
/// when the caller drops this future.
pub async fn run(
    id: String,
    plan: &Plan,
    model: &str,
    backend: &Backend,
    progress: &mpsc::Sender<Progress>,
) -> Result<Synthesis, BackendError> {
    let voices = plan.voices.iter().map(|voice| speak(plan, voice, model, backend, progress));
    let spoken: Vec<(Candidate, Option<BackendError>)> = join_all(voices).await;
    let first_error = spoken.iter().find_map(|(_, error)| error.clone());
    let candidates: Vec<Candidate> = spoken.into_iter().map(|(candidate, _)| candidate).collect();
    let (winner, code) = best(&candidates).ok_or_else(|| first_error.unwrap_or(BackendError::Failed))?;
    let requested_definitions = plan.definitions.clone();
    Ok(Synthesis {
        id,
        object: "synthesis",
        mode: plan.mode,
        requested_definitions,
        winner,
        code,
        candidates,
    })
}

async fn speak(
    plan: &Plan,
    voice: &Voice,
    model: &str,
    backend: &Backend,
    progress: &mpsc::Sender<Progress>,
) -> (Candidate, Option<BackendError>) {
    let start = Instant::now();
    // A closed channel means that the client left; the caller notices and drops us.
    let _ = progress.send(Progress::Started { voice: voice.name.clone() }).await;
    let spoken = listen(plan, voice, model, backend, progress).await;
    let error = spoken.as_ref().err().cloned();
    let outcome = match spoken {
        Ok((text, usage)) => judged(plan, text, usage).await,
        Err(error) => Outcome::Failed { error: error.to_string() },
    };
    let duration_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    let candidate = Candidate { voice: voice.name.clone(), model: model.to_owned(), duration_ms, outcome };
    let _ = progress.send(Progress::Finished(candidate.clone())).await;
    (candidate, error)
}

async fn listen(
    plan: &Plan,
    voice: &Voice,
    model: &str,
    backend: &Backend,
    progress: &mpsc::Sender<Progress>,
) -> Result<(String, Finish), BackendError> {
    let mut answer = backend.complete(question(plan, voice, model)).await?;
    let mut text = String::new();
    loop {
        match answer.next().await.ok_or(BackendError::Cut)?? {
            Piece::Finished(finish) => return Ok((text, finish)),
            Piece::Text(more) => {
                text.push_str(&more);
                if text.len() > MAX_TEXT_BYTES {
                    return Err(BackendError::Protocol);
                }
                let _ = progress.send(Progress::Delta { voice: voice.name.clone(), text: more }).await;
            }
        }
    }
}

fn question(plan: &Plan, voice: &Voice, model: &str) -> CompletionRequest {
    CompletionRequest {
        model: model.to_owned(),
        turns: vec![
            Turn { role: Role::System, content: voice.prompt.clone() },
            Turn { role: Role::User, content: plan.task.clone() },
        ],
        max_tokens: plan.max_tokens,
        temperature: f64::from(voice.temperature_percent) / 100.0,
        top_p: 0.95,
        seed: None,
        stop: Vec::new(),
    }
}

/// Parsing broken code can take long, so it is done on a thread on which no request waits.
async fn judged(plan: &Plan, text: String, usage: Finish) -> Outcome {
    let (language, definitions) = (plan.language, plan.definitions.clone());
    let judge = move || {
        let found = code::extract(&text);
        let score = evidence::score(&found, language.or(found.language), &definitions);
        Outcome::Completed { text, code: found.text, score, usage }
    };
    tokio::task::spawn_blocking(judge)
        .await
        .unwrap_or_else(|_| Outcome::Failed { error: "the answer could not be judged".into() })
}
