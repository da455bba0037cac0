//! The disk's thread: takes all that waits and commits it as one (group commit).

use super::{DiskError, OnFailure, OnPersisted};
use quorate_raft::Persist;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Writes that may wait. Raft has fewer under way, so that handing one over does not block in practice.
const QUEUE: usize = 256;

/// Entries that go into one commit, at most: more would only make the first of them wait.
const MAX_BATCH_ENTRIES: usize = 16 * 1024;

/// Where batches go.
pub(super) trait Storage: Send + 'static {
    /// Makes the whole batch durable, in order, or nothing of it. After an error it is not called again.
    fn commit(&mut self, batch: &[Persist]) -> Result<(), DiskError>;
}

/// Keeps nothing.
struct Memory;

impl Storage for Memory {
    fn commit(&mut self, _: &[Persist]) -> Result<(), DiskError> {
        Ok(())
    }
}

/// The way to the disk.
#[derive(Debug)]
pub struct Disk {
    queue: SyncSender<Persist>,
    thread: JoinHandle<()>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    commits: AtomicU64,
    writes: AtomicU64,
    entries: AtomicU64,
}

impl Disk {
    /// A disk that keeps nothing and leaves nothing behind, for `-dev`. It acknowledges in the same way, from its own thread.
    pub fn memory(on_persisted: OnPersisted) -> Disk {
        let counts = Arc::new(Counts::default());
        let (queue, waiting) = sync_channel(QUEUE);
        let work = {
            let counts = counts.clone();
            move || run(Memory, &waiting, &counts, &on_persisted, &|_| ())
        };
        Disk { queue, thread: std::thread::spawn(work), counts }
    }

    pub(super) fn start(
        storage: impl Storage,
        on_persisted: OnPersisted,
        on_failure: OnFailure,
    ) -> Result<Disk, DiskError> {
        let counts = Arc::new(Counts::default());
        let (queue, waiting) = sync_channel(QUEUE);
        let work = {
            let counts = counts.clone();
            move || run(storage, &waiting, &counts, &on_persisted, &*on_failure)
        };
        let thread = std::thread::Builder::new().name("disk".into()).spawn(work);
        let thread = thread.map_err(DiskError::system("start the thread for", "the disk"))?;
        Ok(Disk { queue, thread, counts })
    }

    /// Hands over a write. Where the disk is so slow that the queue is full, this blocks: the disk is waited for.
    ///
    /// Writes are acknowledged in order, by number. After a failure nothing is acknowledged any more.
    pub fn persist(&self, persist: Persist) {
        // The thread is gone only after it has reported a failure, which ends the process.
        let _ = self.queue.send(persist);
    }

    /// What was done so far: commits, and the writes and entries in them.
    pub fn counters(&self) -> BTreeMap<&'static str, u64> {
        let Counts { commits, writes, entries } = &*self.counts;
        [("disk_commits", commits), ("disk_writes", writes), ("disk_entries", entries)]
            .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
            .into()
    }

    /// Waits until everything handed over is durable and acknowledged, then ends the thread. Blocks.
    pub fn close(self) {
        drop(self.queue);
        // A panic there was printed there.
        let _ = self.thread.join();
    }
}

fn run(
    mut storage: impl Storage,
    waiting: &Receiver<Persist>,
    counts: &Counts,
    on_persisted: &dyn Fn(u64),
    on_failure: &dyn Fn(&DiskError),
) {
    let mut batch = Vec::new();
    while let Ok(first) = waiting.recv() {
        let mut entries = first.entries.len();
        let mut number = first.number;
        batch.push(first);
        while entries < MAX_BATCH_ENTRIES
            && let Ok(next) = waiting.try_recv()
        {
            entries += next.entries.len();
            number = next.number;
            batch.push(next);
        }
        if let Err(error) = storage.commit(&batch) {
            // Whoever hands over more from here on finds nobody, and nothing is acknowledged.
            return on_failure(&error);
        }
        counts.commits.fetch_add(1, Ordering::Relaxed);
        counts.writes.fetch_add(batch.len() as u64, Ordering::Relaxed);
        counts.entries.fetch_add(entries as u64, Ordering::Relaxed);
        batch.clear();
        on_persisted(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_protocol::raft::HardState;
    use quorate_protocol::{NodeId, Term};
    use std::sync::mpsc::{Sender, channel};
    use std::time::Duration;

    fn persist(number: u64) -> Persist {
        Persist { number, hard_state: HardState { term: Term(number), vote: None }, entries: Vec::new() }
    }

    /// Commits when it is told to, with the outcome it is told.
    struct Gate(Receiver<bool>);

    impl Storage for Gate {
        fn commit(&mut self, _: &[Persist]) -> Result<(), DiskError> {
            let fails = std::io::Error::other("the test says so");
            if self.0.recv().unwrap() { Ok(()) } else { Err(DiskError::system("write", "x")(fails)) }
        }
    }

    fn gated() -> (Disk, Sender<bool>, Receiver<u64>, Receiver<String>) {
        let (gate, gated) = channel();
        let (persisted, acknowledged) = channel();
        let (failure, failed) = channel();
        let on_persisted = Box::new(move |number| persisted.send(number).unwrap());
        let on_failure = Box::new(move |error: &DiskError| failure.send(error.to_string()).unwrap());
        (Disk::start(Gate(gated), on_persisted, on_failure).unwrap(), gate, acknowledged, failed)
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
    fn memory_acknowledges_and_closing_waits_for_it() {
        let (persisted, acknowledged) = channel();
        let disk = Disk::memory(Box::new(move |number| persisted.send(number).unwrap()));
        (1..=10).for_each(|number| disk.persist(persist(number)));
        disk.close();
        assert_eq!(acknowledged.iter().last(), Some(10));
    }

    #[test]
    fn closing_writes_what_was_handed_over() {
        let dir = tempfile::tempdir().unwrap();
        let id = NodeId([1; 16]);
        let open = || {
            let failed = Box::new(|error: &DiskError| panic!("{error}"));
            crate::disk::open(dir.path(), id, Box::new(|_| ()), failed).unwrap()
        };
        let (_, disk) = open();
        (1..=50).for_each(|number| disk.persist(persist(number)));
        disk.close();
        assert_eq!(open().0.hard_state.term, Term(50));
    }
}
