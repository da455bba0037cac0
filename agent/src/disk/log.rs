//! The Raft log and hard state in segments.
//!
//! A batch holds term, vote, cuts and entries together, so that no crash can part them, and costs one write and one flush. What a start
//! finds is either exactly what was acknowledged (and perhaps the batch that was under way), or damage that it names: [`inspect`] only
//! looks, [`RaftLog::open`] then tidies up what a crash may leave.

use super::files::{make_private_directory, names_in, remove};
use super::outline::{Outline, Replay};
use super::record::{Record, RecordError, Records, State, unseal};
use super::segment::{self, Batch, Found, Segment};
use super::snapshot::{self, Origin, Shelf};
use super::space::{Reserve, Space};
use super::witness::{self, Witness};
use super::writer::Storage;
use super::{DiskError, Options, Recovered, quarantine};
use quorate_protocol::raft::{HardState, LogEntry};
use quorate_protocol::{LogIndex, NodeId, Term};
use quorate_raft::{Persist, Snapshot};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

/// The log on disk.
#[derive(Debug)]
pub(super) struct RaftLog {
    data_dir: PathBuf,
    directory: PathBuf,
    state: State,
    outline: Outline,
    spans: Spans,
    current: Segment,
    spare: Spare,
    witness: Witness,
    shelf: Arc<Shelf>,
    reserve: Reserve,
    is_rejoining: bool,
}

impl RaftLog {
    /// Opens and verifies the log of a node, or makes an empty one.
    pub(super) fn open(data_dir: &Path, id: NodeId, options: &Options) -> Result<(Recovered, RaftLog), DiskError> {
        make_private_directory(data_dir)?;
        let directory = data_dir.join("raft");
        make_private_directory(&directory)?;
        let found = inspect(data_dir, id)?;
        let reserve = Reserve::open(data_dir, options.reserve)?;
        let witness = Witness::open(data_dir)?;
        segment::discard_spare(&directory)?;
        let spare = Spare { directory: directory.clone(), size: options.segment_size, preparing: None };
        let (shelf, snapshot) = Shelf::open(&directory, found.outline.first())?;
        let (current, spans) = match &found.last {
            Some(last) => {
                let mut current = Segment::resume(&directory, last)?;
                current.settle(last)?;
                (current, found.spans)
            }
            None => {
                segment::prepare(&directory, options.segment_size)?;
                let current = Segment::begin(&directory, 1, &found.state, None)?;
                let mut spans = Spans::default();
                spans.begin(current.sequence());
                (current, spans)
            }
        };
        let mut log = RaftLog {
            data_dir: data_dir.into(),
            directory,
            state: found.state,
            outline: found.outline,
            spans,
            current,
            spare,
            witness,
            shelf: Arc::new(shelf),
            reserve,
            is_rejoining: quarantine::is_rejoining(data_dir),
        };
        log.witness.record(log.state.batches)?;
        log.spare.prepare()?;
        let mut entries = found.entries;
        if let Some(Snapshot { meta, .. }) = &snapshot
            && !joins(&log.outline, meta.index, meta.term)
        {
            entries.clear();
            log.begin_behind(meta.index, meta.term)?;
        }
        if !entries.is_empty() || snapshot.is_some() {
            log.note_rejoined()?;
        }
        let recovered = Recovered { id, hard_state: log.state.hard_state, snapshot, entries, rejoin: log.is_rejoining };
        Ok((recovered, log))
    }

    /// The snapshots beside the log.
    pub(super) fn shelf(&self) -> Arc<Shelf> {
        self.shelf.clone()
    }

    /// The snapshot is ahead of the log: a crash came between the two. It holds only what was committed, so what is in the log instead never
    /// was; and its term is known by now.
    fn begin_behind(&mut self, index: LogIndex, term: Term) -> Result<(), DiskError> {
        let last = self.state.last;
        tracing::info!(
            snapshot = index.0,
            log = last.0,
            "the snapshot is ahead of the log, which begins behind it now"
        );
        let mut draft = Draft::of(self);
        draft.reset(index.next());
        if draft.hard_state.term < term {
            draft.hard_state = HardState { term, vote: None };
        }
        self.append(draft)
    }

