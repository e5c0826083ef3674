//! One service in front of backends that each speak in their own way, and clients that speak in another.

use crate::model_server::{ANTHROPIC_MODEL, ModelServer, VLLM_MODEL};
use crate::ollama_server::{self, OllamaServer};
use crate::sdk::run_with_sdk;
use crate::support::Namespace;
use codecrucible_tests::client::{Client, Credentials};
use codecrucible_tests::port_forward::PortForward;

/// Backends that are no pods, each of a type of its own, and the model in the replica's process.
fn apply(namespace: &Namespace<'_>, vllm: &ModelServer, ollama: &OllamaServer) {
    let (vllm, ollama) = (vllm.address, ollama.url());
    namespace
        .with_local_model()
        .apply(&format!(
            "
apiVersion: codecrucible.dev/v1alpha1
kind: ModelBackend
metadata: {{name: vllm}}
spec: {{type: OpenAI, url: 'http://{vllm}/v1', models: [{{name: {VLLM_MODEL}}}]}}
---
apiVersion: codecrucible.dev/v1alpha1
kind: ModelBackend
metadata: {{name: claude}}
spec: {{type: Anthropic, url: 'http://{vllm}', models: [{{name: {ANTHROPIC_MODEL}}}]}}
---
apiVersion: codecrucible.dev/v1alpha1
kind: ModelBackend
metadata: {{name: ollama}}
spec:
  type: Ollama
  url: '{ollama}'
  models: [{{name: {model}}}]
  ollama: {{contextTokens: 2048, keepAlive: 10m}}
",
            model = ollama_server::MODEL
        ))
        .unwrap();
}

#[test]
fn models_behind_any_protocol_answer_the_three_official_sdks() {
    let namespace = Namespace::new("dialects");
    let (vllm, ollama) = (ModelServer::start(), OllamaServer::start());
    apply(&namespace, &vllm, &ollama);
    namespace.crucible("demo", "local, vllm, claude, ollama", "").unwrap();
    namespace.wait_until_ready("demo");
    let forward = PortForward::start(namespace.cluster, &namespace.name, "service/demo", 8080).unwrap();
    let credentials = Credentials::of(namespace.cluster, &namespace.name, "demo").unwrap();
    let client = Client::authenticate(&forward.url(), &credentials).unwrap();

    let servers = [VLLM_MODEL, ANTHROPIC_MODEL, ollama_server::MODEL];
    let models = ["coder", &servers.join(" ")].join(" ");
    let with_tools = servers[..if ollama.calls_tools() { 3 } else { 2 }].join(" ");
    for script in ["dialects_openai.py", "dialects_openai.mjs", "dialects_anthropic.py"] {
        let told = [
            ("MODELS", &*models),
            ("TOOL_MODELS", &*with_tools),
            // Of backends that do not give responses themselves.
            ("RESPONSE_MODELS", &*["coder", ANTHROPIC_MODEL].join(" ")),
            ("CHATS_ONLY_MODEL", ANTHROPIC_MODEL),
        ];
        run_with_sdk(script, &forward.url(), client.token(), &told);
    }
}
