//! `AccessPolicy`: who may do what at the services that select it.

use crate::duration::Duration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// Who may do what at the services that select it.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "codecrucible.dev",
    version = "v1alpha1",
    kind = "AccessPolicy",
    plural = "accesspolicies",
    namespaced,
    shortname = "ap",
    category = "codecrucible-all",
    doc = "Who may do what at the CodeCrucibles of this namespace whose `spec.policySelector` matches its labels. Whatever no AccessPolicy permits is denied there, and what one forbids is denied whatever others permit. `status` tells when every replica was seen to go by it.",
    status = "AccessPolicyStatus",
    derive = "PartialEq",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(name = "Enforcement", type_ = "string", json_path = ".spec.enforcement"),
    printcolumn(name = "Services", type_ = "integer", json_path = ".status.services"),
    printcolumn(name = "Applied", type_ = "integer", json_path = ".status.appliedServices"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason",
        priority = 1
    )
)]
#[cfg_attr(test, kube(cel))]
#[allow(clippy::duplicated_attributes, reason = "columns have a type each")]
#[serde(rename_all = "camelCase")]
pub struct AccessPolicySpec {
    /// `Enforce`: requests are decided by it. `Shadow`: requests that it would decide otherwise are counted and logged, and
    /// decided as if it were not there.
    #[serde(default)]
    pub enforcement: AccessEnforcement,
    /// What may be granted, by name. Roles are known to this policy alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub roles: Vec<AccessRole>,
    /// Who has which role, and when.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub bindings: Vec<AccessBinding>,
    /// Cedar policies, one each, for what roles cannot say, such as `forbid`. The schema, with all types and attributes:
    /// `kubectl crucible policy schema`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(min = 1, max = 8192)))]
    pub statements: Vec<String>,
}

/// What comes of an access policy.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
pub enum AccessEnforcement {
    /// Requests are decided by it.
    #[default]
    Enforce,
    /// Requests that it would decide otherwise are counted and logged, and let through or denied as if it were not there.
    Shadow,
}

/// A name for what may be granted together.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.permissions) || has(self.inherits)").message("a role needs permissions or inherits; give one of them, or remove the role"))]
pub struct AccessRole {
    /// Its name.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))]
    pub name: String,
    /// Roles of this policy all of whose permissions it has too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 63)))]
    pub inherits: Vec<String>,
    /// What it permits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32))]
    pub permissions: Vec<AccessPermission>,
}

/// Some things that may be done with some models.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessPermission {
    /// What may be done.
    #[schemars(length(min = 1, max = 3))]
    pub actions: Vec<AccessAction>,
    /// With which models, by the names that clients use; with all, if none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    pub models: Vec<String>,
}

/// What a client may do with a model.
#[derive(
    Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, schemars::JsonSchema,
)]
pub enum AccessAction {
    /// See it in the list of models.
    ListModels,
    /// Ask it for chats, in OpenAI's way or Anthropic's, completions, responses and embeddings.
    Complete,
    /// Have several voices of it answer together.
    Synthesize,
}

/// Who has a role, and when.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessBinding {
    /// A role of this policy.
    #[schemars(length(min = 1, max = 63))]
    pub role: String,
    /// Who has it.
    #[schemars(length(min = 1, max = 64))]
    pub subjects: Vec<AccessSubject>,
    /// When they have it: while all of these hold.
    #[serde(default)]
    pub conditions: AccessConditions,
}

/// Some clients.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(self.kind == 'Everyone') != has(self.name)").message("name is required for every kind but Everyone, and not allowed for that"))]
#[x_kube(validation = Rule::new("!has(self.__namespace__) || self.kind == 'SynthesisClient'").message("namespace is only allowed for kind SynthesisClient"))]
pub struct AccessSubject {
    /// What is named.
    pub kind: AccessSubjectKind,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"))]
    pub name: Option<String>,
    /// The namespace of the `SynthesisClient`; that of this policy, if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))]
    pub namespace: Option<String>,
}

/// What a subject names.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, schemars::JsonSchema)]
pub enum AccessSubjectKind {
    /// The client of one application.
    SynthesisClient,
    /// All clients of a namespace, and the one that the operator makes for each service of it.
    Namespace,
    /// The client that the operator makes for the `CodeCrucible` of this name.
    CodeCrucible,
    /// Whoever has a token.
    Everyone,
}

/// What must hold, all of it.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct AccessConditions {
    /// The other end of the connection has an address in one of these ranges, such as `10.1.0.0/16` or `fd00::/8`. Behind a
    /// proxy or a load balancer that is its address, not the client's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        inner(length(min = 2, max = 43), regex(pattern = r"^[0-9a-fA-F:.]+(/[0-9]{1,3})?$"))
    )]
    pub addresses: Vec<String>,
    /// The access token was issued no longer ago. A client must then ask for a new one earlier than its token says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_token_age: Option<Duration>,
    /// It is between these times of the day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hours: Option<AccessHours>,
}

/// A part of each day, in UTC.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessHours {
    /// Its first minute, such as `08:00`.
    #[schemars(length(max = 5), regex(pattern = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub from: String,
    /// The minute after its last one; on the next day, if it is not later than `from`.
    #[schemars(length(max = 5), regex(pattern = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub to: String,
}

/// What the operator saw.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, schemars::JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct AccessPolicyStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Accepted`: it is valid. `Ready`: every service that selects it runs it in all of its ready replicas, as they said.
    /// `Reconciling` and `Stalled`: what pipelines wait for, and what they fail at.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Services that select it.
    pub services: i32,
    /// Services of which every ready replica said that it runs it.
    pub applied_services: i32,
    /// Names of the other ones; at most ten.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pending_services: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn problems(spec: Value) -> String {
        let policy = AccessPolicy::new("p", serde_json::from_value(spec).unwrap());
        policy.validate_cel().map_or_else(|errors| errors.to_string(), |()| String::new())
    }

    fn bound_to(subject: &Value) -> Value {
        json!({"roles": [{"name": "user", "permissions": [{"actions": ["Complete"]}]}],
            "bindings": [{"role": "user", "subjects": [subject]}]})
    }

    #[test]
    fn each_kind_of_subject_is_named_in_its_way() {
        for subject in [
            json!({"kind": "Everyone"}),
            json!({"kind": "Namespace", "name": "apps"}),
            json!({"kind": "CodeCrucible", "name": "demo"}),
            json!({"kind": "SynthesisClient", "name": "shop", "namespace": "apps"}),
        ] {
            assert_eq!(problems(bound_to(&subject)), "", "{subject}");
        }
        assert!(problems(bound_to(&json!({"kind": "Namespace"}))).contains("name is required"));
        assert!(
            problems(bound_to(&json!({"kind": "Everyone", "name": "x"}))).contains("not allowed for that")
        );
        let far = json!({"kind": "CodeCrucible", "name": "x", "namespace": "y"});
        assert!(problems(bound_to(&far)).contains("only allowed for kind SynthesisClient"));
    }

    #[test]
    fn a_role_says_something() {
        assert!(problems(json!({"roles": [{"name": "empty"}]})).contains("needs permissions or inherits"));
    }
}