    /// Makes a batch durable.
    fn append(&mut self, draft: Draft) -> Result<(), DiskError> {
        let Draft { hard_state, outline, records, touched } = draft;
        let next = State {
            node: self.state.node,
            batches: self.state.batches + 1,
            hard_state,
            first: outline.first(),
            last: outline.last(),
        };
        let content = records.seal(&next);
        if self.current.has_room_for(&content) {
            self.current.append(next.batches, &content)?;
            self.witness.record(next.batches)?;
        } else {
            self.spare.finish()?;
            let sequence = self.current.sequence() + 1;
            self.current = Segment::begin(&self.directory, sequence, &self.state, Some(&content))?;
            self.spans.begin(sequence);
            self.witness.record(next.batches)?;
            self.witness.sync()?;
            self.spare.prepare()?;
        }
        self.spans.take(&touched);
        self.state = next;
        self.outline = outline;
        self.delete_unneeded()
    }

    /// Deletes the segments in which nothing is needed any more, the oldest first, so that a crash leaves no hole.
    fn delete_unneeded(&mut self) -> Result<(), DiskError> {
        while let Some(sequence) = self.spans.unneeded(self.outline.first()) {
            remove(&segment::path_of(&self.directory, sequence))?;
            self.spans.deleted(sequence);
        }
        Ok(())
    }

    fn note_rejoined(&mut self) -> Result<(), DiskError> {
        if std::mem::take(&mut self.is_rejoining) {
            quarantine::has_rejoined(&self.data_dir)?;
        }
        Ok(())
    }
}

impl Storage for RaftLog {
    fn commit(&mut self, batch: &[Persist]) -> Result<(), DiskError> {
        let mut draft = Draft::of(self);
        let mut covered = self.shelf.covered();
        for persist in batch {
            draft.add(persist, &mut covered)?;
        }
        // The snapshot is there before the log begins behind it; a crash in between is seen at the start.
        let snapshots = batch.iter().filter_map(|persist| persist.snapshot.as_ref());
        for Snapshot { meta, chunks } in snapshots.clone() {
            self.shelf.put(Origin::Leader, meta, chunks.iter().cloned(), || true)?;
        }
        self.append(draft)?;
        if snapshots.count() > 0 {
            self.shelf.tidy()?;
        }
        if self.outline.last() > LogIndex::ZERO {
            self.note_rejoined()?;
        }
        Ok(())
    }

    fn look(&mut self) -> Result<Space, DiskError> {
        self.reserve.look()
    }
}

/// A batch that is being put together.
struct Draft {
    hard_state: HardState,
    outline: Outline,
    records: Records,
    touched: Touched,
}

impl Draft {
    fn of(log: &RaftLog) -> Draft {
        Draft {
            hard_state: log.state.hard_state,
            outline: log.outline.clone(),
            records: Records::default(),
            touched: Touched::default(),
        }
    }

    fn reset(&mut self, first: LogIndex) {
        self.outline = Outline::empty(first);
        self.records.reset(first);
        self.touched.reset();
    }

    fn begin(&mut self, first: LogIndex) -> Result<(), DiskError> {
        let last = self.outline.last();
        if !self.outline.begin(first) {
            return Err(DiskError::Gap { index: first.0, last: last.0 });
        }
        self.records.begin(first);
        Ok(())
    }

    fn put(&mut self, entries: &[LogEntry]) -> Result<(), DiskError> {
        for entry in entries {
            let last = self.outline.last();
            if !self.outline.put(entry.index, entry.term) {
                return Err(DiskError::Gap { index: entry.index.0, last: last.0 });
            }
            self.touched.put(entry.index);
            self.records.entry(entry);
        }
        Ok(())
    }

    fn add(&mut self, persist: &Persist, covered: &mut LogIndex) -> Result<(), DiskError> {
        self.hard_state = persist.hard_state;
        let mut entries = persist.entries.as_slice();
        if let Some(Snapshot { meta, .. }) = &persist.snapshot {
            // Entries up to the snapshot's may show that those behind it follow it.
            if entries.first().is_some_and(|first| first.index <= meta.index) {
                self.put(std::mem::take(&mut entries))?;
            }
            *covered = meta.index.max(*covered);
            if joins(&self.outline, meta.index, meta.term) {
                self.begin(meta.index.next())?;
            } else {
                self.reset(meta.index.next());
            }
        }
        self.put(entries)?;
        match persist.compact_to {
            Some(first) if first > covered.next() => Err(DiskError::Uncovered { first: first.0, covered: covered.0 }),
            Some(first) if first > self.outline.first() => self.begin(first),
            _ => Ok(()),
        }
    }
}

