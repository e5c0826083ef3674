//! Lets the voices speak side by side and decides between them.

use super::candidate::best;
use super::{Candidate, Outcome, Plan, Synthesis, code, evidence};
use crate::attempts::{Answered, Attempts, Question, Verdict};
use crate::backend::{BackendError, Deadline, Deltas, Said, Told};
use crate::dialects::{Chat, Delta, Message, Role, Sampling, Usage};
use crate::routing::Target;
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

/// Who is asked, and how.
pub struct Asked<'a> {
    /// The backends of the model.
    pub targets: &'a [Target],
    /// What pays for attempts beyond the first.
    pub attempts: Attempts<'a>,
}

/// Runs a plan. Progress that nobody takes in time slows the voices down; nobody listening cancels them
/// when the caller drops this future.
pub async fn run(
    id: String,
    plan: &Plan,
    asked: &Asked<'_>,
    progress: &mpsc::Sender<Progress>,
) -> Result<Synthesis, BackendError> {
    let voices = plan.voices.iter().map(|voice| speak(plan, voice, asked, progress));
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
    asked: &Asked<'_>,
    progress: &mpsc::Sender<Progress>,
) -> (Candidate, Option<BackendError>) {
    let start = Instant::now();
    // A closed channel means that the client left; the caller notices and drops us.
    let _ = progress.send(Progress::Started { voice: voice.name.clone() }).await;
    let spoken = listen(plan, voice, asked, progress).await;
    let error = spoken.as_ref().err().cloned();
    let outcome = match spoken {
        Ok((text, usage)) => judged(plan, text, usage).await,
        Err(error) => Outcome::Failed { error: error.to_string() },
    };
    let duration_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    // Backends may call it by different names; the first one's is what the synthesis is about.
    let model = asked.targets.first().map(|target| target.backend_model.clone()).unwrap_or_default();
    let candidate = Candidate { voice: voice.name.clone(), model, duration_ms, outcome };
    let _ = progress.send(Progress::Finished(candidate.clone())).await;
    (candidate, error)
}

async fn listen(
    plan: &Plan,
    voice: &Voice,
    asked: &Asked<'_>,
    progress: &mpsc::Sender<Progress>,
) -> Result<(String, Usage), BackendError> {
    let targets: Vec<&Target> = asked.targets.iter().collect();
    let (answered, _) = asked.attempts.first_answer(&Words { plan, voice }, &targets, &[]).await;
    // It counts for as long as the voice speaks.
    let Answered { answer, in_flight, .. } = answered?;
    let said = hear(answer, voice, progress).await;
    if let (Err(error), Some(in_flight)) = (&said, &in_flight) {
        in_flight.broke(error, Instant::now(), &asked.attempts.metrics.models);
    }
    said
}

/// All that a voice says.
async fn hear(
    mut answer: Deltas,
    voice: &Voice,
    progress: &mpsc::Sender<Progress>,
) -> Result<(String, Usage), BackendError> {
    let (mut text, mut usage) = (String::new(), Usage::default());
    loop {
        match answer.next().await.ok_or(BackendError::Cut)?? {
            Delta::End => return Ok((text, usage)),
            Delta::Usage(used) => usage = used,
            Delta::Text(more) => {
                text.push_str(&more);
                if text.len() > MAX_TEXT_BYTES {
                    return Err(BackendError::TooLarge);
                }
                let _ = progress.send(Progress::Delta { voice: voice.name.clone(), text: more }).await;
            }
            // It has no tools, and what it thinks is not what it says.
            Delta::Reasoning(_) | Delta::Call { .. } | Delta::Arguments { .. } | Delta::Stop(_) => {}
        }
    }
}

/// What one voice is asked to say.
struct Words<'a> {
    plan: &'a Plan,
    voice: &'a Voice,
}

impl Question for Words<'_> {
    type Answer = Deltas;

    async fn ask(&self, target: &Target, deadline: Deadline) -> Result<Deltas, BackendError> {
        let Self { plan, voice } = self;
        let chat = Chat {
            messages: vec![
                Message::text(Role::System, &*voice.prompt),
                Message::text(Role::User, &*plan.task),
            ],
            max_tokens: Some(plan.max_tokens as u64),
            sampling: Sampling {
                temperature: Some(f64::from(voice.temperature_percent) / 100.0),
                top_p: Some(0.95),
                ..Sampling::default()
            },
            stream: true,
            ..Chat::default()
        };
        match target.backend.ask(&chat, &target.backend_model, Told::default(), deadline).await? {
            Said::Answer(answer) => Ok(answer),
            Said::Refusal(refusal) => Err(BackendError::from(&refusal)),
        }
    }

    fn is_streamed(&self) -> bool {
        true
    }

    fn verdict(_: &Deltas) -> Verdict {
        Verdict::Answered
    }

    async fn judge(&self, answer: Deltas) -> Result<(Deltas, Verdict), BackendError> {
        Ok((answer, Verdict::Answered))
    }
}

/// Parsing broken code can take long, so it is done on a thread on which no request waits.
async fn judged(plan: &Plan, text: String, usage: Usage) -> Outcome {
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
