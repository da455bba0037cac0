use super::*;

const VOTE: RaftBody = RaftBody::VoteRequest { last_index: LogIndex(9), last_term: Term(9), transfer: false };
const PRE_VOTE: RaftBody = RaftBody::PreVoteRequest { last_index: LogIndex(9), last_term: Term(9) };

#[test]
fn a_single_voter_elects_itself_at_once() {
    let mut server = Server::start(1, Time::ZERO, HardState::default(), vec![]);
    server.raft.bootstrap(Time::ZERO, configuration(&[1], &[])).unwrap();
    assert_eq!(server.raft.role(), Role::Candidate, "its own vote is not on disk yet");
    server.sync(Time::ZERO);
    assert_eq!(server.raft.role(), Role::Leader);
    assert_eq!(server.raft.commit_index(), LogIndex(2));
    assert!(server.raft.holds_lease(at(1_000_000)), "nobody else could be elected");
    assert_eq!(server.raft.deadline(), None, "nothing will ever be due");
    assert_eq!(
        server.events,
        [Output::BecameLeader { term: Term(2) }, Output::LeaderChanged { leader: Some(id(1)), term: Term(2) },]
    );
    server.restart(at(5));
    server.sync(at(5));
    assert_eq!((server.raft.role(), server.raft.term()), (Role::Leader, Term(3)));
}

#[test]
fn one_to_five_voters_elect_one_leader() {
    for count in 1..=5 {
        let voters: Vec<u8> = (1..=count).collect();
        let mut net = Net::founded(&voters, &[]);
        let leader = net.leader();
        net.run(100);
        for (n, server) in &net.servers {
            assert_eq!(server.raft.leader(), Some(id(leader)), "{count}: {n}");
            assert_eq!(server.raft.role(), if *n == leader { Role::Leader } else { Role::Follower });
            assert!(server.raft.last_contact(at(net.now)).unwrap() <= Duration::from_millis(61));
        }
        assert!(net.now < 1500, "{count} voters took {} ms", net.now);
    }
}

#[test]
fn a_killed_leader_is_replaced_within_a_second() {
    for seed in 0..20 {
        let mut net = Net::founded(&[1, 2, 3], &[]);
        let leader = net.leader();
        net.run(100 + seed * 7);
        net.servers.remove(&leader);
        let killed = net.now;
        net.leader();
        assert!(net.now - killed < 1000, "took {} ms", net.now - killed);
    }
}

#[test]
fn whoever_comes_back_from_a_partition_disturbs_nobody() {
    let mut net = Net::founded(&[1, 2, 3], &[]);
    let leader = net.leader();
    let term = net.raft(leader).term();
    let away = net.others(leader)[0];
    net.isolate(away);
    net.run(5000);
    assert_eq!(net.raft(away).term(), term, "it spent no term");
    assert_eq!(net.raft(away).role(), Role::PreCandidate);
    net.cut.clear();
    net.run(1000);
    assert_eq!(net.raft(leader).role(), Role::Leader);
    assert_eq!(net.raft(away).leader(), Some(id(leader)));
    assert!(net.servers.values().all(|server| server.raft.term() == term));
}

#[test]
fn a_server_stuck_in_a_later_term_gets_back_in() {
    let mut net = Net::founded(&[1, 2, 3], &[]);
    let leader = net.leader();
    let away = net.others(leader)[0];
    net.isolate(away);
    let (now, term) = (net.time(), net.raft(leader).term());
    // As if it had been elected by a majority's pre-votes just before it was cut off.
    net.raft(away).handle_message(now, id(9), message(term.0 + 1, RaftBody::HeartbeatReply { round: 0 }));
    assert_eq!(net.raft(away).term(), term.next());
    net.run(700);
    net.cut.clear();
    net.run(2000);
    let terms: BTreeSet<Term> = net.servers.values().map(|server| server.raft.term()).collect();
    assert_eq!(terms.len(), 1);
    let leader = net.leader();
    assert_eq!(net.raft(away).leader(), Some(id(leader)));
}

