use super::*;
use crate::{Change, ChangeError};

fn add(n: u8, voter: bool) -> Change {
    Change::Add { id: id(n), peer: peer(voter) }
}

fn remove(n: u8) -> Change {
    Change::Remove { id: id(n) }
}

#[test]
fn one_server_grows_to_three_and_shrinks_again() {
    let mut net = Net::founded(&[1], &[]);
    net.run(5);
    for n in [2, 3] {
        net.servers.insert(n, Server::start(n, net.time(), HardState::default(), vec![]));
        for voter in [false, true] {
            let now = net.time();
            net.raft(1).change_configuration(now, add(n, voter)).unwrap();
            net.run(100);
            let (last, progress) = (net.raft(1).last_index(), net.raft(1).progress(id(n)).unwrap());
            assert_eq!(progress.match_index, last);
            assert_eq!(net.raft(n).role(), if voter { Role::Follower } else { Role::Learner });
        }
    }
    net.run(1000);
    assert_eq!(net.raft(1).role(), Role::Leader);
    let three = configuration(&[1, 2, 3], &[]);
    assert!(net.servers.values().all(|server| *server.raft.configuration() == three));

    // A leader can take itself out.
    let now = net.time();
    let index = net.raft(1).change_configuration(now, remove(1)).unwrap();
    assert_eq!(net.raft(1).role(), Role::Leader, "until it is done");
    net.run(5);
    assert_eq!(net.raft(1).role(), Role::Learner);
    assert!(net.raft(1).commit_index() >= index);
    assert_eq!(net.raft(1).deadline(), None);
    let leader = net.leader();
    assert_ne!(leader, 1);
    net.propose(leader);
    net.run(100);
    let now = net.time();
    let other = if leader == 2 { 3 } else { 2 };
    net.raft(leader).change_configuration(now, remove(other)).unwrap();
    net.run(100);
    net.servers.remove(&other);
    let last = net.propose(leader);
    net.run(5);
    assert_eq!(net.raft(leader).commit_index(), last, "alone again");
}

#[test]
fn changes_are_refused_with_the_reason() {
    let mut server = Server::with_log(1, &configuration(&[1, 2, 3], &[4]), &[1]);
    let follower = server.raft.change_configuration(at(1), add(5, false));
    assert!(matches!(follower, Err(ChangeError::NotLeader(_))));
    let (now, _) = server.elect(&[2]);
    assert_eq!(server.raft.change_configuration(now, add(5, false)), Err(ChangeError::TooEarly));
    server.receive(now, 2, 2, RaftBody::AppendAccepted { match_index: LogIndex(2) });
    for nothing in [add(4, false), add(2, true), remove(9)] {
        assert_eq!(server.raft.change_configuration(now, nothing), Err(ChangeError::NoChange));
    }
    assert_eq!(server.raft.change_configuration(now, add(4, true)), Ok(LogIndex(3)));
    let second = server.raft.change_configuration(now, add(5, true));
    assert_eq!(second, Err(ChangeError::InProgress(LogIndex(3))));
    server.sync(now);
    for from in [2, 3] {
        server.receive(now, from, 2, RaftBody::AppendAccepted { match_index: LogIndex(3) });
    }
    for n in 5..=7 {
        let index = server.raft.change_configuration(now, add(n, true)).unwrap();
        server.sync(now);
        for from in [2, 3, 4, 5] {
            server.receive(now, from, 2, RaftBody::AppendAccepted { match_index: index });
        }
        assert_eq!(server.raft.commit_index(), index);
    }
    assert_eq!(server.raft.change_configuration(now, add(8, true)), Err(ChangeError::TooManyVoters(7)));

    let mut alone = Server::with_log(1, &configuration(&[1], &[2]), &[1]);
    alone.sync(Time::ZERO);
    for last in [remove(1), add(1, false)] {
        assert_eq!(alone.raft.change_configuration(at(1), last), Err(ChangeError::LastVoter(id(1))));
    }
}

