//! The shared cluster, namespaces of their own for the tests, and waiting.

use codecrucible_tests::cluster::Cluster;
use codecrucible_tests::{model, product, wait};
use serde_json::Value;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Longest wait for anything, seconds.
pub const LIMIT_SECONDS: u64 = 120;

/// One cluster for the suite, with the operator in it. It stays up for the next run; `make test` removes it.
pub static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| {
    let cluster = Cluster::up("codecrucible-test").unwrap();
    product::install(&cluster).unwrap();
    cluster
});

/// A cluster without an operator in it, for those who run or install one in a way of their own: one at a time.
pub struct Second {
    pub cluster: Cluster,
    _alone: MutexGuard<'static, ()>,
}

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

impl Second {
    pub fn up() -> Self {
        // Whoever failed before has left nothing that the next one relies on.
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let cluster = Cluster::up("codecrucible-second").unwrap();
        product::load_images(&cluster).unwrap();
        product::apply_manifests(&cluster, "crds").unwrap();
        Self { cluster, _alone: alone }
    }

    /// With the accounts and roles of the operator.
    pub fn with_roles() -> Self {
        let second = Self::up();
        product::apply_manifests(&second.cluster, "rbac").unwrap();
        second
    }
}

/// A service account with the operator's rights, by which the audit log tells one operator from another.
pub fn operators_account(cluster: &Cluster, account: &str) {
    let binding = |kind: &str, name: &str, role: &str, namespace: &str| {
        format!(
            "---
apiVersion: rbac.authorization.k8s.io/v1
kind: {kind}Binding
metadata: {{name: {name}{namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: {kind}, name: {role}}}
subjects: [{{kind: ServiceAccount, name: {account}, namespace: codecrucible-system}}]
"
        )
    };
    let service_account = format!(
        "{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: {account}, namespace: codecrucible-system}}}}\n"
    );
    let cluster_wide = binding("ClusterRole", account, "codecrucible-operator", "");
    let lease =
        binding("Role", account, "codecrucible-operator-leader-election", ", namespace: codecrucible-system");
    cluster.apply(&format!("{service_account}{cluster_wide}{lease}")).unwrap();
}

/// A namespace that enforces Pod Security `restricted`, removed with the value.
pub struct Namespace<'a> {
    pub cluster: &'a Cluster,
    pub name: String,
}

impl<'a> Namespace<'a> {
    pub fn new(name: &str) -> Self {
        Self::on(&CLUSTER, name)
    }

