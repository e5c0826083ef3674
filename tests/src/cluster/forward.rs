//! Carries connections from a port on loopback to an address inside a network namespace.
//!
//! The listener lives outside and each outgoing socket is made inside: entering a namespace concerns only
//! the thread that does it, so each connection gets a thread of its own.

use crate::paths;
use anyhow::Context as _;
use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Connections carried at once; further ones are closed. Two files each stay well below the usual limit of 1024.
const MAX_CONNECTIONS: usize = 256;
/// Pause after a connection could not be taken, milliseconds.
const ACCEPT_PAUSE_MS: u64 = 20;

/// Carries connections until the process is ended.
pub fn run(listen: SocketAddr, namespace: &Path, target: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
    let open = Arc::new(AtomicUsize::new(0));
    for connection in listener.incoming() {
        // Files may be short for a moment; a forward that ends takes the whole cluster out of reach.
        let Ok(connection) = connection else {
            thread::sleep(Duration::from_millis(ACCEPT_PAUSE_MS));
            continue;
        };
        if open.fetch_add(1, Ordering::Relaxed) >= MAX_CONNECTIONS {
            open.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (namespace, carried) = (namespace.to_owned(), open.clone());
        let spawned = thread::Builder::new().spawn(move || {
            // Either side may go away at any time; the other one then learns it from its closed connection.
            let _ = carry(&connection, &namespace, target);
            carried.fetch_sub(1, Ordering::Relaxed);
        });
        if spawned.is_err() {
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

fn carry(outside: &TcpStream, namespace: &PathBuf, target: SocketAddr) -> anyhow::Result<()> {
    setns(File::open(namespace)?, CloneFlags::CLONE_NEWNET)?;
    let inside = TcpStream::connect(target)?;
    outside.set_nodelay(true)?;
    inside.set_nodelay(true)?;
    thread::scope(|scope| {
        thread::Builder::new().spawn_scoped(scope, || copy(outside, &inside))?;
        copy(&inside, outside);
        Ok(())
    })
}

fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}

/// A port on loopback that is free now.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// The program that runs a forward: the `cluster` of the same build, from itself or from a test; a benchmark
/// takes the one that `make prepare` built.
pub(super) fn program() -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe()?;
    let debug = paths::repository().join("target/debug");
    let mut folders = this.ancestors().skip(1).take(2).chain([debug.as_path()]);
    let found = folders.find_map(|folder| Some(folder.join("cluster")).filter(|program| program.is_file()));
    found.context("the program `cluster` is not built: run `cargo build -p codecrucible-tests`")
}
