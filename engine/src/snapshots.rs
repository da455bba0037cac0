//! Snapshots: written to the own disk so that the log can be cut, sent to servers that are too far behind, taken from a leader, and
//! shown to people.
//!
//! All of them are drawn from an immutable view of the store, part by part, so a large state never holds up a heartbeat.

use crate::Engine;
use crate::config::SnapshotPolicy;
use crate::door::{Notice, Output};
use bytes::Bytes;
use quorate_protocol::raft::SnapshotMeta;
use quorate_protocol::{LogIndex, NodeId, Refusal, Reply, SnapshotDescription, SnapshotRequest, Time};
use quorate_store::{SnapshotChunks, Store};
use rand::RngExt;
use std::collections::BTreeMap;
use std::time::Duration;

/// Snapshots that people may hold at a time: each keeps an old state in memory as far as it has changed since.
const MAX_HANDLES: usize = 4;
/// One that nobody asked for during this long is dropped.
const HANDLE_IDLE: Duration = Duration::from_secs(60);

/// A state of so many bytes is written in some hundredths of a second, however little the log has grown.
const CHEAP_STATE: u64 = 1024 * 1024;

/// The snapshots that a server holds or writes.
#[derive(Debug)]
pub struct Snapshots {
    policy: SnapshotPolicy,
    /// Where the newest on this server's disk ends.
    saved: LogIndex,
    /// One is being written.
    saving: bool,
    /// Bytes of the entries applied since the last one was begun.
    bytes: u64,
    /// How many are needed for the next one, as of when that was looked at.
    least_bytes: u64,
    /// Being sent to other servers, by where they end.
    pinned: BTreeMap<LogIndex, SnapshotChunks>,
    /// Being read by people.
    handles: BTreeMap<u64, Handle>,
}

#[derive(Debug)]
struct Handle {
    chunks: SnapshotChunks,
    until: Time,
}

impl Snapshots {
    pub fn new(policy: SnapshotPolicy, saved: LogIndex) -> Snapshots {
        Snapshots {
            policy,
            saved,
            saving: false,
            bytes: 0,
            least_bytes: 0,
            pinned: BTreeMap::new(),
            handles: BTreeMap::new(),
        }
    }

    pub fn deadline(&self) -> Option<Time> {
        self.handles.values().map(|handle| handle.until).min()
    }

    /// An entry of this size was applied.
    pub fn note_entry(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// Writing down a large state for a little log would cost more than the log does: each byte of the log is to cause at most two of
    /// snapshots. Not so where the disk is low: a snapshot is what lets the log go.
    fn is_due(&mut self, store: &Store, disk_is_low: bool) -> bool {
        let entries = store.applied_index().0.saturating_sub(self.saved.0);
        let enough = entries >= self.policy.entries || self.bytes >= self.policy.bytes;
        if entries == 0 || !enough || self.saving {
            return false;
        }
        if disk_is_low {
            return true;
        }
        if self.bytes < self.least_bytes {
            return false;
        }
        let state = SnapshotChunks::new(store.view()).size_hint();
        self.least_bytes = if state > CHEAP_STATE { state / 2 } else { 0 };
        self.bytes >= self.least_bytes
    }

    /// One that is begun, or came from elsewhere, makes the counting begin anew.
    fn count_anew(&mut self) {
        (self.bytes, self.least_bytes) = (0, 0);
    }
}

impl Engine {
    /// Has the state written down when the log has grown enough since the last time.
    pub(crate) fn save_snapshot_if_due(&mut self) {
        let Some(server) = &mut self.server else { return };
        if !server.snapshots.is_due(&server.store, server.disk_is_low) {
            return;
        }
        let applied = server.store.applied_index();
        let Some(meta) = server.raft.snapshot_meta(applied) else { return };
        server.snapshots.saving = true;
        server.snapshots.count_anew();
        let chunks = Box::new(SnapshotChunks::new(server.store.view()));
        self.outputs.push_back(Output::SaveSnapshot { meta, chunks });
    }

    pub(crate) fn handle_snapshot_saved(&mut self, now: Time, index: LogIndex) {
        let Some(server) = &mut self.server else { return };
        server.snapshots.saving = false;
        server.snapshots.saved = server.snapshots.saved.max(index);
        server.raft.compact(now, index);
        self.save_snapshot_if_due();
    }

    /// A peer needs what the log no longer holds.
    pub(crate) fn offer_snapshot(&mut self, now: Time, to: NodeId) {
        let Some(server) = &mut self.server else { return };
        // One that is on its way to another peer does as well, and keeps only one old state in memory.
        let index = server.snapshots.pinned.last_key_value().map(|(index, _)| *index);
        if index.is_some_and(|index| server.raft.send_snapshot(now, to, index)) {
            return;
        }
        let view = server.store.view();
        let index = view.index();
        if server.raft.send_snapshot(now, to, index) {
            server.snapshots.pinned.insert(index, SnapshotChunks::new(view));
        } else {
            server.raft.abandon_snapshot(now, to);
        }
    }