    pub fn on(cluster: &'a Cluster, name: &str) -> Self {
        let namespace = Self { cluster, name: name.to_owned() };
        namespace.remove(true);
        let labels = "labels: {pod-security.kubernetes.io/enforce: restricted}";
        cluster
            .apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}, {labels}}}}}"))
            .unwrap();
        namespace
    }

    fn remove(&self, and_wait: bool) {
        let wait = format!("--wait={and_wait}");
        let arguments = ["delete", "--ignore-not-found", &wait, "namespace", &self.name];
        self.cluster.kubectl().unwrap().args(arguments).output().unwrap();
        let volume = format!("{}-models", self.name);
        let arguments = ["delete", "--ignore-not-found", &wait, "persistentvolume", &volume];
        self.cluster.kubectl().unwrap().args(arguments).output().unwrap();
    }

    /// Runs kubectl in the namespace; gives what it printed, or what it complained about.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        let output =
            self.cluster.kubectl().unwrap().args(["-n", &self.name]).args(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    /// Reads an object, if it exists.
    pub fn get(&self, object: &str) -> Option<Value> {
        let shown = self.kubectl(&["get", object, "-o", "json"]).ok()?;
        serde_json::from_str(&shown).ok()
    }

    /// Applies manifests to the namespace.
    pub fn apply(&self, yaml: &str) -> Result<(), String> {
        self.apply_with(yaml, &[])
    }

    /// What the API server would say of manifests.
    pub fn dry_run(&self, yaml: &str) -> Result<(), String> {
        self.apply_with(yaml, &["--dry-run=server", "--validate=strict"])
    }

    fn apply_with(&self, yaml: &str, more: &[&str]) -> Result<(), String> {
        let folder = std::env::temp_dir();
        let file = folder.join(format!("codecrucible-{}-{}.yaml", self.name, std::process::id()));
        std::fs::write(&file, yaml).unwrap();
        let arguments = ["apply", "--server-side", "--force-conflicts", "-f", file.to_str().unwrap()];
        let applied = self.kubectl(&[&arguments[..], more].concat());
        std::fs::remove_file(&file).unwrap();
        applied.map(|_| ())
    }

    /// A backend `remote` that nobody answers at: enough to start a service.
    pub fn with_remote_backend(&self) -> &Self {
        self.apply(
            "{apiVersion: codecrucible.dev/v1alpha1, kind: ModelBackend, metadata: {name: remote},
              spec: {type: OpenAI, url: 'http://127.0.0.1:9/v1', models: [{name: coder}]}}",
        )
        .unwrap();
        self
    }

    /// A backend `local` with the small model in process.
    pub fn with_local_model(&self) -> &Self {
        let (name, folder) = (&self.name, model::folder().unwrap());
        let (file, sha256) = (model::SMOLLM.file, model::SMOLLM.sha256);
        self.apply(&format!(
            "
apiVersion: v1
kind: PersistentVolume
metadata: {{name: {name}-models}}
spec:
  capacity: {{storage: 1Gi}}
  accessModes: [ReadOnlyMany]
  storageClassName: ''
  claimRef: {{namespace: {name}, name: models}}
  local: {{path: '{folder}'}}
  nodeAffinity:
    required:
      nodeSelectorTerms:
      - matchExpressions: [{{key: kubernetes.io/os, operator: In, values: [linux]}}]
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: models}}
spec: {{accessModes: [ReadOnlyMany], storageClassName: '', volumeName: {name}-models, resources: {{requests: {{storage: 1Gi}}}}}}
---
apiVersion: codecrucible.dev/v1alpha1
kind: ModelBackend
metadata: {{name: local}}
spec:
  type: Embedded
  embedded: {{persistentVolumeClaim: models, path: {file}, sha256: {sha256}}}
  models: [{{name: smollm2-135m, alias: coder}}]
  timeouts: {{firstByte: 10m, idle: 5m, total: 30m}}
",
            folder = folder.display(),
        ))
        .unwrap();
        self
    }

    /// A `CodeCrucible` with one replica and a little processor time, to which clients need not speak TLS.
    pub fn crucible(&self, name: &str, backend: &str, more: &str) -> Result<(), String> {
        self.apply(&format!(
            "
apiVersion: codecrucible.dev/v1alpha1
kind: CodeCrucible
metadata: {{name: {name}}}
spec:
  profile: Development
  tls: {{mode: Disabled}}
  image: {{repository: codecrucible.dev/workload, tag: dev}}
  replicas: 1
  resources: {{requests: {{cpu: 20m, memory: 64Mi}}, limits: {{cpu: '2', memory: 1Gi}}}}
  backends: [{backend}]
{more}
"
        ))
    }

    /// A service's condition as `Status/Reason`, and its message.
    pub fn condition(&self, crucible: &str, type_: &str) -> (String, String) {
        self.condition_of(&format!("codecrucible/{crucible}"), type_)
    }

    /// An object's condition as `Status/Reason`, and its message.
    pub fn condition_of(&self, object: &str, type_: &str) -> (String, String) {
        let object = self.get(object).unwrap_or_default();
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.into_iter().find(|condition| condition["type"] == type_).unwrap_or_default();
        let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
        (format!("{}/{}", text("status"), text("reason")), text("message"))
    }

    /// Waits until a condition has a status and reason, and gives its message.
    pub fn wait_for(&self, crucible: &str, type_: &str, state: &str) -> String {
        eventually(&format!("{crucible} in {} has {type_}={state}", self.name), || {
            self.condition(crucible, type_).0 == state
        });
        self.condition(crucible, type_).1
    }

    /// Waits until a service is ready.
    pub fn wait_until_ready(&self, crucible: &str) {
        let target = format!("codecrucible/{crucible}");
        let waited = self.kubectl(&["wait", "--for=condition=Ready", "--timeout=120s", &target]);
        if waited.is_err() {
            panic!("{waited:?}\n{}", self.kubectl(&["describe", "codecrucible,pods"]).unwrap_or_default());
        }
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What explains a failure is removed with the namespace.
            for what in [
                &["get", "deployments,replicasets,pods", "-o", "wide"][..],
                &["describe", "codecrucibles,pods"],
            ] {
                eprintln!("{}", self.kubectl(what).unwrap_or_else(|error| error));
            }
        }
        self.remove(false);
    }
}

/// Waits for a condition.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    wait::until(what, Duration::from_secs(LIMIT_SECONDS), || Ok(holds())).unwrap();
}
