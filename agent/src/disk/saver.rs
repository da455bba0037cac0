//! The thread that writes this server's own snapshots, so that neither the engine nor the log waits for them.

use super::snapshot::{Origin, Shelf};
use super::{DiskError, OnFailure, OnSaved};
use bytes::Bytes;
use quorate_protocol::raft::SnapshotMeta;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// A snapshot to be written: the parts are drawn one at a time, on the snapshots' thread.
pub(super) struct Order {
    pub(super) meta: SnapshotMeta,
    pub(super) chunks: Box<dyn Iterator<Item = Bytes> + Send>,
}

/// The way to the snapshots' thread. One snapshot is written at a time; of those that wait meanwhile only the newest is written.
#[derive(Debug)]
pub(super) struct Saver {
    desk: Arc<Desk>,
    thread: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Desk {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    order: Option<Order>,
    is_closed: bool,
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let index = self.order.as_ref().map(|order| order.meta.index);
        f.debug_struct("Waiting").field("index", &index).field("is_closed", &self.is_closed).finish()
    }
}

impl Desk {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // What it guards is replaced as a whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next order; none when there will be none.
    fn next(&self) -> Option<Order> {
        let mut waiting = self.waiting();
        loop {
            if waiting.is_closed {
                return None;
            }
            if let Some(order) = waiting.order.take() {
                return Some(order);
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Saver {
    pub(super) fn start(shelf: Arc<Shelf>, on_saved: OnSaved, on_failure: OnFailure) -> Result<Saver, DiskError> {
        let desk = Arc::new(Desk::default());
        let orders = desk.clone();
        let work = move || {
            while let Some(order) = orders.next() {
                match save(&shelf, order, || !orders.waiting().is_closed) {
                    Ok(Some(meta)) => on_saved(meta.index),
                    Ok(None) => {}
                    Err(error) => return on_failure(&error),
                }
            }
        };
        let thread = std::thread::Builder::new().name("snapshots".into()).spawn(work);
        let thread = thread.map_err(DiskError::system("start the thread for", "snapshots"))?;
        Ok(Saver { desk, thread })
    }

    pub(super) fn save(&self, order: Order) {
        self.desk.waiting().order = Some(order);
        self.desk.changed.notify_one();
    }

    /// Ends the thread. A snapshot that is being written is given up: the log has all that it would hold.
    pub(super) fn close(self) {
        self.desk.waiting().is_closed = true;
        self.desk.changed.notify_one();
        // A panic there was printed there.
        let _ = self.thread.join();
    }
}

fn save(shelf: &Shelf, order: Order, is_wanted: impl Fn() -> bool) -> Result<Option<SnapshotMeta>, DiskError> {
    let Order { meta, chunks } = order;
    if !shelf.put(Origin::Own, &meta, chunks, is_wanted)? {
        return Ok(None);
    }
    shelf.tidy()?;
    Ok(Some(meta))
}
