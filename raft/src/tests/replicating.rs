use super::*;
use crate::NotLeader;

#[test]
fn what_is_proposed_reaches_everybody() {
    let mut net = Net::founded(&[1, 2, 3, 4, 5], &[6]);
    let leader = net.leader();
    let last = (0..100).map(|_| net.propose(leader)).last().unwrap();
    net.run(10);
    for (n, server) in &net.servers {
        assert_eq!(server.raft.commit_index(), last, "{n}");
        assert_eq!(server.committed, server.raft.entries(), "{n}");
        assert_eq!(server.entries, server.raft.entries(), "{n}");
    }
    let other = net.others(leader)[0];
    let now = net.time();
    assert_eq!(net.raft(other).propose(now, "x".into()), Err(NotLeader { leader: Some(id(leader)) }));
}

#[test]
fn proposals_between_two_polls_travel_together_and_before_the_write() {
    let mut server = Server::with_log(1, &configuration(&[1, 2, 3], &[]), &[1]);
    let (now, _) = server.elect(&[2]);
    server.receive(now, 2, 2, RaftBody::AppendAccepted { match_index: LogIndex(2) });
    for _ in 0..3 {
        server.raft.propose(now, "x".into()).unwrap();
    }
    let Some(Output::Send { to, message }) = server.raft.poll() else { panic!("an append leaves first") };
    assert_eq!(to, id(2));
    let RaftBody::Append { previous_index: LogIndex(2), entries, .. } = message.body else { panic!("{message:?}") };
    assert_eq!(entries.len(), 3);
    let Some(Output::Persist(persist)) = server.raft.poll() else { panic!("then the write") };
    assert_eq!(persist.entries, entries);
    assert_eq!(server.raft.poll(), None, "the other one is being probed");
}

#[test]
fn a_commit_index_travels_with_the_next_append_or_soon_alone() {
    let mut server = Server::with_log(1, &configuration(&[1, 2, 3], &[]), &[1]);
    let (now, _) = server.elect(&[2]);
    let accepted = |index| RaftBody::AppendAccepted { match_index: LogIndex(index) };
    let told = |messages: Vec<(NodeId, RaftMessage)>| {
        let append = |(to, message): (NodeId, RaftMessage)| match message.body {
            RaftBody::Append { entries, commit_index, .. } if to == id(2) => Some((entries.len(), commit_index.0)),
            _ => None,
        };
        messages.into_iter().filter_map(append).collect::<Vec<_>>()
    };
    assert_eq!(told(server.receive(now, 2, 2, accepted(2))), [], "the no-op is committed, and that can wait");
    server.raft.propose(now, "x".into()).unwrap();
    assert_eq!(told(server.sync(now)), [(1, 2)], "it goes with what is written next");
    assert_eq!(told(server.receive(now, 2, 2, accepted(3))), []);
    let due = server.raft.deadline().unwrap();
    assert!(due < now + server.config.heartbeat_interval, "but not as long as until the next heartbeat");
    server.raft.handle_timeout(due);
    assert_eq!(told(server.drain()), [(0, 3)]);
    assert!(server.raft.deadline().unwrap() > due, "once");
}

/// Dissertation, figure 3.7 (figure 8 of the paper).
#[test]
fn an_entry_of_an_earlier_term_is_not_committed_by_counting() {
    let mut server = Server::with_log(1, &configuration(&[1, 2, 3, 4, 5], &[]), &[1, 2]);
    let (now, _) = server.elect(&[2, 3]);
    assert_eq!(server.raft.last_index(), LogIndex(3), "the no-op");
    for from in 2..=5 {
        server.receive(now, from, 3, RaftBody::AppendAccepted { match_index: LogIndex(2) });
    }
    assert_eq!(server.raft.commit_index(), LogIndex(0), "on every server, and still not safe");
    server.receive(now, 2, 3, RaftBody::AppendAccepted { match_index: LogIndex(3) });
    assert_eq!(server.raft.commit_index(), LogIndex(0));
    server.receive(now, 3, 3, RaftBody::AppendAccepted { match_index: LogIndex(3) });
    assert_eq!(server.raft.commit_index(), LogIndex(3));
    assert_eq!(server.committed.len(), 3);
}

#[test]
fn a_learner_does_not_commit() {
    let mut server = Server::with_log(1, &configuration(&[1, 2, 3], &[4, 5]), &[1]);
    let (now, _) = server.elect(&[2]);
    for learner in [4, 5, 6] {
        server.receive(now, learner, 2, RaftBody::AppendAccepted { match_index: LogIndex(2) });
    }
    assert_eq!(server.raft.commit_index(), LogIndex(0));
    server.receive(now, 3, 2, RaftBody::AppendAccepted { match_index: LogIndex(2) });
    assert_eq!(server.raft.commit_index(), LogIndex(2));
}

