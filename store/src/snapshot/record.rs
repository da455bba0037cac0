//! What a snapshot consists of, and the order in which it comes.

use crate::index::Topic;
use crate::name::Name;
use crate::node::OnNode;
use crate::store::State;
use bytes::Bytes;
use quorate_protocol::{Armed, AutopilotConfig, Check, Entry, LogIndex, Node, Row, Service, Session, SessionId, Timer};
use serde::{Deserialize, Serialize};
use std::ops::Bound;
use std::sync::Arc;

/// The largest piece of a staged restore in one record.
const PIECE: usize = if cfg!(test) { 100 } else { 64 * 1024 };

/// One row of a table, or something else that is known. Variants are only appended: they are on disks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Record {
    /// A node; its services and checks follow it.
    Node(Arc<Row<Node>>),
    /// A service, with the name of its node.
    Service(Name, Arc<Row<Service>>),
    Check(Arc<Row<Check>>),
    Session(Arc<Row<Session>>),
    Entry(Arc<Row<Entry>>),
    /// A key that was deleted, and when.
    Tombstone(LogIndex, Arc<str>),
    Timer(Timer, Armed),
    Index(Topic, LogIndex),
    Autopilot(Arc<Row<AutopilotConfig>>),
    /// A restore on its way, by its id; the pieces of its chunks follow.
    Staged(u64),
    /// A piece of a chunk of it: the chunk's number, the piece's, and the bytes.
    StagedPiece(u64, u64, Bytes),
    End(End),
}

/// The last record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    /// How many chunks there are.
    pub chunks: u64,
    /// The checksum over the checksums of all chunks but the last one, whose own covers this.
    pub sum: u32,
    /// The log index of the state.
    pub index: LogIndex,
    /// The rolling hash up to it.
    pub hash: u64,
    /// Deletions up to this index may be forgotten.
    pub floor: LogIndex,
}

/// The place of a record in the order of a snapshot, which rises strictly.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Start,
    /// On a node, by its name: the node itself (0), then its services (1), then its checks (2), by id.
    OnNode(Name, u8, Arc<str>),
    Session(SessionId),
    Entry(Arc<str>),
    Tombstone(LogIndex, Arc<str>),
    Timer(Timer),
    Index(Topic),
    Autopilot,
    Staged,
    StagedPiece(u64, u64),
    End,
}

impl Record {
    pub fn place(&self) -> Place {
        match self {
            Record::Node(row) => Place::OnNode(Name::of(&row.name), 0, "".into()),
            Record::Service(node, row) => Place::OnNode(node.clone(), 1, row.id.as_str().into()),
            Record::Check(row) => Place::OnNode(Name::of(&row.node), 2, row.id.as_str().into()),
            Record::Session(row) => Place::Session(row.id),
            Record::Entry(row) => Place::Entry(row.key.as_str().into()),
            Record::Tombstone(index, key) => Place::Tombstone(*index, Arc::clone(key)),
            Record::Timer(timer, _) => Place::Timer(timer.clone()),
            Record::Index(topic, _) => Place::Index(topic.clone()),
            Record::Autopilot(_) => Place::Autopilot,
            Record::Staged(_) => Place::Staged,
            Record::StagedPiece(chunk, piece, _) => Place::StagedPiece(*chunk, *piece),
            Record::End(_) => Place::End,
        }
    }
}

/// All records but the end that come after a place, in order.
pub(crate) fn records_after<'a>(state: &'a State, place: &'a Place) -> impl Iterator<Item = Record> + use<'a> {
    on_nodes(state, place)
        .chain(sessions(state, place))
        .chain(entries(state, place))
        .chain(tombstones(state, place))
        .chain(timers(state, place))
        .chain(indexes(state, place))
        .chain(autopilot(state, place))
        .chain(staged(state, place))
}

fn on_nodes<'a>(state: &'a State, place: &'a Place) -> impl Iterator<Item = Record> + use<'a> {
    let from = match place {
        Place::Start => Some(Bound::Unbounded),
        Place::OnNode(name, ..) => Some(Bound::Included(name)),
        _ => None,
    };
    let nodes = from.into_iter().flat_map(|from| state.catalog.nodes.range::<_, Name>((from, Bound::Unbounded)));
    nodes.flat_map(|(name, on)| on_node(name, on)).skip_while(move |record| record.place() <= *place)
}

