//! How much clients may ask for: replicas count together in a real Redis, which is paused, killed and started anew under load, and limits are changed
//! under load.

use crate::model_server::ModelServer;
use crate::redis_server::{PASSWORD, RedisServer};
use crate::served::metrics;
use crate::support::{CLUSTER, Namespace, eventually};
use codecrucible_tests::client::{Client, Credentials};
use codecrucible_tests::port_forward::PortForward;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const REPLICAS: usize = 3;
/// Clients of each replica that never stop asking.
const CLIENTS: usize = 2;
/// What all replicas together admit in a day.
const LIMIT: usize = 300;

/// A service with three replicas that count in a Redis, each of which is reached.
struct Limited {
    namespace: Namespace<'static>,
    replicas: Vec<(Client, PortForward)>,
    _model: ModelServer,
}

impl Limited {
    fn start(name: &'static str, redis: &RedisServer, limits: &Value) -> Self {
        let (namespace, model) = (Namespace::new(name), ModelServer::start());
        let backend = json!({"apiVersion": "codecrucible.dev/v1alpha1", "kind": "ModelBackend", "metadata": {"name": "remote"},
            "spec": {"type": "OpenAI", "url": format!("http://{}/v1", model.address), "models": [{"name": "coder"}]}});
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "redis"}, "stringData": {"password": PASSWORD}});
        namespace.apply(&backend.to_string()).unwrap();
        namespace.apply(&secret.to_string()).unwrap();
        namespace.crucible("demo", "remote", "").unwrap();
        let store = json!({"url": format!("redis://{}", redis.address), "passwordSecretRef": {"name": "redis", "key": "password"}});
        patch(&namespace, &json!({"replicas": REPLICAS, "redis": store, "rateLimits": limits}));
        let is_at_rest = || {
            let status = namespace.get("codecrucible/demo").unwrap_or_default()["status"].clone();
            status["readyReplicas"] == REPLICAS
                && status["policy"]["appliedReplicas"] == REPLICAS
                && status["rollout"]["phase"] == "Complete"
        };
        eventually("it is at rest", is_at_rest);
        let pods = namespace.kubectl(&["get", "pods", "-o", "jsonpath={.items[*].metadata.name}"]).unwrap();
        let credentials = Credentials::of(&CLUSTER, name, "demo").unwrap();
        let reached = |pod: &str| {
            let forward = PortForward::start(&CLUSTER, name, &format!("pod/{pod}"), 8080).unwrap();
            (Client::authenticate(&forward.url(), &credentials).unwrap(), forward)
        };
        let replicas: Vec<_> = pods.split(' ').map(reached).collect();
        assert_eq!(replicas.len(), REPLICAS);
        let limited = Self { namespace, replicas, _model: model };
        eventually("all count together", || limited.connected() == REPLICAS);
        limited
    }

    /// The sum of a metric over all replicas.
    fn sum(&self, metric: &str) -> usize {
        let metrics = metrics(&self.namespace).join("\n");
        let values = metrics.lines().filter_map(|line| line.strip_prefix(metric)?.rsplit(' ').next());
        values.map(|value| value.parse::<usize>().unwrap()).sum()
    }

    /// Replicas that say that they count together.
    fn connected(&self) -> usize {
        self.sum("codecrucible_limit_store_connected")
    }

    /// Requests that were decided without Redis.
    fn fallbacks(&self) -> usize {
        self.sum("codecrucible_limit_fallbacks_total")
    }

    fn print_waits(&self) {
        let within =
            |seconds: &str| self.sum(&format!("codecrucible_limit_store_seconds_bucket{{le=\"{seconds}\"}}"));
        let all = self.sum("codecrucible_limit_store_seconds_count");
        let (five, twenty_five, fifty) = (within("0.005"), within("0.025"), within("0.05"));
        println!(
            "waits for Redis: {all}, of which {five} within 5 ms, {twenty_five} within 25 ms, {fifty} within 50 ms"
        );
    }

    /// All that clients of each replica saw while something happens.
    fn while_asked(&self, happens: impl FnOnce(&Mutex<Vec<Seen>>)) -> Vec<Seen> {
        let (seen, is_over) = (Mutex::new(Vec::new()), AtomicBool::new(false));
        let ask_until_over = |replica: usize| {
            while !is_over.load(Ordering::Relaxed) {
                let answer = ask(replica, &self.replicas[replica].0);
                seen.lock().unwrap().push(answer);
            }
        };
        thread::scope(|scope| {
            for client in 0..REPLICAS * CLIENTS {
                scope.spawn(move || ask_until_over(client % REPLICAS));
            }
            let happened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| happens(&seen)));
            is_over.store(true, Ordering::Relaxed);
            happened.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });
        seen.into_inner().unwrap()
    }
}

/// One answer.
#[derive(Clone, Debug)]
struct Seen {
    replica: usize,
    status: u16,
    policy: String,
    at: Instant,
    took: Duration,
}

fn ask(replica: usize, client: &Client) -> Seen {
    let begin = Instant::now();
    let question = json!({"model": "coder", "messages": [{"role": "user", "content": "Well?"}]});
    let answer = client.post("/v1/chat/completions", &question).unwrap();
    let policy = answer.headers().get("ratelimit-policy").map(|value| value.to_str().unwrap().to_owned());
    let status = answer.status().as_u16();
    // Read, so that the connection is used again.
    answer.text().unwrap();
    Seen { replica, status, policy: policy.unwrap_or_default(), at: Instant::now(), took: begin.elapsed() }
}

fn patch(namespace: &Namespace<'_>, spec: &Value) {
    let patch = json!({"spec": spec}).to_string();
    namespace.kubectl(&["patch", "codecrucible", "demo", "--type=merge", "-p", &patch]).unwrap();
}

