//! The disk's thread: takes all that waits and commits it as one (group commit).

use super::log::RaftLog;
use super::saver::{Order, Saver};
use super::{DiskError, OnPersisted, OnSaved, Reports, Space};
use bytes::Bytes;
use quorate_protocol::raft::{LogEntry, Payload, SnapshotMeta};
use quorate_raft::Persist;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Writes that may wait. Raft has fewer under way, so that handing one over does not block in practice.
const QUEUE: usize = 256;

/// Entries that go into one commit, at most: more would only make the first of them wait.
const MAX_BATCH_ENTRIES: usize = 16 * 1024;

/// Bytes of commands after which a commit takes no more writes: it is put together in memory, and a segment should hold several.
const MAX_BATCH_BYTES: usize = 2 * 1024 * 1024;

/// How often the free space is looked at, and after how many bytes of entries: a reserve holds more than is written in between.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
const LOOK_BYTES: u64 = 4 * 1024 * 1024;

/// Where batches go.
pub(super) trait Storage: Send + 'static {
    /// Makes the whole batch durable, in order, or nothing of it. After an error it is not called again.
    fn commit(&mut self, batch: &[Persist]) -> Result<(), DiskError>;

    /// What space there is.
    fn look(&mut self) -> Result<Space, DiskError>;
}

/// Keeps nothing.
struct Memory;

impl Storage for Memory {
    fn commit(&mut self, _: &[Persist]) -> Result<(), DiskError> {
        Ok(())
    }

    fn look(&mut self) -> Result<Space, DiskError> {
        Ok(Space { free: u64::MAX, low: false })
    }
}

/// Where snapshots go.
enum Snapshots {
    /// Into files.
    Files(Saver),
    /// Nowhere; they count as kept.
    Nowhere(OnSaved),
}

/// The way to the disk.
pub struct Disk {
    queue: SyncSender<Persist>,
    thread: JoinHandle<()>,
    snapshots: Snapshots,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    commits: AtomicU64,
    writes: AtomicU64,
    entries: AtomicU64,
    free: AtomicU64,
    low: AtomicBool,
}

impl Disk {
    /// A disk that keeps nothing and leaves nothing behind, for `-dev`. It acknowledges in the same way, from its own thread.
    pub fn memory(on_persisted: OnPersisted, on_saved: OnSaved) -> Disk {
        let counts = Arc::new(Counts::default());
        let (queue, waiting) = sync_channel(QUEUE);
        let work = {
            let counts = counts.clone();
            move || run(Memory, &waiting, &counts, &on_persisted, &|_| ())
        };
        Disk { queue, thread: std::thread::spawn(work), snapshots: Snapshots::Nowhere(on_saved), counts }
    }

    pub(super) fn start(log: RaftLog, reports: Reports) -> Result<Disk, DiskError> {
        let Reports { persisted, snapshot_saved, failed } = reports;
        let saver = Saver::start(log.shelf(), snapshot_saved, failed.clone())?;
        Disk::start_with(log, Snapshots::Files(saver), persisted, move |error| failed(error))
    }

    fn start_with(
        storage: impl Storage,
        snapshots: Snapshots,
        on_persisted: OnPersisted,
        on_failure: impl Fn(&DiskError) + Send + 'static,
    ) -> Result<Disk, DiskError> {
        let counts = Arc::new(Counts::default());
        let (queue, waiting) = sync_channel(QUEUE);
        let work = {
            let counts = counts.clone();
            move || run(storage, &waiting, &counts, &on_persisted, &on_failure)
        };
        let thread = std::thread::Builder::new().name("disk".into()).spawn(work);
        let thread = thread.map_err(DiskError::system("start the thread for", "the disk"))?;
        Ok(Disk { queue, thread, snapshots, counts })
    }

