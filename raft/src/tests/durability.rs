//! Nothing leaves before it is on disk.

use super::*;
use crate::StartError;

fn server() -> Server {
    Server::with_log(1, &configuration(&[1, 2, 3], &[]), &[1])
}

fn append(previous: u64, previous_term: u64, entries: &[LogEntry], commit: u64) -> RaftBody {
    RaftBody::Append {
        previous_index: LogIndex(previous),
        previous_term: Term(previous_term),
        entries: entries.to_vec(),
        commit_index: LogIndex(commit),
    }
}

/// A write of nothing but this.
fn write(number: u64, hard_state: HardState) -> Persist {
    Persist { number, hard_state, snapshot: None, compact_to: None, entries: vec![] }
}

fn accepted(term: u64, match_index: u64) -> (NodeId, RaftMessage) {
    (id(2), message(term, RaftBody::AppendAccepted { match_index: LogIndex(match_index) }))
}

#[test]
fn a_vote_waits_for_the_disk() {
    let mut server = server();
    let ask = RaftBody::VoteRequest { last_index: LogIndex(1), last_term: Term(1), transfer: false };
    assert_eq!(server.receive(at(400), 2, 2, ask), []);
    let vote = HardState { term: Term(2), vote: Some(id(2)) };
    assert_eq!(server.unsynced, [write(1, vote)]);
    let number = server.write(1).unwrap();
    server.raft.handle_persisted(at(401), number);
    assert_eq!(server.drain(), [(id(2), message(2, RaftBody::VoteReply { granted: true }))]);
}

#[test]
fn an_acknowledgement_waits_for_the_disk_and_for_the_right_write() {
    let mut server = server();
    let entries = log(&configuration(&[], &[]), &[1, 2, 2, 2]);
    assert_eq!(server.receive(at(1), 2, 2, append(1, 1, &entries[1..2], 0)), []);
    assert_eq!(server.receive(at(1), 2, 2, append(2, 2, &entries[2..4], 0)), []);
    assert_eq!(server.unsynced.len(), 2);
    server.raft.handle_persisted(at(2), 1);
    assert_eq!(server.drain(), [accepted(2, 2)]);
    server.raft.handle_persisted(at(3), 2);
    assert_eq!(server.drain(), [accepted(2, 4)]);
    let again = server.receive(at(4), 2, 2, append(1, 1, &entries[1..2], 0));
    assert_eq!(again, [accepted(2, 2)], "what is on disk is acknowledged at once");
}

#[test]
fn acknowledgements_of_one_write_are_one() {
    let mut server = server();
    let entries = log(&configuration(&[], &[]), &[1, 2, 2]);
    for (previous, term) in [(1, 1), (2, 2)] {
        let body = append(previous, term, &entries[previous as usize..][..1], 0);
        server.raft.handle_message(at(1), id(2), message(2, body));
    }
    assert_eq!(server.sync(at(1)), [accepted(2, 3)]);
}

#[test]
fn a_candidacy_waits_for_the_disk() {
    let mut server = server();
    let now = server.raft.deadline().unwrap();
    server.raft.handle_timeout(now);
    assert_eq!(server.drain().len(), 2, "pre-votes promise nothing");
    assert_eq!(server.receive(now, 2, 2, RaftBody::PreVoteReply { granted: true }), []);
    assert_eq!(server.raft.role(), Role::Candidate);
    server.receive(now, 2, 2, RaftBody::VoteReply { granted: true });
    assert_eq!(server.raft.role(), Role::Candidate, "its own vote does not count yet");
    let asked = server.sync(now);
    assert_eq!(server.raft.role(), Role::Leader);
    let asks = |(_, message): &&(NodeId, RaftMessage)| matches!(message.body, RaftBody::VoteRequest { .. });
    assert_eq!(asked.iter().filter(asks).count(), 2);
}

