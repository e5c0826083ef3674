//! `CodeCrucible`: one code-synthesis service.

use crate::duration::Duration;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscalerBehavior;
use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// One code-synthesis service with an OpenAI-compatible API.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "codecrucible.dev",
    version = "v1alpha1",
    kind = "CodeCrucible",
    plural = "codecrucibles",
    namespaced,
    shortname = "crucible",
    category = "codecrucible-all",
    doc = "One code-synthesis service with an OpenAI-compatible API. The operator makes the deployment and all that belongs to it, and reports in `status` what it saw.",
    status = "CodeCrucibleStatus",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    derive = "PartialEq",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Ready Replicas", type_ = "integer", json_path = ".status.readyReplicas"),
    printcolumn(name = "Policy", type_ = "string", json_path = ".status.policy.revision"),
    printcolumn(name = "Applied", type_ = "integer", json_path = ".status.policy.appliedReplicas"),
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".status.endpoint"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Image", type_ = "string", json_path = ".status.image", priority = 1),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason", priority = 1),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')").message("metadata.name must be a DNS label of at most 40 characters that begins with a letter")
)]
#[cfg_attr(test, kube(cel))]
#[serde(rename_all = "camelCase")]
pub struct CodeCrucibleSpec {
    /// The workload's image.
    pub image: Image,
    /// How many replicas serve. Does not count while `autoscaling` is set or the service hibernates.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 0, max = 100))]
    pub replicas: i32,
    /// An autoscaler decides how many replicas serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.minReplicas <= self.maxReplicas").message("minReplicas must not be more than maxReplicas; raise maxReplicas, or lower minReplicas (3 if it is left out)"))]
    #[x_kube(validation = Rule::new("self.targetCpuPercent > 0 || self.targetMemoryPercent > 0").message("one of targetCpuPercent and targetMemoryPercent must be above 0; or leave autoscaling out"))]
    pub autoscaling: Option<Autoscaling>,
    /// Compute resources of one replica. What is given replaces the default as a whole; with `autoscaling`, `requests` must
    /// hold what is measured.
    #[serde(default = "default_resources")]
    pub resources: ResourceRequirements,
    /// Names of `ModelBackend`s in this namespace. A model's name leads to exactly one of them; a synthesis that
    /// names no model goes to the first model of the first backend.
    #[schemars(
        length(min = 1, max = 64),
        inner(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"))
    )]
    #[x_kube(validation = Rule::new("self.all(name, self.exists_one(other, other == name))").message("a backend may be named only once; remove the second one"))]
    pub backends: Vec<String>,
    /// How several voices answer together.
    #[serde(default)]
    #[x_kube(validation = Rule::new("!has(self.defaultVoices) || self.defaultVoices.all(name, self.defaultVoices.exists_one(other, other == name))").message("a voice may be named only once in defaultVoices; remove the second one"))]
    pub synthesis: Synthesis,
    /// Who may call, and for how long.
    #[serde(default)]
    pub auth: Auth,
    /// What the replicas log.
    #[serde(default)]
    pub observability: Observability,
    /// How new pods come in place of old ones.
    #[serde(default)]
    pub rollout: Rollout,
    /// Who in the cluster may reach the pods.
    #[serde(default)]
    pub network: Network,
    /// Holding the operator back, or putting the service to sleep.
    #[serde(default)]
    pub maintenance: Maintenance,
}

/// The workload's image.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.tag) != has(self.digest)").message("exactly one of tag and digest is required"))]
pub struct Image {
    /// Registry and repository, without tag and digest.
    #[schemars(
        length(min = 1, max = 255),
        regex(
            pattern = r"^[a-z0-9]([a-z0-9._-]*[a-z0-9])?(:[0-9]{1,5})?(/[a-z0-9]([a-z0-9._-]*[a-z0-9])?)*$"
        )
    )]
    pub repository: String,
    /// Tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128), regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9._-]*$"))]
    pub tag: Option<String>,
    /// Digest, `sha256:` and 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71), regex(pattern = r"^sha256:[0-9a-f]{64}$"))]
    pub digest: Option<String>,
    /// When the kubelet asks the registry.
    #[serde(default)]
    pub pull_policy: PullPolicy,
    /// Names of Secrets with registry credentials.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        inner(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"))
    )]
    pub pull_secrets: Vec<String>,
}

impl Image {
    /// The reference as a pod names it.
    pub fn reference(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => format!("{}@{digest}", self.repository),
            (None, Some(tag)) => format!("{}:{tag}", self.repository),
            (None, None) => self.repository.clone(),
        }
    }
}

/// When the kubelet asks the registry.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
#[allow(missing_docs, reason = "Kubernetes' own names")]
pub enum PullPolicy {
    Always,
    #[default]
    IfNotPresent,
    Never,
}