    /// Hands over a write. Where the disk is so slow that the queue is full, this blocks: the disk is waited for.
    ///
    /// Writes are acknowledged in order, by number. After a failure nothing is acknowledged any more.
    pub fn persist(&self, persist: Persist) {
        // The thread is gone only after it has reported a failure, which ends the process.
        let _ = self.queue.send(persist);
    }

    /// Hands over a snapshot of this server's own state. Its parts are drawn one at a time on another thread, which writes one snapshot at a
    /// time; of those handed over meanwhile only the newest is written and reported.
    pub fn save_snapshot(&self, meta: SnapshotMeta, chunks: impl Iterator<Item = Bytes> + Send + 'static) {
        match &self.snapshots {
            Snapshots::Files(saver) => saver.save(Order { meta, chunks: Box::new(chunks) }),
            Snapshots::Nowhere(on_saved) => on_saved(meta.index),
        }
    }

    /// What space the file system has left, as of a moment ago. While it is low, only what makes room should be proposed.
    pub fn space(&self) -> Space {
        Space { free: self.counts.free.load(Ordering::Relaxed), low: self.counts.low.load(Ordering::Relaxed) }
    }

    /// What was done so far: commits, and the writes and entries in them.
    pub fn counters(&self) -> BTreeMap<&'static str, u64> {
        let Counts { commits, writes, entries, .. } = &*self.counts;
        [("disk_commits", commits), ("disk_writes", writes), ("disk_entries", entries)]
            .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
            .into()
    }

    /// Waits until everything handed over is durable and acknowledged, then ends the threads; a snapshot that is being written is given up.
    /// Blocks.
    pub fn close(self) {
        drop(self.queue);
        // A panic there was printed there.
        let _ = self.thread.join();
        if let Snapshots::Files(saver) = self.snapshots {
            saver.close();
        }
    }
}