#[test]
fn the_leaders_own_disk_is_one_vote() {
    let mut server = server();
    let (now, _) = server.elect(&[2]);
    server.receive(now, 2, 2, RaftBody::AppendAccepted { match_index: LogIndex(2) });
    server.raft.propose(now, "x".into()).unwrap();
    server.drain();
    server.receive(now, 2, 2, RaftBody::AppendAccepted { match_index: LogIndex(3) });
    assert_eq!(server.raft.commit_index(), LogIndex(2), "one of three has it on disk");
    server.sync(now);
    assert_eq!(server.raft.commit_index(), LogIndex(3));

    server.raft.propose(now, "y".into()).unwrap();
    server.drain();
    for from in [2, 3] {
        server.receive(now, from, 2, RaftBody::AppendAccepted { match_index: LogIndex(4) });
    }
    assert_eq!(server.raft.commit_index(), LogIndex(4), "two others are a majority");
}

#[test]
fn what_was_cut_off_before_its_write_was_done_is_not_durable() {
    let mut server = server();
    let old = log(&configuration(&[], &[]), &[1, 2, 2]);
    let new = log(&configuration(&[], &[]), &[1, 3]);
    server.receive(at(1), 2, 2, append(1, 1, &old[1..], 0));
    server.receive(at(2), 3, 3, append(1, 1, &new[1..], 0));
    assert_eq!(server.unsynced[1].entries, new[1..], "everything from there on is replaced");
    server.raft.handle_persisted(at(3), 1);
    server.drain();
    // Elected now, with its own copy of the second entry not on disk, it must not count it.
    let now = server.raft.deadline().unwrap();
    server.raft.handle_timeout(now);
    server.receive(now, 2, 4, RaftBody::PreVoteReply { granted: true });
    server.receive(now, 2, 4, RaftBody::VoteReply { granted: true });
    assert_eq!(server.raft.role(), Role::Candidate);
    server.raft.handle_persisted(now, 2);
    assert_eq!(server.raft.role(), Role::Candidate, "the candidacy is write 3");
    server.sync(now);
    assert_eq!(server.raft.role(), Role::Leader);
}

#[test]
fn while_the_disk_hangs_changes_gather() {
    let mut server = server();
    let (now, _) = server.elect(&[2]);
    for _ in 0..200 {
        server.raft.propose(now, "x".into()).unwrap();
        server.drain();
    }
    assert_eq!(server.unsynced.len(), 64);
    let count = server.unsynced.len();
    let number = server.write(count).unwrap();
    server.raft.handle_persisted(now, number);
    server.drain();
    assert_eq!(server.unsynced.len(), 1);
    assert_eq!(server.unsynced[0].entries.len(), 200 - 64);
}

#[test]
#[should_panic = "cannot be durable"]
fn a_write_that_was_never_made_cannot_be_durable() {
    server().raft.handle_persisted(at(1), 1);
}

#[test]
fn a_damaged_log_or_config_is_refused() {
    let first = configuration(&[1], &[]);
    let start = |term: u64, entries: Vec<LogEntry>| {
        let hard_state = HardState { term: Term(term), vote: None };
        Raft::new(Config::lan(id(1), 0), hard_state, None, entries, Time::ZERO).err()
    };
    assert_eq!(start(3, log(&first, &[1, 2, 3])), None);
    assert!(matches!(start(2, log(&first, &[1, 2, 3])), Some(StartError::Log(_))), "the term on disk is older");
    assert!(matches!(start(9, log(&first, &[1, 3, 2])), Some(StartError::Log(_))));
    assert!(matches!(start(9, log(&first, &[1, 2, 3])[1..].to_vec()), Some(StartError::Log(_))));
    let config = Config { heartbeat_interval: Duration::ZERO, ..Config::lan(id(1), 0) };
    assert!(matches!(Raft::new(config, HardState::default(), None, vec![], Time::ZERO), Err(StartError::Config(_))));
}
