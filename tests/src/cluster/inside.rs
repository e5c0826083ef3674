//! Talking to what listens inside a cluster's network namespace.

use anyhow::{Context as _, ensure};
use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// Longest wait for an answer, seconds.
const LIMIT_SECONDS: u64 = 10;

/// The body of an answer that tells of success; from inside a network namespace, if one is named.
pub(super) fn get(namespace: Option<&Path>, address: SocketAddr, path: &str) -> anyhow::Result<String> {
    within(namespace, || ask(address, path))
}

/// Does something inside a network namespace, if one is named. To enter it concerns only the thread that does it.
pub(super) fn within<T: Send>(
    namespace: Option<&Path>,
    what: impl FnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    let done = thread::scope(|scope| {
        let doing = thread::Builder::new().spawn_scoped(scope, || {
            if let Some(namespace) = namespace {
                setns(File::open(namespace)?, CloneFlags::CLONE_NEWNET)?;
            }
            what()
        });
        doing.map(thread::ScopedJoinHandle::join)
    });
    done?.ok().context("the thread inside has ended")?
}

fn ask(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let limit = Duration::from_secs(LIMIT_SECONDS);
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    // HTTP/1.0 ends with the connection, so there is nothing to parse but the head.
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer without a head")?;
    ensure!(head.split(' ').nth(1) == Some("200"), "{head}");
    Ok(body.to_owned())
}
