//! When the leader goes: handed over, lost for ever.

use super::*;
use crate::{Change, NotLeader, RecoverError, TransferError};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// A leader of term 2 with two others that have everything.
fn leader() -> (Server, Time) {
    let mut server = Server::with_log(1, &configuration(&[1, 2, 3], &[4]), &[1]);
    let (now, _) = server.elect(&[2]);
    for from in [2, 3, 4] {
        server.receive(now, from, 2, RaftBody::AppendAccepted { match_index: LogIndex(2) });
        server.receive(now, from, 2, RaftBody::HeartbeatReply { round: 1 });
    }
    assert!(server.raft.holds_lease(now));
    (server, now)
}

fn told(messages: &[(NodeId, RaftMessage)]) -> Vec<NodeId> {
    messages.iter().filter(|(_, message)| message.body == RaftBody::TimeoutNow).map(|(to, _)| *to).collect()
}

#[test]
fn the_leadership_is_handed_over_within_a_few_round_trips() {
    let mut net = Net::founded(&[1, 2, 3], &[]);
    let leader = net.leader();
    let to = net.others(leader)[1];
    for _ in 0..100 {
        net.propose(leader);
    }
    let (now, term) = (net.time(), net.raft(leader).term());
    net.raft(leader).transfer_leadership(now, Some(id(to))).unwrap();
    assert_eq!(net.raft(leader).propose(now, "x".into()), Err(NotLeader { leader: None }), "in a moment");
    net.run(10);
    assert_eq!(net.raft(to).role(), Role::Leader);
    assert_eq!(net.raft(to).term(), term.next());
    assert_eq!(net.raft(leader).leader(), Some(id(to)));
    assert_eq!(net.raft(leader).role(), Role::Follower);
    let expected = net.servers[&to].application;
    assert_eq!(expected.index, LogIndex(103), "the first configuration, two no-ops, and everything that was proposed");
    net.run(100);
    assert!(net.servers.values().all(|server| server.application == expected));
}

#[test]
fn without_a_name_it_goes_to_who_has_most() {
    let (mut server, now) = leader();
    server.raft.propose(now, "x".into()).unwrap();
    server.sync(now);
    server.receive(now, 3, 2, RaftBody::AppendAccepted { match_index: LogIndex(3) });
    server.raft.transfer_leadership(now, None).unwrap();
    assert_eq!(told(&server.drain()), [id(3)]);
    assert_eq!(server.raft.counters().transfers, 1);
}

#[test]
fn it_waits_for_the_other_ones_log_and_asks_again() {
    let (mut server, now) = leader();
    server.raft.propose(now, "x".into()).unwrap();
    server.raft.transfer_leadership(now, Some(id(2))).unwrap();
    assert!(!server.raft.holds_lease(now), "given up before anybody is told");
    assert_eq!(told(&server.sync(now)), [], "it could not be elected");
    assert_eq!(told(&server.receive(now, 3, 2, RaftBody::AppendAccepted { match_index: LogIndex(3) })), []);
    assert_eq!(told(&server.receive(now, 2, 2, RaftBody::AppendAccepted { match_index: LogIndex(3) })), [id(2)]);
    let round = now + MS(60);
    server.raft.handle_timeout(round);
    assert_eq!(told(&server.drain()), [id(2)], "the first may be lost");
    // Reads go on: they are confirmed by rounds, which an election would end.
    server.raft.read_index(round, 5).unwrap();
    server.drain();
    let answer = RaftBody::HeartbeatReply { round: 3 };
    server.receive(round, 3, 2, answer);
    assert_eq!(server.events.last(), Some(&Output::ReadReady { context: 5, index: LogIndex(3) }));
}

