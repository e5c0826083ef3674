//! `CodeCrucible`: one code-synthesis service.

mod auth;
mod autoscaling;
mod cache;
mod clients;
mod image;
mod maintenance;
mod network;
mod observability;
mod placement;
mod policy;
mod rate_limits;
mod redis;
mod remediation;
mod rollout;
mod routing;
mod status;
mod synthesis;
mod tls;
mod validation;

pub use auth::Auth;
pub use autoscaling::Autoscaling;
pub use cache::{Cache, CacheMatch, CacheRule, CachedRequests, CachedRoute, SharedBy, WarmUp};
pub use clients::Clients;
pub use image::{Image, PullPolicy};
pub use maintenance::Maintenance;
pub use network::{GatewayReference, Ingress, Network, Route};
pub use observability::{AccessLog, LogLevel, Observability, Traces};
pub use placement::{Placement, PodMetadata};
pub use policy::{Policy, PolicyMode};
pub use rate_limits::{
    LimitAlgorithm, LimitMatch, LimitMode, LimitSubject, LimitUnit, LimitedRoute, OnStoreFailure, RateLimit,
};
pub use redis::Redis;
pub use remediation::Remediation;
pub use rollout::{Canary, CanaryStep, Rollout};
pub use routing::{Affinity, Automatic, Routing, Urgency, UrgencyMatch, UrgencyRule};
pub use status::{
    AccessInForce, CanaryStatus, CertificateStatus, ClientsStatus, CodeCrucibleStatus, PolicyStatus,
    Rejection, ReplicaPolicy, RolloutPhase, RolloutStatus, ShadowStatus,
};
pub use synthesis::{Synthesis, SynthesisMode, Voice};
pub use tls::{IssuerReference, Profile, Tls, TlsMode};
pub use validation::{SecretMode, SecretPattern, SecretRedaction, Validation};

