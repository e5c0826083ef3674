//! The components' configuration files, and the manifests of the cluster's own services.

use super::Place;
use super::network::NODE_ADDRESS;
use std::fs;
use std::path::Path;

/// The image that holds a pod's namespaces open.
pub(super) const PAUSE_IMAGE: &str = "codecrucible.dev/pause:1";
/// Range of pods' addresses.
pub(super) const POD_RANGE: &str = "10.244.0.0/24";
/// Range of services' addresses.
pub(super) const SERVICE_RANGE: &str = "10.96.0.0/16";
/// Address of the cluster's name server.
const DNS_ADDRESS: &str = "10.96.0.10";

/// Who reaches the API server from inside the namespace.
const USERS: [&str; 9] = [
    "controller-manager",
    "scheduler",
    "kube-proxy",
    "kubelet",
    "coredns",
    "metrics-server",
    "cert-manager",
    "traefik",
    "monitoring",
];

/// Writes all files.
pub(super) fn write_all(place: &Place, forward_port: u16) -> anyhow::Result<()> {
    let inside = server_inside();
    for user in USERS {
        fs::write(place.file(&format!("{user}.kubeconfig")), kubeconfig(place, user, &inside))?;
    }
    let outside = format!("https://127.0.0.1:{forward_port}");
    fs::write(place.kubeconfig(), kubeconfig(place, "admin", &outside))?;
    fs::write(place.file("audit-policy.yaml"), AUDIT_POLICY)?;
    fs::write(place.file("containerd.toml"), containerd(place))?;
    fs::write(place.file("kubelet.yaml"), kubelet(place))?;
    fs::write(place.file("kube-proxy.yaml"), kube_proxy(place))?;
    fs::write(place.file("Corefile"), corefile(place))?;
    fs::create_dir_all(place.file("cni"))?;
    fs::write(place.file("cni/10-pods.conflist"), cni(place))?;
    Ok(())
}

/// The API server's address inside the namespace.
pub(super) fn server_inside() -> String {
    format!("https://{NODE_ADDRESS}:6443")
}

fn kubeconfig(place: &Place, user: &str, server: &str) -> String {
    let pki = place.file("pki");
    let pki = pki.display();
    format!(
        "apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: '{server}', certificate-authority: '{pki}/ca.crt'}}}}]
users: [{{name: u, user: {{client-certificate: '{pki}/{user}.crt', client-key: '{pki}/{user}.key'}}}}]
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
current-context: c
"
    )
}

/// Who wrote what, for tests that count writes, and all that one account asks for; bodies are left out, as they hold
/// secrets.
const AUDIT_POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, users: ['system:serviceaccount:codecrucible-system:codecrucible-operator-audited']}
- {level: Metadata, verbs: [create, update, patch, delete, deletecollection]}
- {level: None}
";

/// Pods' network namespaces, runc's state and containerd's folder for additions lie below the cluster's own
/// folder, so that `down` finds all of them there.
fn containerd(place: &Place) -> String {
    let file = |name: &str| place.file(name).display().to_string();
    format!(
        "version = 2
root = '{root}'
state = '{state}'
oom_score = 0
[grpc]
  address = '{socket}'
[plugins.'io.containerd.grpc.v1.cri']
  sandbox_image = '{PAUSE_IMAGE}'
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins.'io.containerd.grpc.v1.cri'.cni]
    bin_dir = '/usr/lib/cni'
    conf_dir = '{cni}'
  [plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.runc]
    runtime_type = 'io.containerd.runc.v2'
    [plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.runc.options]
      SystemdCgroup = false
      Root = '{runc}'
[plugins.'io.containerd.internal.v1.opt']
  path = '{opt}'
",
        root = file("containerd"),
        state = file("containerd-run"),
        socket = place.containerd_socket().display(),
        cni = file("cni"),
        runc = file("runc"),
        opt = file("opt"),
    )
}

/// Pods' logs lie below the cluster's own folder: a kubelet removes logs of pods that it does not know, and so
/// two that shared `/var/log/pods` would empty each other's.
fn kubelet(place: &Place) -> String {
    let pki = place.file("pki");
    let pki = pki.display();
    format!(
        "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {{anonymous: {{enabled: false}}, webhook: {{enabled: true}}, x509: {{clientCAFile: '{pki}/ca.crt'}}}}
authorization: {{mode: Webhook}}
tlsCertFile: '{pki}/kubelet.crt'
tlsPrivateKeyFile: '{pki}/kubelet.key'
containerRuntimeEndpoint: 'unix://{socket}'
cgroupDriver: cgroupfs
cgroupRoot: /{cgroup}
failCgroupV1: false
failSwapOn: false
clusterDNS: ['{DNS_ADDRESS}']
clusterDomain: cluster.local
resolvConf: ''
evictionHard: {{memory.available: 100Mi}}
imageGCHighThresholdPercent: 100
localStorageCapacityIsolation: false
nodeStatusUpdateFrequency: 4s
syncFrequency: 20s
maxPods: 100
podLogsDir: '{logs}'
",
        logs = place.file("pod-logs").display(),
        socket = place.containerd_socket().display(),
        cgroup = place.cgroup(),
    )
}

fn kube_proxy(place: &Place) -> String {
    format!(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {{kubeconfig: '{}'}}
mode: nftables
clusterCIDR: {POD_RANGE}
hostnameOverride: node
conntrack: {{maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}}
",
        place.file("kube-proxy.kubeconfig").display()
    )
}

fn corefile(place: &Place) -> String {
    format!(
        ".:53 {{
    errors
    ready
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {} c
        pods insecure
        ttl 5
    }}
    cache 5
}}
",
        place.file("coredns.kubeconfig").display()
    )
}

/// Pods hang on a routed link each, so that their traffic passes the node and can be filtered.
fn cni(place: &Place) -> String {
    let leases: &Path = &place.file("cni-leases");
    format!(
        "{{\"cniVersion\": \"0.4.0\", \"name\": \"pods\", \"plugins\": [
  {{\"type\": \"ptp\", \"ipMasq\": false,
    \"ipam\": {{\"type\": \"host-local\", \"dataDir\": \"{}\", \"ranges\": [[{{\"subnet\": \"{POD_RANGE}\"}}]],
      \"routes\": [{{\"dst\": \"0.0.0.0/0\"}}]}}}},
  {{\"type\": \"portmap\", \"capabilities\": {{\"portMappings\": true}}}}
]}}
",
        leases.display()
    )
}

/// The name server's service: it runs as a process of the node, not as a pod.
pub(super) fn cluster_dns() -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: kube-dns, namespace: kube-system}}
spec:
  clusterIP: {DNS_ADDRESS}
  ports:
  - {{name: dns, port: 53, protocol: UDP}}
  - {{name: dns-tcp, port: 53, protocol: TCP}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: kube-dns, namespace: kube-system, labels: {{kubernetes.io/service-name: kube-dns}}}}
addressType: IPv4
endpoints: [{{addresses: ['{NODE_ADDRESS}'], conditions: {{ready: true}}}}]
ports:
- {{name: dns, port: 53, protocol: UDP}}
- {{name: dns-tcp, port: 53, protocol: TCP}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: 'system:coredns'}}
rules:
- {{apiGroups: [''], resources: [services, namespaces, pods], verbs: [list, watch]}}
- {{apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: 'system:coredns'}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: 'system:coredns'}}
subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: 'system:coredns'}}]
"
    )
}
