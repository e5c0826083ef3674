//! A service with a client of it.

use crate::support::Namespace;
use codecrucible_tests::client::{Client, Credentials};
use codecrucible_tests::port_forward::PortForward;
use serde_json::{Value, json};

/// Changes the `spec` of the service `demo`.
pub fn select(namespace: &Namespace<'_>, change: &Value) {
    let change = json!({ "spec": change }).to_string();
    namespace.kubectl(&["patch", "codecrucible", "demo", "--type=merge", "-p", &change]).unwrap();
}

/// What each replica says of itself.
pub fn metrics(namespace: &Namespace<'_>) -> Vec<String> {
    let pods = namespace.kubectl(&["get", "pods", "-o", "jsonpath={.items[*].metadata.name}"]).unwrap();
    let path = |pod: &str| format!("/api/v1/namespaces/{}/pods/{pod}:9090/proxy/metrics", namespace.name);
    pods.split(' ').filter_map(|pod| namespace.kubectl(&["get", "--raw", &path(pod)]).ok()).collect()
}

/// A service `demo`, whose backend nobody answers at, and a client of it.
pub struct Service {
    pub namespace: Namespace<'static>,
    pub forward: PortForward,
    pub client: Client,
}

impl Service {
    /// With so many replicas; whoever has a token may do everything.
    pub fn start(name: &str, replicas: u32) -> Self {
        let namespace = Namespace::new(name);
        namespace.with_remote_backend().crucible("demo", "remote", "").unwrap();
        select(&namespace, &json!({ "replicas": replicas }));
        namespace.wait_until_ready("demo");
        let forward = PortForward::start(namespace.cluster, name, "service/demo", 8080).unwrap();
        let credentials = Credentials::in_secret(namespace.cluster, name, "demo-client").unwrap();
        let client = Client::authenticate(&forward.url(), &credentials).unwrap();
        Self { namespace, forward, client }
    }

    /// The status of the answer to a document.
    pub fn status(&self, path: &str, body: &Value) -> u16 {
        self.client.post(path, body).unwrap().status().as_u16()
    }

    /// That of a chat; 502 is that of a backend that does not answer.
    pub fn chat(&self) -> u16 {
        let messages = json!([{"role": "user", "content": "hi"}]);
        self.status("/v1/chat/completions", &json!({"model": "coder", "messages": messages}))
    }

    /// That of a synthesis.
    pub fn synthesis(&self) -> u16 {
        self.status("/v1/synthesis", &json!({"task": "write"}))
    }

    /// That of the list of models.
    pub fn models(&self) -> u16 {
        self.client.get("/v1/models").unwrap()
    }
}