/// Whether what follows a snapshot in the log follows the snapshot: its last entry is there, or is the one that was deleted last.
fn joins(outline: &Outline, index: LogIndex, term: Term) -> bool {
    outline.term(index) == Some(term) || outline.first() == index.next()
}

/// What a batch did to the entries of those before it.
#[derive(Debug, Default)]
struct Touched {
    is_reset: bool,
    lowest: Option<LogIndex>,
    last: LogIndex,
}

impl Touched {
    fn reset(&mut self) {
        *self = Touched { is_reset: true, ..Touched::default() };
    }

    fn put(&mut self, index: LogIndex) {
        self.lowest = Some(self.lowest.map_or(index, |lowest| lowest.min(index)));
        self.last = index;
    }

    fn of(records: &[Record]) -> Touched {
        let mut touched = Touched::default();
        for record in records {
            match record {
                Record::Entry(entry) => touched.put(entry.index),
                Record::Begin(_) => {}
                Record::Reset(_) => touched.reset(),
            }
        }
        touched
    }
}

/// Which segments there are, the oldest first, and the last entry in each that still counts.
#[derive(Debug, Default)]
struct Spans(Vec<(u64, LogIndex)>);

impl Spans {
    fn begin(&mut self, sequence: u64) {
        self.0.push((sequence, LogIndex::ZERO));
    }

    /// Takes what the newest batch, in the last segment, did.
    fn take(&mut self, touched: &Touched) {
        for (_, last) in &mut self.0 {
            if touched.is_reset {
                *last = LogIndex::ZERO;
            }
            if let Some(lowest) = touched.lowest {
                *last = lowest.previous().min(*last);
            }
        }
        if let (Some((_, last)), Some(_)) = (self.0.last_mut(), touched.lowest) {
            *last = touched.last;
        }
    }

    /// The oldest segment, if it is not the last and holds nothing from the first entry on.
    fn unneeded(&self, first: LogIndex) -> Option<u64> {
        match self.0.as_slice() {
            [(sequence, last), _, ..] if *last < first => Some(*sequence),
            _ => None,
        }
    }

    fn deleted(&mut self, sequence: u64) {
        self.0.retain(|(kept, _)| *kept != sequence);
    }
}

/// The file that becomes the next segment, made on a thread of its own while the present one fills.
#[derive(Debug)]
struct Spare {
    directory: PathBuf,
    size: u64,
    preparing: Option<JoinHandle<Result<(), DiskError>>>,
}

impl Spare {
    fn prepare(&mut self) -> Result<(), DiskError> {
        let (directory, size) = (self.directory.clone(), self.size);
        let work = move || segment::prepare(&directory, size);
        let thread = std::thread::Builder::new().name("next segment".into()).spawn(work);
        self.preparing = Some(thread.map_err(DiskError::system("start the thread for", &self.directory))?);
        Ok(())
    }

    /// Waits until it is there. It holds only zeros: where it could not be made, it is made now or the disk has failed.
    fn finish(&mut self) -> Result<(), DiskError> {
        match self.preparing.take().map(JoinHandle::join) {
            Some(Ok(Ok(()))) => Ok(()),
            _ => segment::prepare(&self.directory, self.size),
        }
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        // Nobody else may find the file half made.
        let _ = self.preparing.take().map(JoinHandle::join);
    }
}

/// What a directory holds.
#[derive(Debug)]
pub(super) struct Inspected {
    pub(super) state: State,
    pub(super) outline: Outline,
    pub(super) entries: Vec<LogEntry>,
    spans: Spans,
    /// The segment to go on with; none in a new directory.
    last: Option<Found>,
}

