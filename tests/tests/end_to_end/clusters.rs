//! The cluster itself: starts beside others, survives a crash, leaves nothing.

use codecrucible_tests::cluster::Cluster;
use std::path::Path;
use std::process::Command;

#[test]
fn a_cluster_comes_back_after_a_crash_and_leaves_nothing_behind() {
    let name = "codecrucible-crashed";
    let cluster = Cluster::up(name).unwrap();
    // A pod that never gets an image has a network all the same.
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: default},
        spec: {containers: [{name: c, image: 'none:1', imagePullPolicy: Never}]}}";
    cluster.apply(pod).unwrap();
    let networks = Path::new("/var/lib/codecrucible-cluster")
        .join(name)
        .join("containerd-run/io.containerd.grpc.v1.cri/netns");
    let has_network = || std::fs::read_dir(&networks).is_ok_and(|mut entries| entries.next().is_some());
    crate::support::eventually("the pod has a network", has_network);
    let status = cluster.status().unwrap();
    assert!(status.contains("Ready"), "{status}");
    // A crash: the most important process is gone, everything else is as it was.
    let etcd = status.lines().find_map(|line| line.strip_prefix("etcd")).unwrap().trim().to_owned();
    assert!(Command::new("kill").args(["-9", &etcd]).status().unwrap().success());
    crate::support::eventually("the crash is noticed", || Cluster::attach(name).is_err());
    assert!(Cluster::up(name).unwrap().status().unwrap().contains("Ready"));

    Cluster::down(name).unwrap();
    assert!(!Path::new("/var/lib/codecrucible-cluster").join(name).exists());
    assert!(!Path::new("/run/netns").join(format!("cc-{name}")).exists());
    assert!(!std::fs::read_to_string("/proc/self/mounts").unwrap().contains(name));
    let left = std::fs::read_dir("/proc").unwrap().flatten().any(|process| {
        let command = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains(&format!("codecrucible-cluster/{name}/"))
    });
    assert!(!left, "a process of the cluster is left");
    assert!(Cluster::attach(name).is_err());
}