use crate::SecretKeyReference;
use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
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
    printcolumn(name = "Rollout", type_ = "string", json_path = ".status.rollout.phase", priority = 1),
    printcolumn(name = "Image", type_ = "string", json_path = ".status.image", priority = 1),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason", priority = 1),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')").message("metadata.name must be a DNS label of at most 40 characters that begins with a letter")
)]
#[cfg_attr(test, kube(cel))]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.profile == 'Development' || !has(self.network.allowedOrigins) || !('*' in self.network.allowedOrigins)").message("network.allowedOrigins may have * only for profile Development; name the origins"))]
#[x_kube(validation = Rule::new("self.profile == 'Development' || self.tls.mode != 'Disabled'").message("tls.mode Disabled is only for profile Development; set that profile, or another mode"))]
pub struct CodeCrucibleSpec {
    /// `Production` and `Staging` refuse what is not safe; `Development` lets `tls.mode` be `Disabled`.
    #[serde(default)]
    pub profile: Profile,
    /// The workload's image.
    pub image: Image,
    /// How many replicas serve. Does not count while `autoscaling` is set or the service hibernates.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 0, max = 100))]
    pub replicas: i32,
    /// An autoscaler decides how many replicas serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.minReplicas <= self.maxReplicas").message("minReplicas must not be more than maxReplicas; raise maxReplicas, or lower minReplicas (3 if it is left out)"))]
    #[x_kube(validation = Rule::new("self.targetCpuPercent > 0 || self.targetMemoryPercent > 0 || has(self.targetRequestsInFlight)").message("one of targetCpuPercent and targetMemoryPercent must be above 0, or targetRequestsInFlight given; or leave autoscaling out"))]
    pub autoscaling: Option<Autoscaling>,
    /// Compute resources of one replica. What is given replaces the default as a whole; with `autoscaling`, `requests` must
    /// hold what is measured.
    #[serde(default = "default_resources")]
    pub resources: ResourceRequirements,
    /// Seconds that a pod which is to end has for it, 20 of which are not the answers': in the first 10 load balancers turn away from it, in
    /// the last 10 clients are told whose answers are still under way. It ends as soon as there are none.
    #[serde(default = "default_termination_grace_period_seconds")]
    #[schemars(range(min = 30, max = 3600))]
    pub termination_grace_period_seconds: i32,
    /// On which nodes the pods run.
    #[serde(default)]
    pub placement: Placement,
    /// Labels and annotations that the pods have beside the operator's own.
    #[serde(default)]
    #[x_kube(validation = Rule::new("!has(self.labels) || self.labels.all(key, key != 'pod-template-hash' && !key.matches('^(app[.]kubernetes[.]io|([a-z0-9-]+[.])*codecrucible[.]dev)/'))").message("podMetadata.labels must not have keys of the operator: pod-template-hash, or with the prefix app.kubernetes.io/ or codecrucible.dev/"))]
    #[x_kube(validation = Rule::new("!has(self.annotations) || self.annotations.all(key, !key.matches('^([a-z0-9-]+[.])*codecrucible[.]dev/'))").message("podMetadata.annotations must not have keys of the operator, with the prefix codecrucible.dev/"))]
    pub pod_metadata: PodMetadata,
    /// Names of `ModelBackend`s in this namespace. Several may serve one model, of which one answers a request: by their `priority` and
    /// `weight`, by what they have to do, and by which of them works. A synthesis that names no model goes to the first model of the
    /// first backend.
    #[schemars(
        length(min = 1, max = 64),
        inner(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"))
    )]
    #[x_kube(validation = Rule::new("self.all(name, self.exists_one(other, other == name))").message("a backend may be named only once; remove the second one"))]
    pub backends: Vec<String>,
    /// What becomes of requests whose backend fails.
    #[serde(default)]
    pub routing: Routing,
    /// How much clients may ask for. All that apply to a request must admit it, or it counts for none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.all(limit, self.exists_one(other, other.name == limit.name))").message("two limits must not have one name; rename the second one"))]
    pub rate_limits: Vec<RateLimit>,
    /// Where replicas count together. Without it each counts by itself, and limits are divided among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("!self.cluster || !self.url.matches('^rediss?://[^/]+/[0-9]+$')").message("redis.url must not name a database for a cluster, which has none"))]
    pub redis: Option<Redis>,
    /// What is looked at in requests and answers before they go on.
    #[serde(default)]
    pub validation: Validation,
    /// Answers that are given again to the same request, from the memory of the replica that it reaches; none without it. A request is the same if all
    /// its fields are written alike, in whichever order; of two at once, one is asked and the other waits for its answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.rules.all(rule, self.rules.exists_one(other, other.name == rule.name))").message("two rules of the cache must not have one name; rename the second one"))]
    pub cache: Option<Cache>,
    /// How several voices answer together.
    #[serde(default)]
    #[x_kube(validation = Rule::new("!has(self.defaultVoices) || self.defaultVoices.all(name, self.defaultVoices.exists_one(other, other == name))").message("a voice may be named only once in defaultVoices; remove the second one"))]
    pub synthesis: Synthesis,
    /// Who may call, and for how long.
    #[serde(default)]
    pub auth: Auth,
    /// The `AccessPolicy`s of this namespace that say who may do what, by their labels; an empty selector is all of them.
    /// Without a selector, whoever has a token may do everything. One that matches nothing is refused, since it would let
    /// nobody do anything, and what was in force stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_selector: Option<LabelSelector>,
    /// What becomes of a policy that is new.
    #[serde(default)]
    pub policy: Policy,
    /// Which applications may have a client of their own. Where `network.allowedNamespaces` is given, it must name their
    /// namespaces too, or their pods do not reach the service.
    #[serde(default)]
    pub clients: Clients,
    /// What the replicas log.
    #[serde(default)]
    pub observability: Observability,
    /// How new pods come in place of old ones.
    #[serde(default)]
    pub rollout: Rollout,
    /// What becomes of a replica that goes wrong by itself.
    #[serde(default)]
    pub remediation: Remediation,
    /// How connections of clients are encrypted.
    #[serde(default)]
    #[x_kube(validation = Rule::new("(self.mode == 'Secret') == has(self.secretName)").message("secretName is required for mode Secret and not allowed for other modes"))]
    #[x_kube(validation = Rule::new("(self.mode == 'CertManager') == has(self.issuerRef)").message("issuerRef is required for mode CertManager and not allowed for other modes"))]
    #[x_kube(validation = Rule::new("self.mode == 'CertManager' || !has(self.dnsNames)").message("dnsNames is only for mode CertManager; leave it out"))]
    pub tls: Tls,
    /// Who in the cluster may reach the pods, and how the service is reached from outside.
    #[serde(default)]
    #[x_kube(validation = Rule::new("!has(self.ingress) || !has(self.ingress.annotations) || self.ingress.annotations.all(key, !key.matches('^([a-z0-9-]+[.])*codecrucible[.]dev/'))").message("network.ingress.annotations must not have keys of the operator, with the prefix codecrucible.dev/"))]
    #[x_kube(validation = Rule::new("!has(self.serviceAnnotations) || self.serviceAnnotations.all(key, !key.matches('^([a-z0-9-]+[.])*codecrucible[.]dev/'))").message("network.serviceAnnotations must not have keys of the operator, with the prefix codecrucible.dev/"))]
    #[x_kube(validation = Rule::new("!has(self.trustedProxyHops) || self.trustedProxyHops == 0 || has(self.allowedNamespaces)").message("network.trustedProxyHops needs network.allowedNamespaces, with the namespaces of the proxies: whoever else reaches the pods could pretend to be anywhere"))]
    pub network: Network,
    /// Holding the operator back, or putting the service to sleep.
    #[serde(default)]
    pub maintenance: Maintenance,
}