/// Logs that differ are brought together, skipping terms instead of entries (the last example is the one of 100
/// entries that no leader has ever seen).
#[test]
fn conflicts_are_found_in_few_steps() {
    let check = |leader: &[u64], follower: &[u64], rejections| {
        let first = configuration(&[1, 2, 3], &[]);
        let servers = [(1, leader), (2, follower), (3, leader)];
        let mut net = Net::of(servers.into_iter().map(|(n, terms)| (n, Server::with_log(n, &first, terms))).collect());
        // The one with the worse log hears nothing of the election and loses its chance.
        net.isolate(2);
        let elected = net.leader();
        net.cut.clear();
        net.run(1000);
        assert_eq!(net.raft(elected).role(), Role::Leader);
        assert_eq!(net.servers[&2].entries, net.servers[&elected].entries);
        assert!(net.rejections <= rejections, "{leader:?} {follower:?}: {} rejections", net.rejections);
    };
    let long = |terms: &[(u64, usize)]| -> Vec<u64> {
        terms.iter().flat_map(|(term, count)| std::iter::repeat_n(*term, *count)).collect()
    };
    check(&[1, 1, 1], &[1], 1);
    check(&[1, 4, 4], &[1, 1, 1, 1], 2);
    check(&long(&[(1, 1), (4, 500)]), &[1], 1);
    check(&long(&[(1, 10), (6, 10)]), &long(&[(1, 10), (2, 50), (3, 50)]), 2);
    check(&long(&[(1, 5), (3, 50), (6, 50)]), &long(&[(1, 5), (2, 50), (4, 50)]), 3);
    check(&long(&[(1, 10), (7, 1)]), &long(&[(1, 1), (2, 100)]), 3);
}

#[test]
fn a_lost_append_is_noticed() {
    let mut net = Net::founded(&[1, 2, 3], &[]);
    let leader = net.leader();
    net.run(100);
    let others = net.others(leader);
    net.cut.extend(others.iter().map(|other| (leader, *other)));
    net.propose(leader);
    net.run(1);
    net.cut.clear();
    net.run(200);
    let last = net.raft(leader).last_index();
    assert!(net.servers.values().all(|server| server.raft.commit_index() == last));
}

#[test]
fn the_window_is_bounded() {
    let mut server = Server::with_log(1, &configuration(&[1, 2, 3], &[]), &[1]);
    let (now, sent) = server.elect(&[2]);
    let appends = |sent: &[(NodeId, RaftMessage)], to| {
        let size = |(_, message): &(NodeId, RaftMessage)| match &message.body {
            RaftBody::Append { entries, .. } if !entries.is_empty() => Some(entries.len()),
            _ => None,
        };
        sent.iter().filter(|(receiver, _)| *receiver == to).filter_map(size).collect::<Vec<_>>()
    };
    assert_eq!(appends(&sent, id(2)), [1], "a probe");
    for _ in 0..200 {
        server.raft.propose(now, vec![0; 100_000].into()).unwrap();
    }
    assert_eq!(appends(&server.drain(), id(2)), [], "nothing while the probe is out");
    let answer = RaftBody::HeartbeatReply { round: 1 };
    assert_eq!(appends(&server.receive(now, 2, 2, answer.clone()), id(2)), []);
    let now = now + Duration::from_millis(60);
    assert_eq!(appends(&server.receive(now, 2, 2, answer), id(2)), [3], "it may be lost: the no-op and what fits");
    let sent = server.receive(now, 2, 2, RaftBody::AppendAccepted { match_index: LogIndex(2) });
    let sizes = appends(&sent, id(2));
    assert_eq!(sizes, [2; 21], "256 KiB hold two, and the window 16 times 256 KiB");
    let sent = server.receive(now, 2, 2, RaftBody::AppendAccepted { match_index: LogIndex(6) });
    assert_eq!(appends(&sent, id(2)), [2; 2], "what is acknowledged makes room");

    // Small ones are bounded by their number.
    let sent = server.receive(now, 3, 2, RaftBody::AppendAccepted { match_index: LogIndex(202) });
    assert_eq!(appends(&sent, id(3)), []);
    let mut under_way = 0;
    for _ in 0..100 {
        server.raft.propose(now, "x".into()).unwrap();
        under_way += appends(&server.drain(), id(3)).len();
    }
    assert_eq!(under_way, 64);
}

#[test]
fn an_old_append_takes_nothing_away() {
    let mut server = Server::with_log(1, &configuration(&[1, 2, 3], &[]), &[1, 2, 2, 2]);
    let entries = server.entries[1..2].to_vec();
    server.receive(
        at(1),
        2,
        2,
        RaftBody::Append { previous_index: LogIndex(1), previous_term: Term(1), entries, commit_index: LogIndex(4) },
    );
    assert_eq!(server.raft.last_index(), LogIndex(4));
    assert_eq!(server.raft.commit_index(), LogIndex(2), "only up to what is known to match");
}

#[test]
fn a_follower_takes_a_leader_that_its_configuration_does_not_know() {
    let mut server = Server::start(9, Time::ZERO, HardState::default(), vec![]);
    let entries = log(&configuration(&[1, 2, 3], &[9]), &[1, 2]);
    let (previous_index, previous_term, commit_index) = (LogIndex(0), Term(0), LogIndex(2));
    server.raft.handle_message(
        at(1),
        id(3),
        message(2, RaftBody::Append { previous_index, previous_term, entries, commit_index }),
    );
    let accepted = message(2, RaftBody::AppendAccepted { match_index: LogIndex(2) });
    assert_eq!(server.sync(at(1)), [(id(3), accepted)]);
    assert_eq!(server.raft.role(), Role::Learner);
    assert_eq!(server.committed.len(), 2);
}

#[test]
fn after_a_restart_committed_entries_come_again_from_the_first() {
    let mut net = Net::founded(&[1, 2, 3], &[]);
    let leader = net.leader();
    net.propose(leader);
    net.run(50);
    let away = net.others(leader)[0];
    let now = net.time();
    let before = net.server(away).committed.clone();
    net.server(away).restart(now);
    net.run(200);
    assert_eq!(net.server(away).committed, before);
    assert_eq!(before.len(), 3);
}
