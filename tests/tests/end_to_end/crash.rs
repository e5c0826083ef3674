//! The operator killed at any moment: it converges, and then rests.

use crate::support::{Namespace, eventually};
use codecrucible_tests::cluster::{Cluster, forward};
use codecrucible_tests::product;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Times that the operator is killed.
const KILLS: u64 = 10;
/// Who the operator is for the API server.
const USER: &str = "system:serviceaccount:codecrucible-system:codecrucible-operator";

/// The operator as a process of ours, with the rights of its service account and no more.
struct Operator {
    child: Child,
    port: u16,
}

impl Operator {
    fn start(kubeconfig: &Path) -> Self {
        let port = forward::free_port().unwrap();
        let child = Command::new(product::program("operator"))
            .args(["--listen", &format!("127.0.0.1:{port}"), "--identity", "crash-test"])
            .args(["--lease-namespace", "codecrucible-system"])
            .env("KUBECONFIG", kubeconfig)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, port }
    }

    fn kill(mut self) {
        // SIGKILL, by its process id.
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn successful_reconciles(&self) -> u64 {
        let url = format!("http://127.0.0.1:{}/metrics", self.port);
        let metrics =
            reqwest::blocking::get(url).and_then(reqwest::blocking::Response::text).unwrap_or_default();
        let line = metrics.lines().find_map(|line| {
            line.strip_prefix("codecrucible_operator_reconciles_total{outcome=\"success\"} ")
        });
        line.and_then(|count| count.parse().ok()).unwrap_or(0)
    }
}

/// The administrator's kubeconfig with the service account's token in place of the certificate.
fn kubeconfig_of_service_account(cluster: &Cluster) -> PathBuf {
    let arguments =
        ["-n", "codecrucible-system", "create", "token", "codecrucible-operator", "--duration=1h"];
    let output = cluster.kubectl().unwrap().args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let token = String::from_utf8(output.stdout).unwrap();
    let admin = std::fs::read_to_string(cluster.kubeconfig()).unwrap();
    let user = format!("users: [{{name: u, user: {{token: '{}'}}}}]", token.trim());
    let lines = admin.lines().map(|line| if line.starts_with("users:") { user.as_str() } else { line });
    let path = cluster.kubeconfig().with_file_name("operator.kubeconfig");
    std::fs::write(&path, lines.collect::<Vec<_>>().join("\n")).unwrap();
    path
}

/// The operator's writes, leases aside, since a place in the audit log.
fn writes_since(cluster: &Cluster, offset: usize) -> Vec<String> {
    let log = std::fs::read_to_string(cluster.audit_log().unwrap()).unwrap();
    let entries = log[offset..].lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let is_write =
        |entry: &Value| entry["user"]["username"] == USER && entry["objectRef"]["resource"] != "leases";
    entries.filter(is_write).map(|entry| format!("{} {}", entry["verb"], entry["requestURI"])).collect()
}

fn audit_length(cluster: &Cluster) -> usize {
    std::fs::metadata(cluster.audit_log().unwrap()).unwrap().len() as usize
}

#[test]
fn ten_kills_during_the_first_apply_and_then_silence() {
    let cluster = Cluster::up("codecrucible-kill").unwrap();
    product::load_images(&cluster).unwrap();
    product::apply_manifests(&cluster, "crds").unwrap();
    product::apply_manifests(&cluster, "rbac").unwrap();
    let kubeconfig = kubeconfig_of_service_account(&cluster);

    for kill in 0..KILLS {
        let namespace = Namespace::on(&cluster, "kill");
        namespace.with_remote_backend().crucible("demo", "remote", "").unwrap();
        let operator = Operator::start(&kubeconfig);
        // Spread over the time that a first apply takes, from before its first write to after its last.
        std::thread::sleep(Duration::from_millis(40 * kill + 20));
        operator.kill();
        let key = namespace.get("secret/demo-signing-keys").map(|secret| secret["data"].clone());
        println!("kill {kill}: children so far: {}", children(&namespace));

        let operator = Operator::start(&kubeconfig);
        namespace.wait_until_ready("demo");
        if let Some(key) = key {
            assert_eq!(
                namespace.get("secret/demo-signing-keys").unwrap()["data"],
                key,
                "the key was made twice"
            );
        }
        eventually("it rests", || namespace.condition("demo", "Reconciling").0 == "False/Stable");
        operator.kill();
    }

    let namespace = Namespace::on(&cluster, "kill");
    namespace.with_remote_backend().crucible("demo", "remote", "").unwrap();
    let operator = Operator::start(&kubeconfig);
    namespace.wait_until_ready("demo");
    eventually("it rests", || namespace.condition("demo", "Reconciling").0 == "False/Stable");
    eventually("the pod was touched", || {
        namespace.get("pods").unwrap()["items"][0]["metadata"]["annotations"]["codecrucible.dev/configuration"].is_string()
    });
    operator.kill();
    let offset = audit_length(&cluster);
    let operator = Operator::start(&kubeconfig);
    eventually("a second reconcile", || operator.successful_reconciles() > 0);
    operator.kill();
    assert_eq!(writes_since(&cluster, offset), Vec::<String>::new());
    drop(namespace);
    Cluster::down("codecrucible-kill").unwrap();
}

fn children(namespace: &Namespace<'_>) -> usize {
    let kinds =
        "deployments,services,configmaps,secrets,serviceaccounts,networkpolicies,poddisruptionbudgets";
    let label = "app.kubernetes.io/instance=demo";
    namespace.kubectl(&["get", kinds, "-l", label, "-o", "name"]).unwrap_or_default().lines().count()
}