/// Reads and verifies everything that the log consists of. Changes nothing.
pub(super) fn inspect(data_dir: &Path, id: NodeId) -> Result<Inspected, DiskError> {
    let directory = data_dir.join("raft");
    let damaged = |path: &Path, what: String| DiskError::Damaged { path: path.into(), what };
    let sequences: Vec<u64> = names_in(&directory)?.iter().filter_map(|name| segment::sequence_of(name)).collect();
    let witnessed = witness::read(data_dir)?;
    let Some(oldest) = sequences.first() else {
        let batches = witnessed.unwrap_or(0);
        if batches > 0 || snapshot::choose(&directory, LogIndex(1))?.is_any() {
            return Err(damaged(
                &directory,
                format!("the log is gone, although {batches} batches or more were written"),
            ));
        }
        let outline = Outline::empty(LogIndex(1));
        let (entries, spans) = (Vec::new(), Spans::default());
        return Ok(Inspected { state: State::empty(id), outline, entries, spans, last: None });
    };
    let Some(witnessed) = witnessed else {
        return Err(damaged(&witness::path_in(data_dir), "it is missing".into()));
    };
    let mut reader = Reader {
        id,
        state: State::empty(id),
        replay: Replay::new(LogIndex(1), LogIndex::ZERO),
        spans: Spans::default(),
    };
    let mut last: Option<Found> = None;
    for (expected, sequence) in (*oldest..).zip(&sequences) {
        let path = segment::path_of(&directory, *sequence);
        if *sequence != expected {
            return Err(damaged(
                &segment::path_of(&directory, expected),
                "it is missing, and there are newer ones".into(),
            ));
        }
        if let Some(Found { torn_to: Some(place), .. }) = &last {
            return Err(damaged(
                &path,
                format!("the segment before it is torn at sector {place}, and this one follows"),
            ));
        }
        let found = segment::read(&directory, *sequence)?;
        reader.take(&path, &found, last.is_none())?;
        last = Some(found);
    }
    let Reader { state, replay, spans, .. } = reader;
    if state.batches < witnessed {
        let what = format!("batch {witnessed} was written, and it holds only those up to {}", state.batches);
        return Err(damaged(&directory, what));
    }
    let (outline, entries) =
        replay.finish().map_err(|missing| damaged(&directory, format!("entry {missing} is missing from the log")))?;
    if let Some(entry) = entries.last()
        && entry.term > state.hard_state.term
    {
        let what =
            format!("entry {} has term {}, and the latest term is {}", entry.index, entry.term, state.hard_state.term);
        return Err(damaged(&directory, what));
    }
    Ok(Inspected { state, outline, entries, spans, last })
}

/// Goes through the segments, the oldest first.
struct Reader {
    id: NodeId,
    state: State,
    replay: Replay,
    spans: Spans,
}

impl Reader {
    fn take(&mut self, path: &Path, found: &Found, is_oldest: bool) -> Result<(), DiskError> {
        let Found { header, batches, .. } = found;
        if header.node != self.id {
            return Err(DiskError::Foreign { path: path.into(), owner: header.node, wanted: self.id });
        }
        if is_oldest {
            self.state = *header;
            self.replay = Replay::new(header.first, header.last);
        } else if *header != self.state {
            let what = format!(
                "it was begun after batch {}, and those before it end with {}",
                header.batches, self.state.batches
            );
            return Err(DiskError::Damaged { path: path.into(), what });
        }
        self.spans.begin(found.sequence);
        batches.iter().try_for_each(|batch| self.take_batch(path, batch))
    }

    fn take_batch(&mut self, path: &Path, batch: &Batch) -> Result<(), DiskError> {
        let damaged =
            |what: String| DiskError::Damaged { path: path.into(), what: format!("batch {}: {what}", batch.number) };
        let (state, records) = unseal(&batch.content).map_err(|error| match error {
            RecordError::Kind(_) | RecordError::Entry(_) => {
                DiskError::Newer { path: path.into(), what: error.to_string() }
            }
            RecordError::Truncated | RecordError::Checksum => damaged(error.to_string()),
        })?;
        let touched = Touched::of(&records);
        for record in records {
            self.replay.take(record).map_err(damaged)?;
        }
        let expected = State {
            node: self.id,
            batches: batch.number,
            hard_state: state.hard_state,
            first: self.replay.first(),
            last: self.replay.last(),
        };
        if state != expected || state.hard_state.term < self.state.hard_state.term {
            return Err(damaged(format!("it should lead to {expected:?} from {:?}, and says {state:?}", self.state)));
        }
        self.spans.take(&touched);
        self.state = state;
        Ok(())
    }
}