#[test]
fn a_configuration_is_in_force_when_it_is_appended() {
    let mut server = Server::with_log(1, &configuration(&[1, 2], &[]), &[1]);
    let (now, _) = server.elect(&[2]);
    server.receive(now, 2, 2, RaftBody::AppendAccepted { match_index: LogIndex(2) });
    server.raft.change_configuration(now, add(3, true)).unwrap();
    assert_eq!(*server.raft.configuration(), configuration(&[1, 2, 3], &[]));
    let sent = server.sync(now);
    assert!(sent.iter().any(|(to, _)| *to == id(3)), "the new one is served at once");
    assert_eq!(server.raft.commit_index(), LogIndex(2), "and one of three is no majority");
    server.receive(now, 3, 2, RaftBody::AppendAccepted { match_index: LogIndex(3) });
    assert_eq!(server.raft.commit_index(), LogIndex(3));
}

#[test]
fn a_configuration_that_is_cut_off_was_never_there() {
    let before = configuration(&[1, 2, 3], &[]);
    let mut server = Server::with_log(1, &before, &[1]);
    let append = |previous: u64, previous_term: u64, term: u64, payload| RaftBody::Append {
        previous_index: LogIndex(previous),
        previous_term: Term(previous_term),
        entries: vec![LogEntry { term: Term(term), index: LogIndex(previous + 1), payload }],
        commit_index: LogIndex(1),
    };
    let grown = configuration(&[1, 2, 3, 4], &[]);
    server.receive(at(1), 2, 2, append(1, 1, 2, Payload::Configuration(grown.clone())));
    assert_eq!(*server.raft.configuration(), grown);
    let without = configuration(&[2, 3, 4], &[]);
    server.receive(at(1), 2, 2, append(2, 2, 2, Payload::Configuration(without.clone())));
    assert_eq!(*server.raft.configuration(), without);
    assert_eq!(server.raft.role(), Role::Learner);

    server.receive(at(2), 3, 3, append(1, 1, 3, Payload::Empty));
    assert_eq!(*server.raft.configuration(), before);
    assert_eq!(server.raft.role(), Role::Follower);
    server.sync(at(2));
    server.restart(at(3));
    assert_eq!(*server.raft.configuration(), before, "on disk, too");
    // An election needs two of three again, not three of four.
    server.elect(&[3]);
}

#[test]
fn whoever_is_removed_may_still_be_needed() {
    // Server 1 took itself out, crashed before server 2 heard of it, and only server 1 has the longer log.
    let mut entries = log(&configuration(&[1, 2], &[]), &[1, 2]);
    entries.push(LogEntry {
        term: Term(2),
        index: LogIndex(3),
        payload: Payload::Configuration(configuration(&[2], &[])),
    });
    let hard_state = HardState { term: Term(2), vote: None };
    let one = Server::start(1, Time::ZERO, hard_state, entries);
    let two = Server::with_log(2, &configuration(&[1, 2], &[]), &[1, 2]);
    let mut net = Net::of([(1, one), (2, two)].into());
    net.run(3000);
    assert_eq!(net.raft(2).role(), Role::Leader);
    assert_eq!(*net.raft(2).configuration(), configuration(&[2], &[]));
    assert_eq!(net.raft(1).role(), Role::Learner, "elected once more, it finished its removal");
    assert_eq!(net.raft(1).deadline(), None);
    let last = net.propose(2);
    net.run(10);
    assert_eq!(net.raft(2).commit_index(), last);
}

#[test]
fn a_last_voter_that_once_had_others_waits_for_their_leases() {
    let mut entries = log(&configuration(&[1, 2], &[]), &[1, 2]);
    entries.push(LogEntry {
        term: Term(2),
        index: LogIndex(3),
        payload: Payload::Configuration(configuration(&[1], &[2])),
    });
    let hard_state = HardState { term: Term(2), vote: None };
    let server = Server::start(1, at(1000), hard_state, entries);
    assert_eq!(server.raft.role(), Role::Follower);
    assert!(server.raft.deadline().unwrap() >= at(1300));
}