#[test]
fn a_leader_without_a_majority_steps_down_in_time() {
    let mut net = Net::founded(&[1, 2, 3], &[]);
    let leader = net.leader();
    net.run(500);
    net.isolate(leader);
    net.propose(leader);
    let (term, timeout) = (net.raft(leader).term(), 301);
    net.run(timeout);
    assert_eq!(net.raft(leader).role(), Role::Follower);
    assert_eq!(net.raft(leader).counters().quorum_lost, 1);
    assert_eq!(net.raft(leader).leader(), None);
    assert!(net.server(leader).events.contains(&Output::LostLeadership { term }));
}

#[test]
fn a_leader_that_hears_one_of_two_stays() {
    let mut net = Net::founded(&[1, 2, 3], &[]);
    let leader = net.leader();
    let away = net.others(leader)[0];
    net.isolate(away);
    net.run(3000);
    assert_eq!(net.raft(leader).role(), Role::Leader);
}

#[test]
fn a_learner_is_no_majority() {
    let mut net = Net::founded(&[1, 2], &[3, 4, 5]);
    let leader = net.leader();
    let other = net.others(leader)[0];
    net.isolate(other);
    net.run(400);
    assert_eq!(net.raft(leader).role(), Role::Follower);
    assert_eq!(net.raft(5).role(), Role::Learner);
    assert_eq!(net.raft(5).deadline(), None, "a learner waits for ever");
}

#[test]
fn votes_are_ignored_while_a_leader_is_heard() {
    let mut server = Server::with_log(1, &configuration(&[1, 2, 3], &[]), &[1]);
    server.receive(at(1000), 2, 5, RaftBody::Heartbeat { round: 1, commit_index: LogIndex(0) });
    for body in [VOTE, PRE_VOTE] {
        assert_eq!(server.receive(at(1299), 3, 6, body), []);
    }
    assert_eq!(server.raft.term(), Term(5), "nor is the later term taken over");
    assert_eq!(server.raft.counters().votes_ignored, 2);
    let reply = server.receive(at(1300), 3, 6, PRE_VOTE);
    assert_eq!(reply, [(id(3), message(6, RaftBody::PreVoteReply { granted: true }))]);
    assert_eq!(server.raft.term(), Term(5), "a pre-vote changes nothing");
    server.receive(at(1300), 3, 6, VOTE);
    assert_eq!(server.raft.term(), Term(6));
}

#[test]
fn what_was_promised_to_a_leader_outlasts_its_term_and_a_restart() {
    let mut server = Server::with_log(1, &configuration(&[1, 2, 3], &[]), &[1]);
    server.receive(at(1000), 2, 5, RaftBody::Heartbeat { round: 1, commit_index: LogIndex(0) });
    // A later term is learnt on the way; the promise was about time, not about a term.
    server.receive(at(1010), 3, 6, RaftBody::HeartbeatReply { round: 0 });
    assert_eq!(server.receive(at(1020), 3, 6, VOTE), []);
    server.sync(at(1020));
    server.restart(at(1030));
    assert_eq!(server.receive(at(1040), 3, 6, VOTE), []);
    assert_eq!(server.receive(at(1329), 3, 7, VOTE), []);
    server.receive(at(1330), 3, 7, VOTE);
    assert_eq!(server.sync(at(1331)), [(id(3), message(7, RaftBody::VoteReply { granted: true }))]);
}