    pub(crate) fn send_snapshot_chunk(&mut self, now: Time, to: NodeId, meta: SnapshotMeta, number: u64) {
        let Some(server) = &mut self.server else { return };
        let chunk = server.snapshots.pinned.get_mut(&meta.index).and_then(|chunks| chunks.chunk(number));
        let Some(chunk) = chunk else { return server.raft.abandon_snapshot(now, to) };
        if let Some(message) = server.raft.snapshot_chunk(to, meta, number, chunk.bytes, chunk.last) {
            self.send_raft(to, message);
        }
    }

    pub(crate) fn drop_pinned_snapshot(&mut self, index: LogIndex) {
        if let Some(server) = &mut self.server {
            server.snapshots.pinned.remove(&index);
        }
    }

    /// All parts of a leader's snapshot are here: it takes the place of the store, once it is known to be whole.
    pub(crate) fn take_snapshot(&mut self, now: Time, meta: &SnapshotMeta, chunks: &[Bytes]) {
        let Some(server) = &mut self.server else { return };
        let read = Store::from_chunks(chunks.iter().map(AsRef::as_ref)).map_err(|error| error.to_string());
        let store = match read {
            Ok(store) if store.applied_index() == meta.index => store,
            Ok(_) => return self.refuse_snapshot(now, "it is of another log index than was said"),
            Err(why) => return self.refuse_snapshot(now, &why),
        };
        if !server.raft.install_snapshot(now) {
            return;
        }
        server.timers.restart(now, store.view().timers());
        server.store = store;
        #[cfg(feature = "planted-bugs")]
        server.store.plant(server.planted);
        server.snapshots.saved = meta.index;
        // An own one that is being written is older, and perhaps given up.
        server.snapshots.saving = false;
        server.snapshots.count_anew();
        self.outputs.push_back(Output::Noticed(Notice::SnapshotInstalled { index: meta.index }));
        self.wake_all(now);
        self.announce_cluster(now);
        self.answer_confirmed(now);
    }

    fn refuse_snapshot(&mut self, now: Time, why: &str) {
        self.count("snapshots_refused");
        self.outputs.push_back(Output::Noticed(Notice::SnapshotRefused { why: why.to_owned() }));
        if let Some(server) = &mut self.server {
            server.raft.reject_snapshot(now);
        }
    }

    /// Serves people who save a snapshot.
    pub(crate) fn serve_snapshot(&mut self, now: Time, request: &SnapshotRequest) -> Reply {
        let Some(server) = &mut self.server else { return Reply::Refused(Refusal::NoServers) };
        let gone = || {
            let why = "this snapshot is no longer held by the server that is asked: begin again".to_owned();
            Reply::Refused(Refusal::NotFound(why))
        };
        let snapshots = &mut server.snapshots;
        match *request {
            SnapshotRequest::Open { .. } if snapshots.handles.len() >= MAX_HANDLES => Reply::Refused(Refusal::Busy),
            SnapshotRequest::Open { .. } => self.open_snapshot(now),
            SnapshotRequest::Chunk { handle, number, .. } => {
                let Some(held) = snapshots.handles.get_mut(&handle) else { return gone() };
                held.until = now + HANDLE_IDLE;
                let chunk = held.chunks.chunk(number);
                chunk.map_or_else(gone, |chunk| Reply::SnapshotChunk { bytes: chunk.bytes, last: chunk.last })
            }
            SnapshotRequest::Close { handle, .. } => {
                snapshots.handles.remove(&handle);
                Reply::Done
            }
        }
    }

    fn open_snapshot(&mut self, now: Time) -> Reply {
        let Some(server) = &mut self.server else { return Reply::Refused(Refusal::NoServers) };
        let chunks = SnapshotChunks::new(server.store.view());
        let index = chunks.view().index();
        let term = server.raft.snapshot_meta(index).map(|meta| meta.term).unwrap_or_default();
        // Another server, asked after a change of leader, must not know it.
        let handle = self.rng.random();
        let description = SnapshotDescription {
            handle,
            index,
            term,
            size_hint: chunks.size_hint(),
            known_leader: server.raft.leader().is_some(),
            last_contact: server.raft.last_contact(now).unwrap_or(Duration::MAX),
        };
        server.snapshots.handles.insert(handle, Handle { chunks, until: now + HANDLE_IDLE });
        Reply::Snapshot(description)
    }

    pub(crate) fn time_out_snapshots(&mut self, now: Time) {
        if let Some(server) = &mut self.server {
            server.snapshots.handles.retain(|_, handle| handle.until > now);
        }
    }
}
