//! Removes a cluster and all its traces, whatever state it is in.

use super::{Place, cert_manager, collector, components, gateway, in_flight, metrics, network, processes};
use anyhow::{Context as _, bail};
use nix::mount::{MntFlags, umount2};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Looks until containers' control groups are empty, 100 ms apart.
const CGROUP_TRIES: u32 = 50;
/// Looks for mounts before giving up: what is mounted meanwhile shows in the next one.
const UNMOUNT_ROUNDS: u32 = 5;

/// Kubelet first, so that nothing is started again; etcd last, so that everything can still write.
pub(super) fn remove(place: &Place) -> anyhow::Result<()> {
    processes::stop(place, "kubelet");
    end_containers(place);
    for name in [
        "kube-scheduler",
        "kube-controller-manager",
        "kube-proxy",
        "coredns",
        collector::COMPONENT,
        gateway::COMPONENT,
        cert_manager::COMPONENT,
        in_flight::COMPONENTS[0],
        in_flight::COMPONENTS[1],
        metrics::COMPONENT,
        "kube-apiserver",
        "containerd",
        "etcd",
        "forward",
    ] {
        processes::stop(place, name);
    }
    unmount_below(&place.state)?;
    remove_cgroups(place);
    remove_strays(place);
    if place.network_namespace_file().exists() {
        network::run(Command::new("ip").args(["netns", "delete", &place.network_namespace()]))?;
    }
    if place.state.exists() {
        fs::remove_dir_all(&place.state)
            .with_context(|| format!("cannot remove {}", place.state.display()))?;
    }
    Ok(())
}

/// Ends the processes in the kubelet's control groups, then the shims that held them.
fn end_containers(place: &Place) {
    for folder in components::cgroup_folders(place) {
        for pid in processes_below(&folder) {
            processes::kill_now(pid);
        }
    }
    for pid in shims(place) {
        processes::end(pid);
    }
}

fn processes_below(folder: &Path) -> Vec<u32> {
    let mut found: Vec<u32> = fs::read_to_string(folder.join("cgroup.procs"))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.parse().ok())
        .collect();
    for child in folders_in(folder) {
        found.extend(processes_below(&child));
    }
    found
}

fn folders_in(folder: &Path) -> Vec<PathBuf> {
    entries_of(folder).into_iter().filter(|path| path.is_dir()).collect()
}

/// The shims that were started with this cluster's containerd socket.
fn shims(place: &Place) -> Vec<u32> {
    let socket = place.containerd_socket();
    let is_ours = |pid: &u32| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).into_owned();
        let mut arguments = command.split('\0');
        arguments.next().is_some_and(|program| program.contains("containerd-shim"))
            && arguments.any(|argument| Path::new(argument) == socket)
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_ours).collect()
}

/// Looks again until nothing is mounted: what `remove_dir_all` meets below a volume that is still mounted,
/// such as the folder of model files, would be lost.
fn unmount_below(state: &Path) -> anyhow::Result<()> {
    for _ in 0..UNMOUNT_ROUNDS {
        let below = mounts_below(&fs::read_to_string("/proc/self/mounts")?, state);
        if below.is_empty() {
            return Ok(());
        }
        for target in below {
            umount2(&target, MntFlags::MNT_DETACH)
                .with_context(|| format!("cannot unmount {}", target.display()))?;
        }
    }
    bail!("something keeps mounting below {}", state.display())
}

/// What the container tools keep outside the cluster's folder, known by its pods' ids or by where it leads.
fn remove_strays(place: &Place) {
    let sandboxes = folders_in(&place.file("containerd-run/io.containerd.grpc.v1.cri/sandboxes"));
    let ids: Vec<_> = sandboxes.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    for lease in entries_of(Path::new("/var/lib/cni/results")) {
        let name = lease.file_name().unwrap_or_default().to_string_lossy();
        if ids.iter().any(|id| name.contains(&format!("-{id}-"))) {
            let _ = fs::remove_file(&lease);
        }
    }
    for link in entries_of(Path::new("/var/log/containers")) {
        if fs::read_link(&link).is_ok_and(|target| target.starts_with(&place.state)) {
            let _ = fs::remove_file(&link);
        }
    }
}

fn entries_of(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// Mount points below a folder, the latest mounted first.
fn mounts_below(mounts: &str, folder: &Path) -> Vec<PathBuf> {
    let targets = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(PathBuf::from);
    let mut below: Vec<_> = targets.filter(|target| target.starts_with(folder)).collect();
    below.reverse();
    below
}

fn remove_cgroups(place: &Place) {
    for folder in components::cgroup_folders(place) {
        // The kernel takes a moment to let go of a group after its last process ended.
        for _ in 0..CGROUP_TRIES {
            if remove_tree(&folder) {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Control groups can only be removed as empty folders, the deepest first.
fn remove_tree(folder: &Path) -> bool {
    for child in folders_in(folder) {
        remove_tree(&child);
    }
    fs::remove_dir(folder).is_ok() || !folder.exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_undone_from_the_latest_and_only_below_the_folder() {
        let mounts = "a /s/x ext4 rw 0 0\nb /s/x/y ext4 rw 0 0\nc /sx ext4 rw 0 0\nd / ext4 rw 0 0\n";
        assert_eq!(mounts_below(mounts, Path::new("/s")), [PathBuf::from("/s/x/y"), PathBuf::from("/s/x")]);
    }
}
