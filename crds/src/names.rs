//! Names, labels and annotations, each in one place: two parts that must agree read the same constant.

/// The API group.
pub const GROUP: &str = "codecrucible.dev";
/// The field manager of everything that the operator applies.
pub const FIELD_MANAGER: &str = "codecrucible-operator";

/// Who has set a deployment's replicas between the operator and an autoscaler.
pub const HANDOVER_FIELD_MANAGER: &str = "codecrucible-operator-handover";

/// Label: which tool manages the object. The operator's watches select on it.
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`LABEL_MANAGED_BY`].
pub const MANAGED_BY: &str = "codecrucible-operator";
/// Label: the application.
pub const LABEL_NAME: &str = "app.kubernetes.io/name";
/// Value of [`LABEL_NAME`].
pub const APPLICATION: &str = "codecrucible";
/// Label: the `CodeCrucible` that the object belongs to.
pub const LABEL_INSTANCE: &str = "app.kubernetes.io/instance";

/// Annotation: hash of what the operator last applied; differs when the desired object changed.
pub const ANNOTATION_APPLIED_HASH: &str = "codecrucible.dev/applied-hash";
/// Annotation on pods: touched so that the kubelet refreshes mounted objects at once.
pub const ANNOTATION_CONFIGURATION: &str = "codecrucible.dev/configuration";

/// Annotation on a `CodeCrucible`, set by people: the revision of a kept policy at which the service is held.
pub const ANNOTATION_ROLLBACK_POLICY: &str = "codecrucible.dev/rollback-policy";
/// Annotation on pods and their Deployment: which pod template they are made from.
pub const ANNOTATION_TEMPLATE: &str = "codecrucible.dev/template";
/// Annotation on a Deployment: since when it asks for that template.
pub const ANNOTATION_TEMPLATE_SINCE: &str = "codecrucible.dev/template-since";
/// Annotation on a Deployment: the pod template that failed, in whose place an earlier one is.
pub const ANNOTATION_ROLLED_BACK_FROM: &str = "codecrucible.dev/rolled-back-from";
/// Annotation on a Deployment: why it failed.
pub const ANNOTATION_ROLLED_BACK_BECAUSE: &str = "codecrucible.dev/rolled-back-because";
/// Annotation on the Deployment of pods that are tried out: the step, counted from 1.
pub const ANNOTATION_CANARY_STEP: &str = "codecrucible.dev/canary-step";
/// Annotation on the Deployment of pods that are tried out: since when it is at that step.
pub const ANNOTATION_CANARY_STEP_SINCE: &str = "codecrucible.dev/canary-step-since";
/// Label of pods that are tried out, and what their Deployment selects.
pub const LABEL_TRACK: &str = "codecrucible.dev/track";
/// Value of [`LABEL_TRACK`].
pub const CANARY: &str = "canary";
/// Annotation on a Deployment: when replicas were evicted that did not run what they were given; those of
/// the last hour count.
pub const ANNOTATION_EVICTED_AT: &str = "codecrucible.dev/evicted-at";
/// Annotation on what is kept of a service's past: its place in its series.
pub const ANNOTATION_NUMBER: &str = "codecrucible.dev/number";
/// Label of what is kept of a service's past: which series it is one of.
pub const LABEL_SERIES: &str = "codecrucible.dev/series";

/// Name of the Deployment, Service, ServiceAccount, NetworkPolicy, PodDisruptionBudget and HorizontalPodAutoscaler.
pub fn workload(resource: &str) -> String {
    resource.to_owned()
}

/// Name of the Deployment of pods that are tried out.
pub fn canary(resource: &str) -> String {
    format!("{resource}-canary")
}

/// Name of the ConfigMap with the policy bundle.
pub fn policy_config_map(resource: &str) -> String {
    format!("{resource}-policy")
}

/// Name of the Secret with the signing keys.
pub fn signing_keys_secret(resource: &str) -> String {
    format!("{resource}-signing-keys")
}

/// Name of the Secret with the client's credentials, which applications mount.
pub fn client_secret(resource: &str) -> String {
    format!("{resource}-client")
}

/// Name of the Secret with the clients of applications: their identifiers, and the hashes of their secrets.
pub fn clients_secret(resource: &str) -> String {
    format!("{resource}-clients")
}

/// Name of the Secret with the authority of a service, and with what the operator shows to replicas. No pod mounts it.
pub fn authority_secret(resource: &str) -> String {
    format!("{resource}-authority")
}

/// Name of the Secret with the certificate that replicas show to the operator.
pub fn certificate_secret(resource: &str) -> String {
    format!("{resource}-certificate")
}

/// The API group of cert-manager.
pub const CERT_MANAGER_GROUP: &str = "cert-manager.io";

/// The API group of the Gateway API.
pub const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";

/// Name of the ConfigMap with the authority of the certificate that clients are shown, for what forwards to the service.
pub fn public_authority(resource: &str) -> String {
    format!("{resource}-ca")
}

/// Name of the Secret with the certificate that cert-manager issues.
pub fn issued_certificate_secret(resource: &str) -> String {
    format!("{resource}-tls")
}

/// Name of the Secret with the credentials for remote backends.
pub fn backend_credentials_secret(resource: &str) -> String {
    format!("{resource}-backend-credentials")
}