impl CodeCrucibleSpec {
    /// Each Redis, by where it is named.
    pub fn stores(&self) -> impl Iterator<Item = (&'static str, &Redis)> {
        let cached = self.cache.as_ref().and_then(|cache| cache.redis.as_ref());
        let limits = self.redis.iter().map(|redis| ("spec.redis", redis));
        limits.chain(cached.map(|redis| ("spec.cache.redis", redis)))
    }

    /// Where the password of each Redis is that needs one, by where that is named.
    pub fn store_passwords(&self) -> impl Iterator<Item = (&'static str, &SecretKeyReference)> {
        self.stores().filter_map(|(at, redis)| Some((at, redis.password_secret_ref.as_ref()?)))
    }
}

fn default_replicas() -> i32 {
    3
}

fn default_termination_grace_period_seconds() -> i32 {
    120
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
    fn only_development_goes_without_encryption() {
        let with = |profile: &str, tls: Value| {
            let mut spec = spec();
            (spec["profile"], spec["tls"]) = (profile.into(), tls);
            problems("demo", spec)
        };
        assert_eq!(with("Development", json!({"mode": "Disabled"})), "");
        assert!(with("Production", json!({"mode": "Disabled"})).contains("only for profile Development"));
        assert_eq!(with("Production", json!({"mode": "Secret", "secretName": "mine"})), "");
        assert!(with("Production", json!({"mode": "Secret"})).contains("secretName is required"));
        assert!(with("Production", json!({"secretName": "mine"})).contains("not allowed for other modes"));
        let issuer = json!({"name": "authority"});
        assert_eq!(with("Production", json!({"mode": "CertManager", "issuerRef": issuer})), "");
        assert!(with("Production", json!({"mode": "CertManager"})).contains("issuerRef is required"));
        assert!(with("Production", json!({"dnsNames": ["a"]})).contains("dnsNames is only for"));
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
    fn limits_make_sense_by_themselves() {
        let with = |limits: Value| {
            let mut spec = spec();
            spec["rateLimits"] = limits;
            problems("demo", spec)
        };
        assert_eq!(with(json!([{"name": "a", "limit": 60, "burst": 10}])), "");
        assert!(
            with(json!([{"name": "a", "limit": 1}, {"name": "a", "limit": 2}])).contains("rename the second")
        );
        let fixed = json!([{"name": "a", "limit": 60, "burst": 10, "algorithm": "FixedWindow"}]);
        assert!(with(fixed).contains("burst is only for"));
        let logins = |per: &str, unit: &str| json!([{"name": "a", "limit": 60, "per": per, "unit": unit, "match": {"routes": ["Token"]}}]);
        assert_eq!(with(logins("Address", "Requests")), "");
        assert!(with(logins("Client", "Requests")).contains("per must be Address or Service"));
        assert!(with(logins("Address", "Tokens")).contains("unit must be Requests"));
        let mut proxied = spec();
        proxied["network"] = json!({"trustedProxyHops": 1});
        assert!(problems("demo", proxied).contains("needs network.allowedNamespaces"));
        let mut clustered = spec();
        clustered["redis"] = json!({"url": "redis://redis:6379/1", "cluster": true});
        assert!(problems("demo", clustered).contains("must not name a database"));
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
