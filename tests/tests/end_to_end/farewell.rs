//! Rolling updates while answers are streamed: those that end within their grace period are whole, and the rest are told.

use crate::model_server::ModelServer;
use crate::served::select;
use crate::support::{CLUSTER, Namespace, eventually};
use codecrucible_tests::client::{Client, Credentials};
use codecrucible_tests::port_forward::PortForward;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

const REPLICAS: usize = 2;
const STREAMS: usize = 200;
/// The shortest that may be declared, seconds.
const SHORT_GRACE_SECONDS: u32 = 30;
/// What of it is not the answers', seconds: clients are told in it.
const FAREWELL_SECONDS: i64 = 10;

/// How a stream ended, and when.
struct Ended {
    pod: String,
    last: Result<String, String>,
    at: Timestamp,
}

/// A service with two replicas whose model answers until it is told to come to an end.
struct Streamed {
    namespace: Namespace<'static>,
    model: ModelServer,
}

impl Streamed {
    fn start() -> Self {
        let (namespace, model) = (Namespace::new("farewell"), ModelServer::start());
        let backend = json!({"apiVersion": "codecrucible.dev/v1alpha1", "kind": "ModelBackend", "metadata": {"name": "remote"},
            "spec": {"type": "OpenAI", "url": format!("http://{}/v1", model.address), "models": [{"name": "coder"}]}});
        namespace.apply(&backend.to_string()).unwrap();
        namespace.crucible("demo", "remote", "").unwrap();
        let streamed = Self { namespace, model };
        select(&streamed.namespace, &json!({"replicas": REPLICAS}));
        streamed.wait_until_complete();
        streamed
    }

    fn wait_until_complete(&self) {
        eventually("all replicas are of the newest kind, and no other pod is there", || {
            let resource = self.namespace.get("codecrucible/demo").unwrap_or_default();
            resource["status"]["observedGeneration"] == resource["metadata"]["generation"]
                && resource["status"]["rollout"]["phase"] == "Complete"
                && resource["status"]["readyReplicas"] == REPLICAS
                && self.pods().len() == REPLICAS
        });
    }

    /// The names of all pods, and until when those have time that are to end.
    fn pods(&self) -> BTreeMap<String, Option<Timestamp>> {
        let list = self.namespace.get("pods").unwrap_or_default();
        let pods = list["items"].as_array().cloned().unwrap_or_default();
        let pod = |pod: &Value| {
            let end = pod["metadata"]["deletionTimestamp"].as_str();
            (
                pod["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
                end.map(|end| end.parse().unwrap()),
            )
        };
        pods.iter().map(pod).collect()
    }

    /// Streams from all replicas, how they ended, while something happens that knows how many pieces each of them got.
    fn while_streamed(&self, happens: impl FnOnce(&[AtomicUsize])) -> Vec<Ended> {
        let credentials = Credentials::of(&CLUSTER, &self.namespace.name, "demo").unwrap();
        let reached = |pod: String| {
            let target = format!("pod/{pod}");
            let forward = PortForward::start(&CLUSTER, &self.namespace.name, &target, 8080).unwrap();
            let client = Client::authenticate(&forward.url(), &credentials).unwrap();
            (pod, client, forward)
        };
        let replicas: Vec<_> = self.pods().into_keys().map(reached).collect();
        let pieces: Vec<AtomicUsize> = (0..STREAMS).map(|_| AtomicUsize::new(0)).collect();
        thread::scope(|scope| {
            let follow = |(number, pieces)| {
                let (pod, client, _): &(String, Client, PortForward) = &replicas[number % replicas.len()];
                scope.spawn(move || follow(pod, client, pieces))
            };
            let streams: Vec<_> = pieces.iter().enumerate().map(follow).collect();
            let happened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                each_gets_more(&pieces);
                happens(&pieces);
            }));
            if happened.is_err() {
                // Nobody could wait for them.
                self.model.end_streams();
            }
            let ended = streams.into_iter().map(|stream| stream.join().unwrap()).collect();
            happened.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            ended
        })
    }

    /// Until when the pods have time that are to make place for others, as soon as all of them are to.
    fn ends(&self, pods: &[String]) -> BTreeMap<String, Timestamp> {
        let mut ends = BTreeMap::new();
        eventually("the pods before are to end", || {
            ends.extend(self.pods().into_iter().filter_map(|(pod, end)| Some((pod, end?))));
            pods.iter().all(|pod| ends.contains_key(pod))
        });
        ends
    }
}

