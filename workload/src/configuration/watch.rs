//! Tells when the configuration directory changed.
//!
//! The kubelet swaps a mounted object by renaming the link `..data`, so the folders are watched, not the
//! files. Notifications may be lost (an overflowing queue, a file system without them): every
//! [`POLL_SECONDS`] counts as a change.

use super::Folders;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Longest time in which a change that was not notified stays unseen, seconds.
const POLL_SECONDS: u64 = 30;
/// Quiet time after a notification before the directory is read, milliseconds: a swap is several events.
const SETTLE_MS: u64 = 20;
/// Longest wait for quiet, in quiet times.
const MAX_SETTLE_ROUNDS: usize = 50;

/// The changes of a directory.
pub struct Changes {
    notified: mpsc::Receiver<()>,
    _watcher: RecommendedWatcher,
}

impl Changes {
    /// Watches from now on; what changed before was not notified, so read after this.
    pub fn watch(folders: &Folders) -> anyhow::Result<Self> {
        // One waiting notification is enough: it makes everything be read again.
        let (sender, notified) = mpsc::channel(1);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !event.kind.is_access()) {
                let _ = sender.try_send(());
            }
        })?;
        for folder in folders.all().into_iter().filter(|folder| folder.is_dir()) {
            watcher.watch(folder, RecursiveMode::NonRecursive)?;
        }
        Ok(Self { notified, _watcher: watcher })
    }

    /// Waits for the next change. Fails only when nothing can be noticed any more.
    pub async fn next(&mut self) -> anyhow::Result<()> {
        match timeout(Duration::from_secs(POLL_SECONDS), self.notified.recv()).await {
            Ok(None) => anyhow::bail!("the file watcher ended"),
            Ok(Some(())) => self.settle().await,
            Err(_elapsed) => {}
        }
        Ok(())
    }

    async fn settle(&mut self) {
        let quiet = Duration::from_millis(SETTLE_MS);
        for _ in 0..MAX_SETTLE_ROUNDS {
            if timeout(quiet, self.notified.recv()).await.is_err() {
                return;
            }
        }
    }
}