fn admitted(seen: &[Seen]) -> usize {
    seen.iter().filter(|seen| seen.status == 200).count()
}

/// Until each replica has refused what came after all was gone.
fn until_all_is_gone(seen: &Mutex<Vec<Seen>>) {
    let from = seen.lock().unwrap().len();
    eventually("each replica refuses", || {
        let seen = seen.lock().unwrap();
        (0..REPLICAS).all(|replica| {
            let last = seen[from..].iter().rev().filter(|seen| seen.replica == replica).take(20);
            last.clone().count() == 20 && last.clone().all(|seen| seen.status == 429)
        })
    });
}

fn slowest(seen: &[Seen]) -> (Duration, Duration) {
    let mut times: Vec<_> = seen.iter().map(|seen| seen.took).collect();
    times.sort();
    (times[times.len() / 2], times[times.len() - 1])
}

#[test]
fn a_redis_that_is_killed_under_load_leaves_each_replica_its_part_and_nothing_more() {
    let mut redis = RedisServer::start();
    let daily = json!([{"name": "daily", "limit": REPLICAS, "burst": LIMIT, "window": "1d", "onStoreFailure": "Local"}]);
    let limited = Limited::start("limited", &redis, &daily);

    let together = limited.while_asked(until_all_is_gone);
    println!(
        "with Redis: {} of {} requests admitted, the limit is {LIMIT}",
        admitted(&together),
        together.len()
    );
    // An answer of Redis that comes too late is counted there, and decided here as well.
    let late = limited.fallbacks();
    assert!(
        admitted(&together).abs_diff(LIMIT) <= late,
        "three replicas admit as many as one, but for {late} late answers"
    );

    let alone = limited.while_asked(|seen| {
        redis.kill();
        eventually("each counts by itself", || limited.connected() == 0);
        until_all_is_gone(seen);
    });
    let (median, most) = slowest(&alone);
    println!(
        "Redis killed: {} of {} requests admitted, answers after {median:.1?}, {most:.1?} at most",
        admitted(&alone),
        alone.len()
    );
    assert!(admitted(&alone).abs_diff(LIMIT) <= late, "each of three replicas admits a third");
    let late = limited.fallbacks();

    let told = limited.namespace.wait_for("demo", "StoreConnected", "False/NotConnected");
    assert!(told.contains("ready replicas count together; demo-"), "{told}");
    let back = limited.while_asked(|seen| {
        redis.start_anew();
        eventually("they count together again", || limited.connected() == REPLICAS);
        until_all_is_gone(seen);
    });
    println!("Redis back, and empty: {} of {} requests admitted", admitted(&back), back.len());
    let late = limited.fallbacks() - late;
    assert!(admitted(&back).abs_diff(LIMIT) <= late);
    limited.namespace.wait_for("demo", "StoreConnected", "True/Connected");

    let silent = limited.while_asked(|seen| {
        redis.pause();
        eventually("each counts by itself", || limited.connected() == 0);
        until_all_is_gone(seen);
        redis.go_on();
        eventually("they count together again", || limited.connected() == REPLICAS);
    });
    let (median, most) = slowest(&silent);
    println!(
        "Redis silent and back: {} of {} requests admitted, answers after {median:.1?}, {most:.1?} at most",
        admitted(&silent),
        silent.len()
    );
    assert_eq!(admitted(&silent), 0, "their parts are gone, and Redis has kept its count");
    limited.print_waits();
    assert!(
        together
            .iter()
            .chain(&alone)
            .chain(&back)
            .chain(&silent)
            .all(|seen| [200, 429].contains(&seen.status))
    );
}

#[test]
fn limits_that_are_changed_under_load_are_in_force_everywhere_and_no_request_is_lost() {
    let redis = RedisServer::start();
    let limits = |limit: usize| {
        json!([
            {"name": "requests", "limit": limit, "window": "1s"},
            {"name": "tokens", "unit": "Tokens", "per": "Namespace", "algorithm": "SlidingWindow", "limit": 100 * limit, "onStoreFailure": "Allow"},
            {"name": "trial", "limit": limit, "mode": "Shadow", "onStoreFailure": "Allow"},
        ])
    };
    let limited = Limited::start("relimited", &redis, &limits(100_000));
    let mut changes = Vec::new();
    let seen = limited.while_asked(|seen| {
        for change in 1..=5_usize {
            let limit = 100_000 + change;
            let changed = Instant::now();
            patch(&limited.namespace, &json!({"rateLimits": limits(limit)}));
            let policy =
                format!("\"requests\";q={limit};w=1, \"tokens\";q={};w=60;qu=\"tokens\"", 100 * limit);
            eventually("all replicas have it in force", || {
                let seen = seen.lock().unwrap();
                let first = seen
                    .iter()
                    .rev()
                    .take_while(|seen| seen.at > changed)
                    .filter(|seen| seen.policy == policy);
                let first: BTreeMap<_, _> = first.map(|seen| (seen.replica, seen.at)).collect();
                if first.len() == REPLICAS {
                    changes.push(*first.values().max().unwrap() - changed);
                }
                first.len() == REPLICAS
            });
        }
    });
    let lost = seen.iter().filter(|seen| seen.status != 200).count();
    changes.sort();
    println!(
        "limits changed 5 times under load: in force on {REPLICAS} replicas after {:.2?} in the median, {:.2?} at most; {} requests, {lost} not answered with 200",
        changes[2],
        changes[4],
        seen.len()
    );
    assert_eq!(lost, 0);

    patch(&limited.namespace, &json!({"rateLimits": [{"name": "requests", "limit": 3, "window": "1d"}]}));
    // What is lowered is refused.
    limited.while_asked(until_all_is_gone);
}
