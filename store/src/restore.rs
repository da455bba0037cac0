//! Restores: a snapshot that comes back through the log, chunk by chunk, and takes effect at its commit.
//!
//! ```text
//!   Begin ─▶ staged: no chunks ─ Chunk 0, 1, … ─▶ staged ─ Commit ─▶ the state of the snapshot, as if all of it had just been written
//!                                                   └──── Abandon, or another Begin ─▶ as if nothing had been
//! ```

use crate::changes::ChangeRing;
use crate::snapshot::{Loader, Reader, SnapshotError, check_chunk};
use crate::store::{State, Store};
use crate::touched::Touched;
use bytes::Bytes;
use imbl::Vector;
use quorate_protocol::{LogIndex, Outcome, RestoreWrite, Timer};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The largest chunk of a restore, in bytes. Those that this build draws have 256 KiB, or the size of one large row; one of this
/// size still fits into a frame between servers.
pub const MAX_RESTORE_CHUNK: usize = 8 * 1024 * 1024;

/// The largest restore, in bytes: as long as it is staged, every server holds it in memory beside the state.
pub const MAX_RESTORE_SIZE: u64 = 4 * 1024 * 1024 * 1024;

/// A restore on its way.
#[derive(Debug, Clone)]
pub(crate) struct Staged {
    id: u64,
    chunks: Vector<Bytes>,
    size: u64,
}

impl Staged {
    pub fn new(id: u64) -> Staged {
        Staged { id, chunks: Vector::new(), size: 0 }
    }

    pub fn id(&self) -> u64 {
        self.id
    }

    /// How many bytes came so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The chunks from one on, with their numbers.
    pub fn chunks_from(&self, first: u64) -> impl Iterator<Item = (u64, &Bytes)> {
        let skip = usize::try_from(first).unwrap_or(usize::MAX).min(self.chunks.len());
        (first..).zip(self.chunks.focus().narrow(skip..))
    }

    /// Adds a piece of a chunk, as a snapshot has them.
    pub fn add_piece(&mut self, chunk: u64, piece: u64, bytes: Bytes) -> Result<(), String> {
        self.size = self.size.saturating_add(bytes.len() as u64);
        let known = self.chunks.len() as u64;
        match self.chunks.back_mut() {
            Some(last) if piece > 0 && chunk.saturating_add(1) == known => {
                *last = [last.as_ref(), bytes.as_ref()].concat().into();
                Ok(())
            }
            _ if piece == 0 && chunk == known => {
                self.chunks.push_back(bytes);
                Ok(())
            }
            _ => Err(format!("piece {piece} of chunk {chunk} of a restore follows nothing")),
        }
    }

    /// Adds the next chunk, if it is that and as it was written.
    fn add(&mut self, number: u64, bytes: &Bytes) -> Result<(), String> {
        let next = self.chunks.len() as u64;
        if number != next {
            return Err(format!("chunk {number} of the restore does not follow; send chunk {next}"));
        }
        if bytes.len() > MAX_RESTORE_CHUNK {
            return Err(format!(
                "chunk {number} of the restore has {} bytes; at most {MAX_RESTORE_CHUNK} are taken",
                bytes.len()
            ));
        }
        let size = self.size.saturating_add(bytes.len() as u64);
        if size > MAX_RESTORE_SIZE {
            return Err(format!(
                "the restore has more than {MAX_RESTORE_SIZE} bytes, which no server takes; abandon it"
            ));
        }
        check_chunk(number, bytes).map_err(|error| error.to_string())?;
        self.chunks.push_back(bytes.clone());
        self.size = size;
        Ok(())
    }
}

impl Store {
    pub(crate) fn restore(&mut self, index: LogIndex, write: &RestoreWrite) -> (Outcome, Touched) {
        let done = match write {
            RestoreWrite::Begin { id } => {
                self.state_mut().staged = Some(Staged::new(*id));
                Ok(Touched::default())
            }
            RestoreWrite::Chunk { id, number, bytes } => {
                let added = staged(&mut self.state_mut().staged, *id).and_then(|staged| staged.add(*number, bytes));
                added.map(|()| Touched::default())
            }
            RestoreWrite::Commit { id } => self.commit_restore(index, *id),
            RestoreWrite::Abandon { id } => {
                let state = self.state_mut();
                if state.staged.as_ref().is_some_and(|staged| staged.id == *id) {
                    state.staged = None;
                }
                Ok(Touched::default())
            }
        };
        match done {
            Ok(touched) => (Outcome::Done, touched),
            Err(why) => (Outcome::Refused(why), Touched::default()),
        }
    }

    fn commit_restore(&mut self, index: LogIndex, id: u64) -> Result<Touched, String> {
        let staged = staged(&mut self.state_mut().staged, id)?.clone();
        let mut restored = load(index, &staged).map_err(|error| error.to_string())?;
        restored.changes = ChangeRing::starting_at(index);
        restored.planted = self.state.planted;
        let timers: BTreeSet<Timer> = [&self.state.timers, &restored.timers]
            .into_iter()
            .flat_map(|timers| timers.iter().map(|(timer, _)| timer.clone()))
            .collect();
        let armed = |timer: Timer| {
            let armed = restored.timers.get(&timer);
            (timer, armed)
        };
        let timers = timers.into_iter().map(armed).collect();
        self.state = Arc::new(restored);
        Ok(Touched { timers, everything: true, ..Touched::default() })
    }

    fn state_mut(&mut self) -> &mut State {
        Arc::make_mut(&mut self.state)
    }
}

fn load(index: LogIndex, staged: &Staged) -> Result<State, SnapshotError> {
    let mut loader = Loader::new(Some(index));
    let end = Reader::read(staged.chunks.iter().map(Bytes::as_ref), |record, _| loader.add(record))?;
    Ok(loader.finish(&end))
}

fn staged(staged: &mut Option<Staged>, id: u64) -> Result<&mut Staged, String> {
    let known = staged.as_mut().filter(|staged| staged.id == id);
    known.ok_or_else(|| format!("there is no restore {id} on its way; begin it again"))
}
