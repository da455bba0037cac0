//! What a batch says: the state after it, then what became of the log, in order.
//!
//! ```text
//!  checksum 4 │ state 65 │ record, record, …
//!  record: 1, length 4, an entry       it and those after it in the log are replaced
//!          2, index 8                  entries below are deleted
//!          3, index 8                  all entries are deleted; the log begins there
//! ```

use quorate_protocol::raft::{HardState, LogEntry};
use quorate_protocol::wire::WireError;
use quorate_protocol::wire::log::{decode_entry, encode_entry};
use quorate_protocol::{LogIndex, NodeId, Term};

const ENTRY: u8 = 1;
const BEGIN: u8 = 2;
const RESET: u8 = 3;

/// Why sound bytes were not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RecordError {
    #[error("it ends too early")]
    Truncated,
    #[error("its checksum is wrong")]
    Checksum,
    #[error("a record of kind {0} is not understood by this build")]
    Kind(u8),
    #[error("an entry is not understood by this build: {0}")]
    Entry(#[from] WireError),
}

/// What a server must never forget, beside the log itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    /// Whose log it is.
    pub(super) node: NodeId,
    /// How many batches there were, this one included.
    pub(super) batches: u64,
    /// Term and vote.
    pub(super) hard_state: HardState,
    /// The first entry that is kept; below it a snapshot stands in.
    pub(super) first: LogIndex,
    /// The last entry; the one before `first` where there is none.
    pub(super) last: LogIndex,
}

impl State {
    /// Before anything was written.
    pub(super) fn empty(node: NodeId) -> State {
        State { node, batches: 0, hard_state: HardState::default(), first: LogIndex(1), last: LogIndex::ZERO }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.node.0);
        out.extend_from_slice(&self.batches.to_be_bytes());
        out.extend_from_slice(&self.hard_state.term.0.to_be_bytes());
        out.push(u8::from(self.hard_state.vote.is_some()));
        out.extend_from_slice(&self.hard_state.vote.unwrap_or_default().0);
        out.extend_from_slice(&self.first.0.to_be_bytes());
        out.extend_from_slice(&self.last.0.to_be_bytes());
    }

    pub(super) fn decode(bytes: &mut &[u8]) -> Result<State, RecordError> {
        let node = NodeId(take(bytes)?);
        let batches = u64::from_be_bytes(take(bytes)?);
        let term = Term(u64::from_be_bytes(take(bytes)?));
        let [voted] = take(bytes)?;
        let vote = NodeId(take(bytes)?);
        let first = LogIndex(u64::from_be_bytes(take(bytes)?));
        let last = LogIndex(u64::from_be_bytes(take(bytes)?));
        Ok(State { node, batches, hard_state: HardState { term, vote: (voted != 0).then_some(vote) }, first, last })
    }
}

/// One thing that became of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    /// The entry and those after it are replaced by it.
    Entry(LogEntry),
    /// Entries below are deleted.
    Begin(LogIndex),
    /// All are deleted, and the log begins there.
    Reset(LogIndex),
}

/// The records of a batch as bytes, before its state is known.
#[derive(Debug, Default)]
pub(super) struct Records(Vec<u8>);

impl Records {
    pub(super) fn entry(&mut self, entry: &LogEntry) {
        let bytes = encode_entry(entry);
        self.0.push(ENTRY);
        // Entries are bounded far below by what a request may hold.
        self.0.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
        self.0.extend_from_slice(&bytes);
    }

    pub(super) fn begin(&mut self, first: LogIndex) {
        self.0.push(BEGIN);
        self.0.extend_from_slice(&first.0.to_be_bytes());
    }

    pub(super) fn reset(&mut self, first: LogIndex) {
        self.0.push(RESET);
        self.0.extend_from_slice(&first.0.to_be_bytes());
    }

    /// The whole batch.
    pub(super) fn seal(&self, state: &State) -> Vec<u8> {
        let mut content = vec![0; 4];
        state.encode(&mut content);
        content.extend_from_slice(&self.0);
        if let Some((checksum, rest)) = content.split_first_chunk_mut() {
            *checksum = crc32fast::hash(rest).to_be_bytes();
        }
        content
    }
}

/// Reads what [`Records::seal`] wrote.
pub(super) fn unseal(content: &[u8]) -> Result<(State, Vec<Record>), RecordError> {
    let (checksum, mut rest) = content.split_first_chunk().ok_or(RecordError::Truncated)?;
    if u32::from_be_bytes(*checksum) != crc32fast::hash(rest) {
        return Err(RecordError::Checksum);
    }
    let state = State::decode(&mut rest)?;
    let mut records = Vec::new();
    while !rest.is_empty() {
        records.push(match take(&mut rest)? {
            [ENTRY] => {
                let length = u32::from_be_bytes(take(&mut rest)?) as usize;
                let (entry, after) = rest.split_at_checked(length).ok_or(RecordError::Truncated)?;
                rest = after;
                Record::Entry(decode_entry(entry)?)
            }
            [BEGIN] => Record::Begin(LogIndex(u64::from_be_bytes(take(&mut rest)?))),
            [RESET] => Record::Reset(LogIndex(u64::from_be_bytes(take(&mut rest)?))),
            [other] => return Err(RecordError::Kind(other)),
        });
    }
    Ok((state, records))
}

/// The first bytes, which are taken off.
pub(super) fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], RecordError> {
    let (taken, rest) = bytes.split_first_chunk().ok_or(RecordError::Truncated)?;
    *bytes = rest;
    Ok(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_protocol::raft::Payload;

    #[test]
    fn batches_come_back_and_every_cut_and_flipped_bit_is_noticed() {
        let entry = LogEntry { term: Term(3), index: LogIndex(7), payload: Payload::Command(b"hello"[..].into()) };
        let mut records = Records::default();
        records.reset(LogIndex(7));
        records.entry(&entry);
        records.begin(LogIndex(5));
        let hard_state = HardState { term: Term(9), vote: Some(NodeId([4; 16])) };
        let state = State { batches: 5, hard_state, last: LogIndex(7), ..State::empty(NodeId([1; 16])) };
        for state in [state, State { hard_state: HardState::default(), ..state }] {
            let expected = vec![Record::Reset(LogIndex(7)), Record::Entry(entry.clone()), Record::Begin(LogIndex(5))];
            assert_eq!(unseal(&records.seal(&state)), Ok((state, expected)));
        }
        let sealed = records.seal(&state);
        for bit in 0..sealed.len() * 8 {
            let mut bad = sealed.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unseal(&bad), Err(RecordError::Checksum), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert!(unseal(&sealed[..length]).is_err(), "cut to {length}");
        }
    }

    #[test]
    fn what_a_newer_build_wrote_is_not_taken_for_damage() {
        let mut records = Records::default();
        records.0.push(9);
        assert_eq!(unseal(&records.seal(&State::empty(NodeId([1; 16])))), Err(RecordError::Kind(9)));
    }
}
