//! Nothing that a server promises to another is only in its memory: a vote, a candidacy and an acknowledgement leave after the write behind them
//! (dissertation, figure 3.1, and section 10.2.1 on when a leader may count its own).

use super::{Checked, Violation};
use crate::disk::{Disk, Found};
use quorate_protocol::NodeId;
use quorate_protocol::raft::{RaftBody, RaftMessage};

/// A message leaves a server, whose disk would be found so after a crash now.
///
/// # Errors
/// When the message promises what the disk does not hold.
pub fn check(from: NodeId, to: NodeId, message: &RaftMessage, disk: &Disk) -> Checked {
    let state = disk.hard_state();
    // Of an earlier term than the disk's nothing is left to be kept: the server will never act in it again.
    if state.term > message.term {
        return Ok(());
    }
    let is_kept = match &message.body {
        RaftBody::VoteReply { granted: true } => state.term == message.term && state.vote == Some(to),
        RaftBody::VoteRequest { .. } => state.term == message.term && state.vote == Some(from),
        RaftBody::AppendAccepted { match_index } => {
            state.term == message.term && (match_index.0 == 0 || disk.find(*match_index) != Found::Nothing)
        }
        _ => true,
    };
    if is_kept {
        return Ok(());
    }
    let seen = format!("{from} sends {to} {message:?}, and its disk holds {state:?} and entries up to {}", disk.last());
    Violation::seen("promises_are_on_disk", seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::{Dice, Stream};
    use crate::disk::{Lie, Quality};
    use quorate_protocol::raft::{HardState, LogEntry, Payload};
    use quorate_protocol::{LogIndex, Term, Time};
    use quorate_raft::Persist;

    fn id(number: u8) -> NodeId {
        NodeId([number; 16])
    }

    /// A disk with two entries, on which term 3 and a vote for 2 are being written and are there after one flush more.
    fn writing() -> Disk {
        let mut disk = Disk::new(Quality::GOOD, Lie::None, Dice::new(1, Stream::Disk, 0));
        let entry = |index| LogEntry { term: Term(1), index: LogIndex(index), payload: Payload::Empty };
        let write =
            |number, hard_state, entries| Persist { number, hard_state, entries, snapshot: None, compact_to: None };
        let first = write(1, HardState { term: Term(2), vote: None }, vec![entry(1), entry(2)]);
        let done = disk.submit(Time::ZERO, first).expect("it begins at once");
        disk.finish(done).expect("it fits");
        disk.submit(done, write(2, HardState { term: Term(3), vote: Some(id(2)) }, vec![entry(3)]));
        disk
    }

    #[test]
    fn a_promise_that_a_crash_would_forget_is_seen() {
        let promise = |disk: &Disk, term, body| check(id(1), id(2), &RaftMessage { term: Term(term), body }, disk);
        let accepted = |index| RaftBody::AppendAccepted { match_index: LogIndex(index) };
        let last = RaftBody::VoteRequest { last_index: LogIndex(2), last_term: Term(1), transfer: false };
        let vote = RaftBody::VoteReply { granted: true };
        let mut disk = writing();
        assert_eq!(promise(&disk, 2, accepted(2)), Ok(()));
        for body in [vote.clone(), accepted(3), accepted(2)] {
            assert!(promise(&disk, 3, body.clone()).is_err(), "{body:?}");
        }
        disk.finish(Time::ZERO).expect("it fits");
        for body in [vote, accepted(3), RaftBody::VoteReply { granted: false }] {
            assert_eq!(promise(&disk, 3, body), Ok(()));
        }
        assert!(promise(&disk, 3, last).is_err(), "the vote is another's");
        assert!(promise(&disk, 3, accepted(4)).is_err());
        assert_eq!(promise(&disk, 2, accepted(4)), Ok(()), "a term that is over");
    }
}
