//! Where pods run, and what else is said of them.

use crate::audit::{audit_length, writes_since};
use crate::support::{CLUSTER, Namespace, eventually};
use codecrucible_tests::operator::SERVICE_ACCOUNT;
use serde_json::Value;

#[test]
fn what_a_resource_says_of_its_pods_reaches_them_and_is_written_once() {
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
    let begin = audit_length(&CLUSTER);
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

    let policy = || namespace.get("codecrucible/demo").unwrap()["status"]["policy"]["revision"].clone();
    let before = policy();
    let patch = "{\"spec\":{\"synthesis\":{\"maxTokensPerVoice\":99}}}";
    namespace.kubectl(&["patch", "codecrucible", "demo", "--type=merge", "-p", patch]).unwrap();
    eventually("the change is applied", || policy() != before);
    let writes = writes_since(&CLUSTER, begin, SERVICE_ACCOUNT, &namespace.name);
    for path in ["/deployments/demo", "/horizontalpodautoscalers/demo"] {
        let written: Vec<_> = writes.iter().filter(|write| write.contains(path)).collect();
        assert_eq!(written.len(), 1, "{written:?}");
    }
}
