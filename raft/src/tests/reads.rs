use super::*;
use crate::NotLeader;

fn leader() -> (Server, Time) {
    let mut server = Server::with_log(1, &configuration(&[1, 2, 3], &[]), &[1]);
    let (now, _) = server.elect(&[2]);
    server.events.clear();
    (server, now)
}

fn heartbeats(messages: &[(NodeId, RaftMessage)]) -> Vec<u64> {
    let round = |(to, message): &(NodeId, RaftMessage)| match message.body {
        RaftBody::Heartbeat { round, .. } if *to == id(2) => Some(round),
        _ => None,
    };
    messages.iter().filter_map(round).collect()
}

fn ready(context: u64, index: u64) -> Output {
    Output::ReadReady { context, index: LogIndex(index) }
}

#[test]
fn no_read_before_the_no_op_is_committed() {
    let (mut server, now) = leader();
    server.raft.read_index(now, 7).unwrap();
    assert_eq!(heartbeats(&server.drain()), [], "its index cannot be known yet");
    server.receive(now, 2, 2, RaftBody::HeartbeatReply { round: 1 });
    assert_eq!(server.events, []);
    assert!(!server.raft.holds_lease(now), "nor is there a lease, though a majority has answered");
    let sent = server.receive(now, 2, 2, RaftBody::AppendAccepted { match_index: LogIndex(2) });
    assert_eq!(heartbeats(&sent), [2]);
    assert!(server.raft.holds_lease(now));
    server.receive(now, 2, 2, RaftBody::HeartbeatReply { round: 1 });
    assert_eq!(server.events, [], "a late answer to an earlier question confirms nothing");
    server.receive(now, 2, 2, RaftBody::HeartbeatReply { round: 2 });
    assert_eq!(server.events, [ready(7, 2)]);
}

#[test]
fn reads_share_rounds() {
    let (mut server, now) = leader();
    server.receive(now, 2, 2, RaftBody::AppendAccepted { match_index: LogIndex(2) });
    (0..3).for_each(|context| server.raft.read_index(now, context).unwrap());
    assert_eq!(heartbeats(&server.drain()), [2]);
    (3..6).for_each(|context| server.raft.read_index(now, context).unwrap());
    assert_eq!(heartbeats(&server.drain()), [], "they wait while a round is under way");
    let sent = server.receive(now, 3, 2, RaftBody::HeartbeatReply { round: 2 });
    assert_eq!(server.events, [ready(0, 2), ready(1, 2), ready(2, 2)]);
    assert_eq!(heartbeats(&sent), [3]);
    // A round whose messages are lost is overtaken by the next heartbeat.
    let later = now + server.config.heartbeat_interval;
    server.raft.handle_timeout(later);
    assert_eq!(heartbeats(&server.drain()), [4]);
    server.receive(later, 3, 2, RaftBody::HeartbeatReply { round: 4 });
    assert_eq!(server.events[3..], [ready(3, 2), ready(4, 2), ready(5, 2)]);
}

#[test]
fn a_learner_confirms_nothing() {
    let mut server = Server::with_log(1, &configuration(&[1, 2, 3], &[4, 5]), &[1]);
    let (now, _) = server.elect(&[2]);
    server.receive(now, 2, 2, RaftBody::AppendAccepted { match_index: LogIndex(2) });
    server.raft.read_index(now, 1).unwrap();
    server.drain();
    server.events.clear();
    for learner in [4, 5, 6] {
        server.receive(now, learner, 2, RaftBody::HeartbeatReply { round: 2 });
    }
    assert_eq!(server.events, []);
    assert!(!server.raft.holds_lease(now));
}

#[test]
fn reads_are_lost_with_the_leadership() {
    let (mut server, now) = leader();
    server.receive(now, 2, 2, RaftBody::AppendAccepted { match_index: LogIndex(2) });
    server.raft.read_index(now, 1).unwrap();
    server.drain();
    server.raft.read_index(now, 2).unwrap();
    server.receive(now, 3, 9, RaftBody::Heartbeat { round: 1, commit_index: LogIndex(0) });
    assert_eq!(
        server.events,
        [
            Output::ReadLost { context: 1 },
            Output::ReadLost { context: 2 },
            Output::LostLeadership { term: Term(2) },
            Output::LeaderChanged { leader: None, term: Term(9) },
            Output::LeaderChanged { leader: Some(id(3)), term: Term(9) },
        ]
    );
    assert_eq!(server.raft.read_index(now, 3), Err(NotLeader { leader: Some(id(3)) }));
}

#[test]
fn a_round_is_never_used_again() {
    let (mut server, now) = leader();
    server.receive(now, 3, 3, RaftBody::Heartbeat { round: 1, commit_index: LogIndex(0) });
    server.sync(now);
    let (_, sent) = server.elect(&[2]);
    assert_eq!(heartbeats(&sent), [2], "counting goes on over terms");
}

#[test]
fn a_lease_counts_from_when_the_heartbeat_was_sent() {
    let (mut server, now) = leader();
    server.receive(now, 2, 2, RaftBody::AppendAccepted { match_index: LogIndex(2) });
    let ms = Duration::from_millis;
    assert!(!server.raft.holds_lease(now), "nobody has answered a heartbeat");
    server.receive(now + ms(200), 2, 2, RaftBody::HeartbeatReply { round: 1 });
    assert!(server.raft.holds_lease(now + ms(269)));
    assert!(!server.raft.holds_lease(now + ms(270)), "300 ms less a tenth for clocks");
    server.raft.handle_timeout(now + ms(200));
    assert_eq!(heartbeats(&server.drain()), [2]);
    server.receive(now + ms(210), 2, 2, RaftBody::HeartbeatReply { round: 1 });
    assert!(!server.raft.holds_lease(now + ms(270)), "an answer to the first does not renew it");
    server.receive(now + ms(220), 3, 2, RaftBody::HeartbeatReply { round: 2 });
    assert!(server.raft.holds_lease(now + ms(469)));
    server.receive(now + ms(230), 3, 9, RaftBody::HeartbeatReply { round: 0 });
    assert!(!server.raft.holds_lease(now + ms(231)), "deposed");
}

#[test]
fn no_one_is_elected_within_a_lease() {
    let mut net = Net::founded(&[1, 2, 3], &[]);
    let leader = net.leader();
    net.run(300);
    net.isolate(leader);
    let mut held = 0;
    for _ in 0..2000 {
        net.run(1);
        let now = net.time();
        let others_lead = net.others(leader).iter().any(|n| net.raft(*n).role() == Role::Leader);
        if net.raft(leader).holds_lease(now) {
            held += 1;
            assert!(!others_lead);
        }
    }
    assert!((150..=270).contains(&held), "{held} ms");
}

#[test]
fn too_many_reads_are_refused_at_once() {
    let (mut server, now) = leader();
    for context in 0..=65_536 {
        server.raft.read_index(now, context).unwrap();
    }
    server.drain();
    assert_eq!(server.events, [Output::ReadLost { context: 65_536 }]);
}