fn run(
    mut storage: impl Storage,
    waiting: &Receiver<Persist>,
    counts: &Counts,
    on_persisted: &dyn Fn(u64),
    on_failure: &dyn Fn(&DiskError),
) {
    look(&mut storage, counts);
    let mut looked = Instant::now();
    let mut written = 0;
    loop {
        match waiting.recv_timeout(LOOK_INTERVAL) {
            Ok(first) => {
                let batch = gather(first, waiting);
                if let Err(error) = storage.commit(&batch) {
                    // Whoever hands over more from here on finds nobody, and nothing is acknowledged.
                    return on_failure(&error);
                }
                counts.commits.fetch_add(1, Ordering::Relaxed);
                counts.writes.fetch_add(batch.len() as u64, Ordering::Relaxed);
                let entries = batch.iter().map(|persist| persist.entries.len() as u64).sum();
                counts.entries.fetch_add(entries, Ordering::Relaxed);
                written += batch.iter().map(length).sum::<usize>() as u64;
                batch.last().into_iter().for_each(|last| on_persisted(last.number));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if looked.elapsed() >= LOOK_INTERVAL || written >= LOOK_BYTES {
            (looked, written) = (Instant::now(), 0);
            look(&mut storage, counts);
        }
    }
}

/// The first, and what waits behind it and may go into the same commit.
fn gather(first: Persist, waiting: &Receiver<Persist>) -> Vec<Persist> {
    let (mut entries, mut bytes) = (0, 0);
    let mut batch = Vec::new();
    let mut next = Some(first);
    while let Some(persist) = next {
        entries += persist.entries.len();
        bytes += length(&persist);
        batch.push(persist);
        next = if entries < MAX_BATCH_ENTRIES && bytes < MAX_BATCH_BYTES { waiting.try_recv().ok() } else { None };
    }
    batch
}

/// Bytes of the commands in a write.
fn length(persist: &Persist) -> usize {
    let length = |entry: &LogEntry| match &entry.payload {
        Payload::Command(bytes) => bytes.len(),
        Payload::Empty | Payload::Configuration(_) => 0,
    };
    persist.entries.iter().map(length).sum()
}

fn look(storage: &mut impl Storage, counts: &Counts) {
    match storage.look() {
        Ok(Space { free, low }) => {
            counts.free.store(free, Ordering::Relaxed);
            counts.low.store(low, Ordering::Relaxed);
        }
        Err(error) => tracing::warn!(%error, "what space there is remains unknown"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_protocol::raft::HardState;
    use quorate_protocol::{LogIndex, Term};
    use std::sync::mpsc::{Sender, channel};
    use std::time::Duration;

    fn persist(number: u64) -> Persist {
        Persist {
            number,
            hard_state: HardState { term: Term(number), vote: None },
            entries: Vec::new(),
            snapshot: None,
            compact_to: None,
        }
    }

    /// Commits when it is told to, with the outcome it is told.
    struct Gate(Receiver<bool>);

    impl Storage for Gate {
        fn commit(&mut self, _: &[Persist]) -> Result<(), DiskError> {
            let fails = std::io::Error::other("the test says so");
            if self.0.recv().unwrap() { Ok(()) } else { Err(DiskError::system("write", "x")(fails)) }
        }

        fn look(&mut self) -> Result<Space, DiskError> {
            Ok(Space { free: 1, low: true })
        }
    }

    fn gated() -> (Disk, Sender<bool>, Receiver<u64>, Receiver<String>) {
        let (gate, gated) = channel();
        let (persisted, acknowledged) = channel();
        let (failure, failed) = channel();
        let on_persisted = Box::new(move |number| persisted.send(number).unwrap());
        let on_failure = move |error: &DiskError| failure.send(error.to_string()).unwrap();
        let nowhere = Snapshots::Nowhere(Box::new(|_| ()));
        (Disk::start_with(Gate(gated), nowhere, on_persisted, on_failure).unwrap(), gate, acknowledged, failed)
    }

    #[test]
    fn what_waits_meanwhile_goes_into_one_commit() {
        let (disk, gate, acknowledged, _failed) = gated();
        (1..=100).for_each(|number| disk.persist(persist(number)));
        gate.send(true).unwrap();
        let first = acknowledged.recv_timeout(Duration::from_secs(10)).unwrap();
        gate.send(true).unwrap();
        if first < 100 {
            assert_eq!(acknowledged.recv_timeout(Duration::from_secs(10)), Ok(100));
        }
        let counters = disk.counters();
        assert!(counters["disk_commits"] <= 2, "{counters:?}");
        assert_eq!(counters["disk_writes"], 100);
        disk.close();
    }

    #[test]
    fn nothing_is_acknowledged_after_a_failure() {
        let (disk, gate, acknowledged, failed) = gated();
        disk.persist(persist(1));
        gate.send(true).unwrap();
        assert_eq!(acknowledged.recv_timeout(Duration::from_secs(10)), Ok(1));
        disk.persist(persist(2));
        gate.send(false).unwrap();
        assert!(failed.recv_timeout(Duration::from_secs(10)).unwrap().contains("the test says so"));
        disk.persist(persist(3));
        disk.close();
        assert!(acknowledged.recv().is_err(), "the thread is gone, and said nothing more");
    }

    #[test]
    fn memory_acknowledges_writes_and_snapshots_and_closing_waits_for_it() {
        let (persisted, acknowledged) = channel();
        let (saved, kept) = channel();
        let on_persisted = Box::new(move |number| persisted.send(number).unwrap());
        let disk = Disk::memory(on_persisted, Box::new(move |index| saved.send(index).unwrap()));
        (1..=10).for_each(|number| disk.persist(persist(number)));
        disk.save_snapshot(SnapshotMeta { index: LogIndex(7), ..SnapshotMeta::default() }, std::iter::empty());
        disk.close();
        assert_eq!(acknowledged.iter().last(), Some(10));
        assert_eq!(kept.iter().collect::<Vec<_>>(), [LogIndex(7)]);
    }
}