fn on_node<'a>(name: &'a Name, on: &'a OnNode) -> impl Iterator<Item = Record> + use<'a> {
    let services = on.services.values().map(|row| Record::Service(name.clone(), Arc::clone(row)));
    let checks = on.checks.values().map(|row| Record::Check(Arc::clone(row)));
    [Record::Node(Arc::clone(&on.row))].into_iter().chain(services).chain(checks)
}

fn sessions<'a>(state: &'a State, place: &'a Place) -> impl Iterator<Item = Record> + use<'a> {
    let from = match place {
        Place::Session(id) => Some(Bound::Excluded(*id)),
        _ => begin(place, &Place::Session(SessionId([0; 16]))),
    };
    from.into_iter().flat_map(|from| state.sessions.after(from)).map(|row| Record::Session(Arc::clone(row)))
}

fn entries<'a>(state: &'a State, place: &'a Place) -> impl Iterator<Item = Record> + use<'a> {
    let from = match place {
        Place::Entry(key) => Some(Bound::Excluded(&**key)),
        _ => begin(place, &Place::Entry("".into())),
    };
    from.into_iter().flat_map(|from| state.kv.entries_after(from)).map(|row| Record::Entry(Arc::clone(row)))
}

fn tombstones<'a>(state: &'a State, place: &'a Place) -> impl Iterator<Item = Record> + use<'a> {
    let from = match place {
        Place::Tombstone(index, key) => Some(Bound::Excluded((*index, Arc::clone(key)))),
        _ => begin(place, &Place::Tombstone(LogIndex::ZERO, "".into())),
    };
    let tombstones = from.into_iter().flat_map(|from| state.kv.tombstones_after(from));
    tombstones.map(|(index, key)| Record::Tombstone(*index, Arc::clone(key)))
}

fn timers<'a>(state: &'a State, place: &'a Place) -> impl Iterator<Item = Record> + use<'a> {
    let from = match place {
        Place::Timer(timer) => Some(Bound::Excluded(timer.clone())),
        _ => begin(place, &Place::Timer(Timer::Session(SessionId([0; 16])))),
    };
    let timers = from.into_iter().flat_map(|from| state.timers.after(from));
    timers.map(|(timer, armed)| Record::Timer(timer.clone(), *armed))
}

fn indexes<'a>(state: &'a State, place: &'a Place) -> impl Iterator<Item = Record> + use<'a> {
    let from = match place {
        Place::Index(topic) => Some(Bound::Excluded(topic.clone())),
        _ => begin(place, &Place::Index(Topic::Nodes)),
    };
    let indexes = from.into_iter().flat_map(|from| state.indexes.after(from));
    indexes.map(|(topic, index)| Record::Index(topic.clone(), *index))
}

fn autopilot<'a>(state: &'a State, place: &'a Place) -> impl Iterator<Item = Record> + use<'a> {
    let row = state.autopilot.as_ref().filter(|_| *place < Place::Autopilot);
    row.map(|row| Record::Autopilot(Arc::clone(row))).into_iter()
}

fn staged<'a>(state: &'a State, place: &'a Place) -> impl Iterator<Item = Record> + use<'a> {
    let after = match place {
        Place::StagedPiece(chunk, piece) => Some((*chunk, *piece)),
        _ => None,
    };
    let from = after.map_or(0, |(chunk, _)| chunk);
    let head = state.staged.as_ref().filter(|_| *place < Place::Staged).map(|staged| Record::Staged(staged.id()));
    let chunks = state.staged.iter().flat_map(move |staged| staged.chunks_from(from));
    let pieces = chunks.flat_map(|(number, chunk)| {
        let starts = (0u64..).zip((0..chunk.len()).step_by(PIECE));
        starts.map(move |(piece, start)| {
            Record::StagedPiece(number, piece, chunk.slice(start..chunk.len().min(start.saturating_add(PIECE))))
        })
    });
    let is_due = move |record: &Record| match record {
        Record::StagedPiece(chunk, piece, _) => after.is_none_or(|after| (*chunk, *piece) > after),
        _ => true,
    };
    head.into_iter().chain(pieces.filter(is_due)).take_while(|_| *place < Place::End)
}

/// From the beginning of a table, if the place is before it: `first` is the lowest place of the table that can be.
fn begin<T>(place: &Place, first: &Place) -> Option<Bound<T>> {
    (place < first).then_some(Bound::Unbounded)
}