impl PullPolicy {
    /// Kubernetes' name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// When replicas are added and taken away: by what they use of what they request (`resources.requests`).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Autoscaling {
    /// Fewest replicas.
    #[schemars(range(min = 1, max = 100))]
    pub min_replicas: i32,
    /// Most replicas.
    #[schemars(range(min = 1, max = 100))]
    pub max_replicas: i32,
    /// Processor time that replicas are to use on average, percent of what they request; 0 if it is not to count.
    #[schemars(range(min = 0, max = 1000))]
    pub target_cpu_percent: i32,
    /// Memory, likewise. A model in process takes the same all the time: let it not count then.
    #[schemars(range(min = 0, max = 1000))]
    pub target_memory_percent: i32,
    /// How fast. Left out: up at once, at most to twice as many in 15 s; down after 300 s of calm, at most by half in 60 s.
    /// What is given replaces both directions, and what it leaves out has Kubernetes' own defaults.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behavior: Option<HorizontalPodAutoscalerBehavior>,
}

impl Default for Autoscaling {
    fn default() -> Self {
        Self {
            min_replicas: 3,
            max_replicas: 10,
            target_cpu_percent: 70,
            target_memory_percent: 80,
            behavior: None,
        }
    }
}

/// How several voices answer together.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Synthesis {
    /// Voices that are added to the built-in ones (explorer, maintainer, analyzer, developer, implementor, security,
    /// architect, designer, optimizer), or replace the one of the same name.
    #[schemars(length(max = 32))]
    pub voices: Vec<Voice>,
    /// Voices of a request that names none; at most five.
    #[schemars(length(min = 1, max = 5), inner(length(min = 1, max = 63)))]
    pub default_voices: Vec<String>,
    /// Mode of a request that names none.
    pub default_mode: SynthesisMode,
    /// Tokens that one voice may write.
    #[schemars(range(min = 1, max = 32768))]
    pub max_tokens_per_voice: i32,
}

impl Default for Synthesis {
    fn default() -> Self {
        Self {
            voices: Vec::new(),
            default_voices: ["developer", "maintainer", "security"].map(str::to_owned).to_vec(),
            default_mode: SynthesisMode::Competitive,
            max_tokens_per_voice: 1024,
        }
    }
}

/// One way of answering.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Voice {
    /// Name; that of a built-in voice replaces it.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Sampling temperature in hundredths (90 is 0.9).
    #[schemars(range(min = 0, max = 200))]
    pub temperature_percent: i32,
    /// System prompt.
    #[schemars(length(min = 1, max = 16384))]
    pub prompt: String,
}

/// How the voices' answers become one.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, schemars::JsonSchema)]
pub enum SynthesisMode {
    /// The candidate with the best evidence wins.
    Competitive,
}

/// Who may call, and for how long.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Auth {
    /// Life of an access token, `60s` to `1d`.
    pub access_token_lifetime: Duration,
}

impl Default for Auth {
    fn default() -> Self {
        Self { access_token_lifetime: Duration::literal("15m") }
    }
}

/// What the replicas log.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Observability {
    /// The least severe level that is written; changes without a restart.
    pub log_level: LogLevel,
}

/// Severity of log lines.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// Who in the cluster may reach the pods, as their NetworkPolicy says. The operator's namespace may always reach port 9443;
/// what the pods may reach follows from the backends.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Network {
    /// Namespaces whose pods may call the API (port 8080): those of applications and of the ingress controller. All, if it
    /// is not given; none, if it is empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))
    )]
    pub allowed_namespaces: Option<Vec<String>>,
    /// Namespaces whose pods may read metrics and probes (port 9090). All, if it is not given; none, if it is empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))
    )]
    pub monitoring_namespaces: Option<Vec<String>>,
}

/// How new pods come in place of old ones: one more at a time, and none fewer.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Rollout {
    /// A rollout without progress for so long has failed; so has one whose ready replicas have not applied the
    /// policy by then. `10s` to `1d`.
    pub progress_deadline: Duration,
    /// Whether a rollout that failed is taken back to the last pods that ran well, until this resource asks for
    /// other ones.
    pub automatic_rollback: bool,
}

impl Default for Rollout {
    fn default() -> Self {
        Self { progress_deadline: Duration::literal("10m"), automatic_rollback: true }
    }
}

/// Holding the operator back.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Maintenance {
    /// The operator observes and reports, but writes nothing except `status`: no policy, credential, certificate or rollback
    /// reaches the pods.
    pub paused: bool,
    /// No replica runs, whatever `replicas` and `autoscaling` say; keys, policy and addresses stay.
    pub hibernate: bool,
}

/// What the operator saw.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct CodeCrucibleStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Accepted`: the resource is valid. `Available`: enough replicas serve. `Progressing`: a change is on its way.
    /// `PolicySynced`: every ready replica said that it runs the policy. `Ready`: accepted and available. `Reconciling` and
    /// `Stalled`: what pipelines wait for, and what they fail at.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Replicas that exist.
    pub replicas: i32,
    /// Replicas that are ready.
    pub ready_replicas: i32,
    /// The labels of its pods, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Where clients inside the cluster reach the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The image of the deployment's pod template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The policy: what running pods read without a restart, such as models, backends, voices, lifetimes of tokens and the
    /// log level. Which one was handed out, and who runs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyStatus>,
    /// How far the newest pods have come in place of old ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,
}

