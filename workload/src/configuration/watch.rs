//! Tells when the configuration directory changed.
//!
//! The kubelet swaps a mounted object by renaming the link `..data`, so the folders are watched, not the
//! files. Notifications may be lost (an overflowing queue, a file system without them): the directory is
//! read again every [`POLL_SECONDS`] anyway.

use super::Folders;
use notify::{RecursiveMode, Watcher as _};
use std::time::Duration;
use tokio::sync::mpsc;

/// Longest time in which a change that was not notified stays unseen, seconds.
const POLL_SECONDS: u64 = 30;
/// Quiet time after a notification before the directory is read, milliseconds: a swap is several events.
const SETTLE_MS: u64 = 20;

/// Calls `on_change` at once, after each change, and every [`POLL_SECONDS`]. Ends only with an error.
pub async fn watch(folders: &Folders, mut on_change: impl FnMut()) -> anyhow::Result<()> {
    // One waiting notification is enough: it makes everything be read again.
    let (sender, mut changes) = mpsc::channel(1);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            let _ = sender.try_send(());
        }
    })?;
    for folder in folders.all().into_iter().filter(|folder| folder.is_dir()) {
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
    }
    // What changed between the first reading and the start of the watch was not notified.
    on_change();
    loop {
        match tokio::time::timeout(Duration::from_secs(POLL_SECONDS), changes.recv()).await {
            Ok(None) => anyhow::bail!("the file watcher ended"),
            Ok(Some(())) => settle(&mut changes).await,
            Err(_elapsed) => {}
        }
        on_change();
    }
}

async fn settle(changes: &mut mpsc::Receiver<()>) {
    while tokio::time::timeout(Duration::from_millis(SETTLE_MS), changes.recv())
        .await
        .is_ok_and(|more| more.is_some())
    {}
}