/// Reads a stream to its end.
fn follow(pod: &str, client: &Client, pieces: &AtomicUsize) -> Ended {
    let mut last = String::new();
    let question =
        json!({"model": "coder", "stream": true, "messages": [{"role": "user", "content": "Well?"}]});
    let read = client.post_events("/v1/chat/completions", &question, |data| {
        data.clone_into(&mut last);
        pieces.fetch_add(1, Ordering::Relaxed);
        true
    });
    let last = read.map(|()| last).map_err(|error| format!("{error:#}"));
    Ended { pod: pod.to_owned(), last, at: Timestamp::now() }
}

/// All streams go on.
fn each_gets_more(pieces: &[AtomicUsize]) {
    let before: Vec<_> = pieces.iter().map(|pieces| pieces.load(Ordering::Relaxed)).collect();
    eventually("each stream gets more", || {
        pieces.iter().zip(&before).all(|(pieces, before)| pieces.load(Ordering::Relaxed) > *before)
    });
}

#[test]
fn a_rolling_update_under_200_streams_cuts_none_before_their_grace_period_is_over_and_then_tells_each() {
    let streamed = Streamed::start();
    let before: Vec<_> = streamed.pods().into_keys().collect();
    let ended = streamed.while_streamed(|pieces| {
        select(&streamed.namespace, &json!({"podMetadata": {"annotations": {"turn": "1"}}}));
        streamed.ends(&before);
        eventually("the replicas after them serve", || {
            streamed.namespace.get("codecrucible/demo").unwrap_or_default()["status"]["rollout"]["phase"]
                == "Complete"
        });
        each_gets_more(pieces);
        streamed.model.end_streams();
    });
    let whole = ended.iter().filter(|ended| ended.last.as_deref() == Ok("[DONE]")).count();
    println!(
        "a rolling update under {} streams that end within the grace period: {whole} whole",
        ended.len()
    );
    let first = ended.iter().find(|ended| ended.last.as_deref() != Ok("[DONE]"));
    assert_eq!(whole, STREAMS, "{:?}", first.map(|ended| &ended.last));

    select(&streamed.namespace, &json!({"terminationGracePeriodSeconds": SHORT_GRACE_SECONDS}));
    streamed.wait_until_complete();
    let before: Vec<_> = streamed.pods().into_keys().collect();
    let mut ends = BTreeMap::new();
    let ended = streamed.while_streamed(|_| {
        select(&streamed.namespace, &json!({"podMetadata": {"annotations": {"turn": "2"}}}));
        ends = streamed.ends(&before);
    });
    let is_told = |ended: &&Ended| {
        let last = ended.last.as_deref().unwrap_or_default();
        serde_json::from_str::<Value>(last).is_ok_and(|last| last["error"]["code"] == "server_stopping")
    };
    let told = ended.iter().filter(is_told).count();
    let early = |ended: &&Ended| ended.at.as_second() < ends[&ended.pod].as_second() - FAREWELL_SECONDS;
    let early = ended.iter().filter(early).count();
    println!(
        "the same under {} that never end: {early} ended before the grace period was over, {told} told",
        ended.len()
    );
    let first = ended.iter().find(|ended| !is_told(ended));
    assert_eq!((early, told), (0, STREAMS), "{:?}", first.map(|ended| &ended.last));
}