#[test]
fn a_transfer_that_fails_costs_an_election_timeout_and_the_lease() {
    let (mut server, now) = leader();
    server.raft.transfer_leadership(now, Some(id(2))).unwrap();
    let again = server.raft.transfer_leadership(now, Some(id(3)));
    assert_eq!(again, Err(TransferError::InProgress(id(2))));
    server.drain();
    for (millis, round) in [(60, 2), (120, 3), (180, 4), (240, 5), (299, 6)] {
        server.raft.handle_timeout(now + MS(millis));
        server.drain();
        server.receive(now + MS(millis), 3, 2, RaftBody::HeartbeatReply { round });
        assert!(server.raft.propose(now + MS(millis), "x".into()).is_err(), "{millis}");
    }
    assert!(server.raft.deadline().unwrap() <= now + MS(300));
    server.raft.handle_timeout(now + MS(300));
    assert_eq!(server.raft.role(), Role::Leader);
    server.raft.propose(now + MS(300), "x".into()).unwrap();
    server.sync(now + MS(300));
    server.receive(now + MS(301), 3, 2, RaftBody::HeartbeatReply { round: 6 });
    assert!(!server.raft.holds_lease(now + MS(301)), "what it told the other one may still be on the way");

    // If nobody was told anything yet, nothing can be on the way.
    let (mut server, now) = leader();
    server.raft.propose(now, "x".into()).unwrap();
    server.sync(now);
    server.raft.transfer_leadership(now, Some(id(2))).unwrap();
    server.raft.handle_timeout(now + MS(250));
    server.drain();
    server.receive(now + MS(299), 3, 2, RaftBody::HeartbeatReply { round: 2 });
    server.raft.handle_timeout(now + MS(300));
    server.receive(now + MS(301), 3, 2, RaftBody::HeartbeatReply { round: 2 });
    assert!(server.raft.holds_lease(now + MS(301)));
}

#[test]
fn transfers_are_refused_with_the_reason() {
    let (mut server, now) = leader();
    let mut refused = |now, to| server.raft.transfer_leadership(now, to).unwrap_err();
    assert_eq!(refused(now, Some(id(1))), TransferError::LeadsAlready);
    for no_voter in [4, 9] {
        assert_eq!(refused(now, Some(id(no_voter))), TransferError::NoVoter(id(no_voter)));
    }
    assert_eq!(refused(now + MS(300), Some(id(2))), TransferError::NotHeard(id(2)));
    assert_eq!(refused(now + MS(300), None), TransferError::NobodyElse);
    let mut alone = Server::with_log(1, &configuration(&[1], &[2]), &[1]);
    alone.sync(Time::ZERO);
    assert_eq!(alone.raft.transfer_leadership(at(1), None), Err(TransferError::NobodyElse));
    let mut follower = Server::with_log(1, &configuration(&[1, 2], &[]), &[1]);
    let not_leader = TransferError::NotLeader(NotLeader { leader: None });
    assert_eq!(follower.raft.transfer_leadership(at(1), None), Err(not_leader));
}

#[test]
fn nothing_is_changed_while_handing_over() {
    let (mut server, now) = leader();
    server.raft.transfer_leadership(now, Some(id(2))).unwrap();
    let change = server.raft.change_configuration(now, Change::Remove { id: id(4) });
    assert!(change.is_err());
    assert_eq!(server.raft.last_index(), LogIndex(2));
}

#[test]
fn only_the_leader_can_ask_for_an_election_and_only_a_voter_stands() {
    let follower = |n: u8| {
        let mut server = Server::with_log(n, &configuration(&[1, 2, 3], &[4]), &[1]);
        server.receive(at(1000), 2, 2, RaftBody::Heartbeat { round: 1, commit_index: LogIndex(1) });
        server
    };
    let mut server = follower(1);
    server.receive(at(1001), 3, 2, RaftBody::TimeoutNow);
    assert_eq!((server.raft.role(), server.raft.counters().contradictory), (Role::Follower, 1));
    server.receive(at(1001), 2, 1, RaftBody::TimeoutNow);
    assert_eq!((server.raft.role(), server.raft.counters().stale), (Role::Follower, 1));
    server.raft.handle_message(at(1001), id(2), message(2, RaftBody::TimeoutNow));
    assert_eq!((server.raft.role(), server.raft.term()), (Role::Candidate, Term(3)));
    let asks = RaftBody::VoteRequest { last_index: LogIndex(1), last_term: Term(1), transfer: true };
    let to_both = [(id(2), message(3, asks.clone())), (id(3), message(3, asks))];
    assert_eq!(server.drain(), [], "not before the vote is on disk");
    assert_eq!(server.sync(at(1001)), to_both);
    // The next election is one like any other.
    let later = server.raft.deadline().unwrap() + MS(1000);
    server.raft.handle_timeout(later);
    assert_eq!(server.raft.role(), Role::PreCandidate);

    let mut learner = follower(4);
    learner.receive(at(1001), 2, 2, RaftBody::TimeoutNow);
    assert_eq!((learner.raft.role(), learner.raft.term()), (Role::Learner, Term(2)));
}