#[test]
fn one_vote_in_a_term_and_only_for_a_log_as_good_as_ones_own() {
    let check = |last_index, last_term, granted| {
        let mut server = Server::with_log(1, &configuration(&[1, 2, 3], &[]), &[1, 2, 2]);
        let (last_index, last_term) = (LogIndex(last_index), Term(last_term));
        let pre = server.receive(at(400), 2, 3, RaftBody::PreVoteRequest { last_index, last_term });
        let pre_term = if granted { 3 } else { 2 };
        assert_eq!(pre, [(id(2), message(pre_term, RaftBody::PreVoteReply { granted }))]);
        server.raft.handle_message(
            at(400),
            id(2),
            message(3, RaftBody::VoteRequest { last_index, last_term, transfer: false }),
        );
        let reply = server.sync(at(400));
        assert_eq!(reply, [(id(2), message(3, RaftBody::VoteReply { granted }))], "{last_index} {last_term}");
        server
    };
    check(3, 1, false);
    check(2, 2, false);
    check(9, 1, false);
    check(1, 3, true);
    let mut server = check(3, 2, true);
    let refused = [(id(3), message(3, RaftBody::VoteReply { granted: false }))];
    assert_eq!(server.receive(at(401), 3, 3, VOTE), refused, "the vote is given");
    server.restart(at(402));
    assert_eq!(server.receive(at(800), 3, 3, VOTE), refused, "and remembered");
    server.receive(
        at(801),
        2,
        3,
        RaftBody::VoteRequest { last_index: LogIndex(3), last_term: Term(2), transfer: false },
    );
    assert_eq!(server.sync(at(801)), [], "nothing new had to be written");
    assert_eq!(server.raft.term(), Term(3));
}

#[test]
fn unanswered_requests_are_repeated() {
    let mut server = Server::with_log(1, &configuration(&[1, 2, 3], &[]), &[1]);
    let start = server.raft.deadline().unwrap();
    server.raft.handle_timeout(start);
    assert_eq!(server.drain().len(), 2);
    let again = server.raft.deadline().unwrap();
    assert_eq!(again.since(start), Duration::from_millis(60));
    server.receive(again, 2, 1, RaftBody::PreVoteReply { granted: false });
    server.raft.handle_timeout(again);
    let to: Vec<NodeId> = server.drain().into_iter().map(|(to, _)| to).collect();
    assert_eq!(to, [id(3)], "only who has not answered");
    server.receive(again, 3, 1, RaftBody::PreVoteReply { granted: false });
    assert_eq!(server.raft.role(), Role::Follower, "refused by a majority");
}

#[test]
fn only_voters_elect() {
    let mut server = Server::with_log(1, &configuration(&[1, 2, 3], &[4]), &[1]);
    let now = server.raft.deadline().unwrap();
    server.raft.handle_timeout(now);
    for stranger in [4, 5, 6] {
        server.receive(now, stranger, 2, RaftBody::PreVoteReply { granted: true });
    }
    assert_eq!(server.raft.role(), Role::PreCandidate);
    server.receive(now, 2, 2, RaftBody::PreVoteReply { granted: true });
    assert_eq!(server.raft.role(), Role::Candidate);
    server.sync(now);
    server.receive(now, 4, 2, RaftBody::VoteReply { granted: true });
    assert_eq!(server.raft.role(), Role::Candidate);
    server.receive(now, 3, 2, RaftBody::VoteReply { granted: true });
    assert_eq!(server.raft.role(), Role::Leader);
}

#[test]
fn founding_happens_once() {
    let mut server = Server::start(1, Time::ZERO, HardState::default(), vec![]);
    assert_eq!(server.raft.deadline(), None, "without a configuration nobody stands");
    let three = configuration(&[1, 2, 3], &[]);
    server.raft.bootstrap(Time::ZERO, three.clone()).unwrap();
    assert_eq!(server.raft.bootstrap(Time::ZERO, three.clone()), Err(crate::AlreadyBootstrapped));
    let mut met = Server::start(2, Time::ZERO, HardState::default(), vec![]);
    met.receive(at(1), 1, 4, RaftBody::Heartbeat { round: 1, commit_index: LogIndex(0) });
    assert_eq!(met.raft.bootstrap(at(2), three), Err(crate::AlreadyBootstrapped));
}

#[test]
fn waits_are_drawn_between_once_and_twice_the_timeout() {
    let mut seen = BTreeSet::new();
    for n in 1..=50 {
        let server = Server::with_log(n, &configuration(&[n, 99], &[]), &[1]);
        let wait = server.raft.deadline().unwrap().since(Time::ZERO);
        assert!((Duration::from_millis(300)..Duration::from_millis(600)).contains(&wait), "{wait:?}");
        seen.insert(wait.as_millis() / 30);
    }
    assert!(seen.len() >= 8, "spread over the range: {seen:?}");
}
