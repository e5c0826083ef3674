//! Where pods run, and what else is said of them.

use crate::audit::{audit_length, writes_since};
use crate::support::{CLUSTER, Namespace, eventually};
use codecrucible_tests::operator::SERVICE_ACCOUNT;
use serde_json::Value;

#[test]
fn what_a_resource_says_of_its_pods_reaches_them_and_is_not_written_again() {
    let namespace = Namespace::new("placed");
    // With all that the API server drops, and would look like somebody had taken it away.
    let more = "
  placement:
    nodeSelector: {kubernetes.io/os: linux}
    tolerations: [{key: example.com/gpu, operator: Exists, effect: NoSchedule}]
    affinity:
      podAntiAffinity:
        preferredDuringSchedulingIgnoredDuringExecution:
        - weight: 1
          podAffinityTerm: {topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {}, matchExpressions: []}}
      nodeAffinity: {}
    topologySpreadConstraints:
    - {maxSkew: 1, topologyKey: topology.kubernetes.io/zone, whenUnsatisfiable: ScheduleAnyway}
  podMetadata: {labels: {example.com/team: a}, annotations: {example.com/note: b}}
  autoscaling: {minReplicas: 1, maxReplicas: 2, targetRequestsInFlight: 5, targetMemoryPercent: 0}";
    namespace.with_remote_backend().crucible("demo", "remote", more).unwrap();
    namespace.wait_until_ready("demo");
    let pods = namespace.kubectl(&["get", "pods", "-l", "example.com/team=a", "-o", "json"]).unwrap();
    let pods: Value = serde_json::from_str(&pods).unwrap();
    let pod = &pods["items"][0];
    assert_eq!(pod["metadata"]["annotations"]["example.com/note"], "b");
    assert_eq!(pod["spec"]["nodeSelector"]["kubernetes.io/os"], "linux");
    let spread = &pod["spec"]["topologySpreadConstraints"][0];
    assert_eq!(spread["labelSelector"]["matchLabels"]["app.kubernetes.io/instance"], "demo");
    let autoscaler = namespace.get("horizontalpodautoscaler/demo").unwrap();
    let in_flight = &autoscaler["spec"]["metrics"][1]["pods"];
    assert_eq!(in_flight["metric"]["name"], "codecrucible_requests_in_flight");

    namespace.wait_for("demo", "Reconciling", "False/Stable");
    let begin = audit_length(&CLUSTER);
    let policy = || namespace.get("codecrucible/demo").unwrap()["status"]["policy"]["revision"].clone();
    let before = policy();
    let patch = "{\"spec\":{\"synthesis\":{\"maxTokensPerVoice\":99}}}";
    namespace.kubectl(&["patch", "codecrucible", "demo", "--type=merge", "-p", patch]).unwrap();
    eventually("the change is applied", || policy() != before);
    let writes = writes_since(&CLUSTER, begin, SERVICE_ACCOUNT, &namespace.name);
    assert!(writes.iter().any(|write| write.contains("/configmaps/demo-policy")), "{writes:?}");
    let is_again = |write: &&String| {
        ["/deployments/demo", "/horizontalpodautoscalers/demo"].iter().any(|path| write.contains(path))
    };
    assert_eq!(writes.iter().filter(is_again).collect::<Vec<_>>(), Vec::<&String>::new());
}