#[test]
fn an_election_that_the_leader_asked_for_is_not_held_up() {
    let mut server = Server::with_log(1, &configuration(&[1, 2, 3], &[]), &[1]);
    server.receive(at(1000), 2, 2, RaftBody::Heartbeat { round: 1, commit_index: LogIndex(1) });
    let ask = |transfer| RaftBody::VoteRequest { last_index: LogIndex(1), last_term: Term(1), transfer };
    assert_eq!(server.receive(at(1001), 3, 3, ask(false)), []);
    assert_eq!(server.sync(at(1001)), []);
    server.raft.handle_message(at(1001), id(3), message(3, ask(true)));
    assert_eq!(server.sync(at(1001)), [(id(3), message(3, RaftBody::VoteReply { granted: true }))]);
}

// ---- a lost quorum ----

#[test]
fn the_last_survivor_goes_on_alone_when_told() {
    let mut net = Net::founded(&[1, 2, 3, 4], &[5]);
    let leader = net.leader();
    for _ in 0..10 {
        net.propose(leader);
    }
    net.run(100);
    let now = net.time();
    let survivor = net.others(leader)[0];
    assert_eq!(net.raft(leader).recover(now), Err(RecoverError::LeaderHeard(id(leader))));
    assert_eq!(net.raft(survivor).recover(now), Err(RecoverError::LeaderHeard(id(leader))));
    let before = net.server(survivor).application;
    let others = net.others(survivor);
    net.servers.retain(|n, _| *n == survivor);
    net.run(2900);
    let now = net.time();
    assert!(net.raft(survivor).recover(now).is_err(), "three seconds are asked for");
    net.run(100);
    let (now, term) = (net.time(), net.raft(survivor).term());
    let index = net.raft(survivor).recover(now).unwrap();
    assert_eq!(index, before.index.next());
    assert_ne!(net.raft(survivor).role(), Role::Leader, "not before it is on disk");
    net.run(1);
    let raft = net.raft(survivor);
    assert_eq!(raft.role(), Role::Leader);
    assert!(raft.term() > term);
    assert_eq!(*raft.configuration(), configuration(&[survivor], &[]));
    assert!(raft.commit_index() > index);
    assert_eq!(net.server(survivor).committed[..12].len(), 12, "nothing that it had is gone");
    // It grows again, and survives a restart alone.
    let now = net.time();
    net.server(survivor).restart(now);
    net.run(700);
    assert_eq!(net.raft(survivor).role(), Role::Leader);
    net.servers.insert(9, Server::start(9, net.time(), HardState::default(), vec![]));
    let now = net.time();
    net.raft(survivor).change_configuration(now, Change::Add { id: id(9), peer: peer(true) }).unwrap();
    net.run(100);
    assert_eq!(net.servers[&9].application, net.servers[&survivor].application);
    assert!(!others.contains(&9));
}

#[test]
fn a_quorum_is_not_given_up_without_need() {
    let recover = |mut server: Server, millis| server.raft.recover(at(millis));
    let three = configuration(&[1, 2, 3], &[]);
    assert_eq!(recover(Server::with_log(1, &three, &[1]), 3_299), Err(RecoverError::TooEarly), "it just started");
    assert_eq!(recover(Server::with_log(1, &three, &[1]), 3_300), Ok(LogIndex(2)));
    assert_eq!(recover(Server::with_log(9, &three, &[1]), 60_000), Err(RecoverError::NoMember));
    assert_eq!(
        recover(Server::start(1, Time::ZERO, HardState::default(), vec![]), 60_000),
        Err(RecoverError::NoMember)
    );
    let mut entries = log(&three, &[1, 1]);
    entries[1].payload = Payload::Configuration(configuration(&[1], &[2, 3]));
    let alone = Server::start(1, Time::ZERO, HardState { term: Term(1), vote: None }, entries);
    assert_eq!(recover(alone, 60_000), Err(RecoverError::NothingLost));
    // A learner has the log, too.
    let learner = Server::with_log(4, &configuration(&[1, 2, 3], &[4]), &[1]);
    assert_eq!(recover(learner, 60_000), Ok(LogIndex(2)));
}
