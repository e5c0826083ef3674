//! Answers on a disk of the replica, in files that are written in a round: the oldest go first. They outlive the process, not the pod.

use super::super::key::Key;
use super::Unanswered;
use super::stored::MAX_STORED_BYTES;
use bytes::Bytes;
use foyer::{
    BlockEngineConfig, Code, DeviceBuilder as _, Error, FsDeviceBuilder, HybridCache, HybridCacheBuilder,
    Load,
};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::timeout;

/// Least size of a file, which is what is forgotten at once, bytes.
const FILE_BYTES: usize = 16 * 1024 * 1024;
/// Most files: all of them are open.
const MAX_FILES: usize = 256;
/// What waits to be written, bytes. What is more than that is not kept.
const MAX_WAITING_BYTES: usize = 2 * FILE_BYTES;
/// How long a request waits for the disk, milliseconds.
const PATIENCE_MS: u64 = 100;

/// How long it may take until something is written, seconds.
const PROBE_SECONDS: u64 = 10;
/// Under which something is written to see whether that can be done: no answer has this key.
const PROBE: Key = [0; 32];

/// An answer's key, as the library wants it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct DiskKey(Key);

impl Code for DiskKey {
    fn encode(&self, writer: &mut impl Write) -> Result<(), Error> {
        writer.write_all(&self.0).map_err(Error::io_error)
    }

    fn decode(reader: &mut impl Read) -> Result<Self, Error> {
        let mut key = Key::default();
        reader.read_exact(&mut key).map_err(Error::io_error)?;
        Ok(Self(key))
    }

    fn estimated_size(&self) -> usize {
        self.0.len()
    }
}

pub(in super::super) struct Disk {
    kept: HybridCache<DiskKey, Bytes>,
    /// Whether it kept what it was given last: one that does not is not asked.
    works: AtomicBool,
}

impl Disk {
    /// Takes this much of a folder, bytes; what is there already of an earlier life is found again.
    pub(in super::super) async fn open(folder: &Path, bytes: usize) -> Result<Self, String> {
        // The library panics where there is none.
        std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        let device = FsDeviceBuilder::new(folder).with_capacity(bytes).build();
        let device = device.map_err(|error| error.to_string())?;
        let engine = BlockEngineConfig::new(device)
            .with_block_size(FILE_BYTES.max(bytes.div_ceil(MAX_FILES)))
            .with_buffer_pool_size(MAX_WAITING_BYTES / 2)
            .with_submit_queue_size_threshold(MAX_WAITING_BYTES);
        // Its own memory has nothing: answers are in ours.
        let cache = HybridCacheBuilder::new().memory(1).with_shards(1).storage().with_engine_config(engine);
        let kept = cache.build().await.map_err(|error| error.to_string())?;
        Ok(Self { kept, works: AtomicBool::new(true) })
    }

    pub(in super::super) async fn get(&self, key: &Key) -> Result<Option<Bytes>, Unanswered> {
        if self.works.load(Ordering::Relaxed) { self.read(key).await } else { Err(Unanswered) }
    }

    async fn read(&self, key: &Key) -> Result<Option<Bytes>, Unanswered> {
        let key = DiskKey(*key);
        match timeout(Duration::from_millis(PATIENCE_MS), self.kept.storage().load(&key)).await {
            Ok(Ok(Load::Entry { key: found, value, .. })) => Ok(Some(value).filter(|_| found == key)),
            Ok(Ok(Load::Piece { piece, .. })) => Ok(Some(piece.value().clone())),
            Ok(Ok(Load::Miss)) => Ok(None),
            Ok(Ok(Load::Throttled) | Err(_)) | Err(_) => Err(Unanswered),
        }
    }

    /// Waits until all that was put is there.
    pub(in super::super) async fn settle(&self) {
        self.kept.storage().wait().await;
    }

    /// Whether what is put there now can be read. The library says nothing of what it could not write.
    pub(in super::super) async fn works(&self) -> bool {
        let written = Bytes::from(fastrand::u64(..).to_be_bytes().to_vec());
        let is_there = async {
            self.put(PROBE, written.clone());
            self.settle().await;
            self.read(&PROBE).await == Ok(Some(written))
        };
        let works = timeout(Duration::from_secs(PROBE_SECONDS), is_there).await.unwrap_or(false);
        self.works.store(works, Ordering::Relaxed);
        works
    }

    /// Whether it is on its way to the disk.
    pub(in super::super) fn put(&self, key: Key, bytes: Bytes) -> bool {
        debug_assert!(bytes.len() <= MAX_STORED_BYTES);
        self.kept.storage_writer(DiskKey(key)).insert(bytes).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 4 * FILE_BYTES;

    async fn opened(folder: &Path) -> Disk {
        Disk::open(folder, ROOM).await.unwrap()
    }

    #[tokio::test]
    async fn what_was_kept_is_there_also_for_the_next_process() {
        let folder = tempfile::tempdir().unwrap();
        let disk = opened(folder.path()).await;
        assert_eq!(disk.get(&[1; 32]).await, Ok(None));
        assert!(disk.put([1; 32], Bytes::from("one")));
        assert_eq!(disk.get(&[1; 32]).await, Ok(Some(Bytes::from("one"))));
        disk.kept.close().await.unwrap();
        drop(disk);
        let disk = opened(folder.path()).await;
        assert_eq!(disk.get(&[1; 32]).await, Ok(Some(Bytes::from("one"))));
        assert_eq!(disk.get(&[2; 32]).await, Ok(None));
    }

    #[tokio::test]
    async fn what_is_written_last_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let disk = opened(folder.path()).await;
        for text in ["one", "two"] {
            assert!(disk.put([1; 32], Bytes::from(text)));
            disk.settle().await;
        }
        assert_eq!(disk.get(&[1; 32]).await, Ok(Some(Bytes::from("two"))));
    }

    #[tokio::test]
    async fn a_disk_that_takes_and_gives_works() {
        let folder = tempfile::tempdir().unwrap();
        let disk = opened(folder.path()).await;
        assert!(disk.works().await && disk.works().await);
    }

    #[tokio::test]
    async fn it_takes_no_more_room_than_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let disk = opened(folder.path()).await;
        let large = Bytes::from(vec![b'x'; MAX_STORED_BYTES]);
        for number in 0..40 {
            disk.put([number; 32], large.clone());
            disk.settle().await;
        }
        let files = std::fs::read_dir(folder.path()).unwrap();
        let taken: u64 = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
        assert!(taken <= ROOM as u64, "{taken}");
        assert_eq!(disk.get(&[39; 32]).await, Ok(Some(large)));
        assert_eq!(disk.get(&[0; 32]).await, Ok(None));
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_written_is_told() {
        assert!(Disk::open(Path::new("/proc/none"), ROOM).await.is_err());
    }
}