/// Which pods run, and to which the operator would go back. A revision names what a pod is made from; it is kept in
/// the ControllerRevision `NAME-template-REVISION`.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// How far it has come.
    pub phase: RolloutPhase,
    /// What the deployment asks for.
    pub revision: String,
    /// What all replicas last ran well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_good: Option<String>,
    /// The policy that they ran, kept in the ControllerRevision `NAME-policy-REVISION`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_good_policy: Option<String>,
}

/// How far a rollout has come.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, schemars::JsonSchema)]
pub enum RolloutPhase {
    /// New pods come in place of old ones.
    Progressing,
    /// All replicas are as asked for, and run the policy.
    Complete,
    /// It failed; the last good pods run.
    RolledBack,
    /// It failed, and there is nothing to go back to, or that is not wanted.
    Failed,
}

/// The policy that was handed out, and who said that it runs it.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// Its revision, a counter and a hash; it is kept in the ControllerRevision `NAME-policy-REVISION`.
    pub revision: String,
    /// SHA-256 of the policy's canonical form.
    pub hash: String,
    /// When it was handed out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_at: Option<Time>,
    /// Whether the annotation `codecrucible.dev/rollback-policy` holds the service at this revision.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pinned: bool,
    /// Ready replicas that said that they run this revision.
    #[serde(default)]
    pub applied_replicas: i32,
    /// What each ready replica said that it runs, by its pod; at most a hundred.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<ReplicaPolicy>,
    /// Replicas that refuse their newest configuration and go on with the one before; at most ten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<Rejection>,
}

/// What a replica runs, as it said.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaPolicy {
    /// The replica's pod.
    pub pod: String,
    /// The revision of the policy.
    pub revision: String,
}

/// What a replica refuses.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rejection {
    /// The replica's pod.
    pub pod: String,
    /// What is wrong, in the replica's words.
    pub reason: String,
}

fn default_replicas() -> i32 {
    3
}

fn default_resources() -> ResourceRequirements {
    let quantities = |cpu: &str, memory: &str| {
        Some(
            [("cpu", cpu), ("memory", memory)]
                .map(|(name, value)| (name.to_owned(), Quantity(value.to_owned())))
                .into(),
        )
    };
    ResourceRequirements { requests: quantities("500m", "1Gi"), limits: quantities("1", "2Gi"), claims: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::CustomResourceExt;
    use serde_json::{Value, json};

    fn problems(name: &str, spec: Value) -> String {
        let resource = CodeCrucible::new(name, serde_json::from_value(spec).unwrap());
        resource.validate_cel().map_or_else(|errors| errors.to_string(), |()| String::new())
    }

    fn spec() -> Value {
        json!({"image": {"repository": "codecrucible.dev/workload", "tag": "1"}, "backends": ["local"]})
    }

    #[test]
    fn the_smallest_resource_is_valid() {
        assert_eq!(problems("demo", spec()), "");
    }

    #[test]
    fn an_image_has_either_a_tag_or_a_digest() {
        let mut both = spec();
        both["image"]["digest"] = json!(format!("sha256:{}", "0".repeat(64)));
        assert!(problems("demo", both).contains("exactly one of tag and digest"));
        let mut neither = spec();
        neither["image"].as_object_mut().unwrap().remove("tag");
        assert!(problems("demo", neither).contains("exactly one of tag and digest"));
    }

    #[test]
    fn a_backend_is_named_once() {
        let mut twice = spec();
        twice["backends"] = json!(["a", "b", "a"]);
        assert!(problems("demo", twice).contains("only once"));
    }

    #[test]
    fn a_default_voice_is_named_once() {
        let mut twice = spec();
        twice["synthesis"] = json!({"defaultVoices": ["developer", "developer"]});
        assert!(problems("demo", twice).contains("a voice may be named only once"));
    }

    #[test]
    fn autoscaling_has_room_and_a_measure() {
        let with = |autoscaling: Value| {
            let mut spec = spec();
            spec["autoscaling"] = autoscaling;
            problems("demo", spec)
        };
        assert_eq!(with(json!({})), "");
        assert!(with(json!({"minReplicas": 11})).contains("raise maxReplicas"));
        let nothing = json!({"targetCpuPercent": 0, "targetMemoryPercent": 0});
        assert!(with(nothing).contains("must be above 0"));
    }

    #[test]
    fn names_that_no_service_can_have_are_refused() {
        for name in ["1demo", "demo.x", &"x".repeat(41)] {
            assert!(problems(name, spec()).contains("metadata.name"), "{name}");
        }
    }

    #[test]
    fn the_schema_bounds_replicas_and_defaults_resources() {
        let crd = serde_json::to_value(CodeCrucible::crd()).unwrap();
        let spec =
            &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
        assert_eq!(spec["replicas"]["minimum"], 0.0);
        assert_eq!(spec["replicas"]["default"], 3);
        assert_eq!(spec["resources"]["default"]["limits"]["memory"], "2Gi");
        assert_eq!(spec["auth"]["default"]["accessTokenLifetime"], "15m");
    }
}
