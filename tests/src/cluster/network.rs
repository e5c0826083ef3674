//! The network namespace that a cluster lives in.

use super::Place;
use anyhow::{Context as _, ensure};
use std::process::Command;

/// The node's address.
pub(super) const NODE_ADDRESS: &str = "10.250.0.1";
/// An address that nobody has. The default route leads there: addresses of services become routable, and
/// no packet can leave.
const NOWHERE: &str = "10.250.0.254";

/// Creates the namespace with a bridge that carries the node's address.
pub(super) fn create(place: &Place) -> anyhow::Result<()> {
    let namespace = place.network_namespace();
    run(Command::new("ip").args(["netns", "add", &namespace]))?;
    for arguments in [
        &["link", "set", "lo", "up"][..],
        &["link", "add", "br0", "type", "bridge"],
        &["address", "add", &format!("{NODE_ADDRESS}/24"), "dev", "br0"],
        &["link", "set", "br0", "up"],
        &["route", "add", "default", "via", NOWHERE],
    ] {
        run(Command::new("ip").args(["-n", &namespace]).args(arguments))?;
    }
    let forwarding = "echo 1 > /proc/sys/net/ipv4/ip_forward";
    run(inside(place, "sh").args(["-c", forwarding]))
}

/// A program that will run inside the namespace. Not with `ip netns exec`, which mounts another /sys and so
/// hides the control groups.
pub(super) fn inside(place: &Place, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut namespace = std::ffi::OsString::from("--net=");
    namespace.push(place.network_namespace_file());
    let mut command = Command::new("nsenter");
    command.arg(namespace).arg(program);
    command
}

/// Runs a command to its end.
pub(super) fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("{command:?} does not start"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
