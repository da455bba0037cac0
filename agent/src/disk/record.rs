//! What the rows of the log's database hold. Each has a checksum over its key and content, so that a row is trusted for itself, whatever
//! the database vouches for.

use quorate_protocol::raft::{HardState, LogEntry};
use quorate_protocol::wire::log::{decode_entry, encode_entry};
use quorate_protocol::{LogIndex, NodeId, Term};

/// The version of [`State`]'s layout. Entries have their own, inside.
const STATE_VERSION: u8 = 1;

/// What a row says instead of what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RecordError {
    #[error("it ends too early")]
    Truncated,
    #[error("its checksum is wrong")]
    Checksum,
    #[error("version {0} is not understood by this build")]
    Version(u8),
    #[error("it is unreadable: {0}")]
    Malformed(String),
    #[error("it calls itself entry {0}")]
    Misplaced(LogIndex),
}

/// An entry as a row's content.
pub(super) fn encode_log_row(entry: &LogEntry) -> Vec<u8> {
    seal(&entry.index.0.to_be_bytes(), &encode_entry(entry))
}

/// The entry in the row at a place of the log.
pub(super) fn decode_log_row(index: u64, row: &[u8]) -> Result<LogEntry, RecordError> {
    let entry = decode_entry(unseal(&index.to_be_bytes(), row)?).map_err(|e| RecordError::Malformed(e.to_string()))?;
    if entry.index.0 == index { Ok(entry) } else { Err(RecordError::Misplaced(entry.index)) }
}

/// The one row beside the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    /// Whose log it is.
    pub(super) node: NodeId,
    /// How many commits there were, this one included.
    pub(super) commits: u64,
    /// Term and vote.
    pub(super) hard_state: HardState,
    /// The last entry, zero for none.
    pub(super) last: LogIndex,
}

/// The key that [`State`]'s checksum covers.
const STATE_KEY: &[u8] = b"state";

impl State {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut content = vec![STATE_VERSION];
        content.extend_from_slice(&self.node.0);
        content.extend_from_slice(&self.commits.to_be_bytes());
        content.extend_from_slice(&self.hard_state.term.0.to_be_bytes());
        content.push(u8::from(self.hard_state.vote.is_some()));
        content.extend_from_slice(&self.hard_state.vote.unwrap_or_default().0);
        content.extend_from_slice(&self.last.0.to_be_bytes());
        seal(STATE_KEY, &content)
    }

    pub(super) fn decode(row: &[u8]) -> Result<State, RecordError> {
        let mut content = unseal(STATE_KEY, row)?;
        match take::<1>(&mut content)? {
            [STATE_VERSION] => {}
            [other] => return Err(RecordError::Version(other)),
        }
        let node = NodeId(take(&mut content)?);
        let commits = u64::from_be_bytes(take(&mut content)?);
        let term = Term(u64::from_be_bytes(take(&mut content)?));
        let voted = take::<1>(&mut content)? != [0];
        let vote = NodeId(take(&mut content)?);
        let last = LogIndex(u64::from_be_bytes(take(&mut content)?));
        Ok(State { node, commits, hard_state: HardState { term, vote: voted.then_some(vote) }, last })
    }
}

fn take<const N: usize>(content: &mut &[u8]) -> Result<[u8; N], RecordError> {
    let (taken, rest) = content.split_first_chunk().ok_or(RecordError::Truncated)?;
    *content = rest;
    Ok(*taken)
}

/// A checksum over key and content, then the content.
fn seal(key: &[u8], content: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(4 + content.len());
    row.extend_from_slice(&checksum(key, content).to_be_bytes());
    row.extend_from_slice(content);
    row
}

fn unseal<'a>(key: &[u8], row: &'a [u8]) -> Result<&'a [u8], RecordError> {
    let (expected, content) = row.split_first_chunk().ok_or(RecordError::Truncated)?;
    let matches = u32::from_be_bytes(*expected) == checksum(key, content);
    if matches { Ok(content) } else { Err(RecordError::Checksum) }
}

fn checksum(key: &[u8], content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(content);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_protocol::raft::Payload;

    #[test]
    fn rows_come_back_and_every_flipped_bit_is_noticed() {
        let entry = LogEntry { term: Term(3), index: LogIndex(7), payload: Payload::Command(b"hello"[..].into()) };
        let row = encode_log_row(&entry);
        assert_eq!(decode_log_row(7, &row), Ok(entry));
        assert_eq!(decode_log_row(8, &row), Err(RecordError::Checksum), "a row in another's place");
        let hard_state = HardState { term: Term(9), vote: Some(NodeId([4; 16])) };
        let state = State { node: NodeId([1; 16]), commits: 5, hard_state, last: LogIndex(7) };
        for state in [state, State { hard_state: HardState::default(), ..state }] {
            assert_eq!(State::decode(&state.encode()), Ok(state));
        }
        for bit in 0..row.len() * 8 {
            let mut bad = row.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_log_row(7, &bad).is_err(), "bit {bit} of an entry");
        }
        let row = state.encode();
        for bit in 0..row.len() * 8 {
            let mut bad = row.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(State::decode(&bad).is_err(), "bit {bit} of the state");
        }
        assert_eq!(State::decode(&[]), Err(RecordError::Truncated));
    }
}
