//! What took the place of a log's beginning: kept, sent, received.

use super::*;
use crate::{Change, Snapshot, StartError};

const PARTS: u64 = Application::PARTS;

fn config(n: u8, trailing_entries: u64) -> Config {
    Config { trailing_entries, ..Config::lan(id(n), u64::from(n)) }
}

/// Where a snapshot of these voters ends.
fn meta(index: u64, term: u64, voters: &[u8]) -> SnapshotMeta {
    SnapshotMeta {
        index: LogIndex(index),
        term: Term(term),
        configuration: configuration(voters, &[]),
        configuration_index: LogIndex(1),
    }
}

fn entry(term: u64, index: u64) -> LogEntry {
    LogEntry { term: Term(term), index: LogIndex(index), payload: Payload::Command("x".into()) }
}

/// Founded servers that keep no more than `trailing` entries behind a snapshot, and a leader.
fn compacting(voters: &[u8], trailing: u64) -> (Net, u8) {
    let mut net = Net::founded(voters, &[]);
    for server in net.servers.values_mut() {
        server.config.trailing_entries = trailing;
        server.raft.config.trailing_entries = trailing;
    }
    let leader = net.leader();
    (net, leader)
}

/// Commits `count` entries and lets everybody but `away` compact.
fn grow(net: &mut Net, leader: u8, count: usize, away: Option<u8>) {
    for _ in 0..count {
        net.propose(leader);
    }
    net.run(10);
    let now = net.time();
    for (_, server) in net.servers.iter_mut().filter(|(n, _)| Some(**n) != away) {
        server.save_snapshot(now);
    }
    net.run(10);
}

fn assert_all_equal(net: &Net, leader: u8) {
    let expected = net.servers[&leader].application;
    for (n, server) in &net.servers {
        assert_eq!(server.application, expected, "{n}");
        assert_eq!(server.raft.commit_index(), expected.index, "{n}");
    }
}

#[test]
fn a_snapshot_lets_the_log_go_in_memory_and_on_disk() {
    let (mut net, leader) = compacting(&[1, 2, 3], 10);
    grow(&mut net, leader, 98, None);
    for server in net.servers.values() {
        assert_eq!(server.application.index, LogIndex(100));
        let kept: Vec<u64> = server.raft.entries().iter().map(|entry| entry.index.0).collect();
        assert_eq!(kept, (91..=100).collect::<Vec<_>>());
        assert_eq!(server.entries, server.raft.entries());
    }
    // A restart goes on where the snapshot ends, without the entries before it.
    let follower = net.others(leader)[0];
    let now = net.time();
    net.server(follower).restart(now);
    assert_eq!(net.raft(follower).commit_index(), LogIndex(100));
    assert_eq!(net.raft(follower).entries().first().unwrap().index, LogIndex(92), "the first on disk is the base");
    grow(&mut net, leader, 5, None);
    assert_eq!(net.server(follower).committed.first().unwrap().index, LogIndex(101));
    assert_all_equal(&net, leader);
}

#[test]
fn only_what_the_application_has_is_compacted() {
    let mut server = Server::with_log(1, &configuration(&[1, 2, 3], &[]), &[1, 2, 2, 2]);
    server.raft.config.trailing_entries = 0;
    server.receive(at(1), 2, 2, RaftBody::Heartbeat { round: 1, commit_index: LogIndex(2) });
    assert_eq!(server.raft.snapshot_meta(LogIndex(2)), Some(meta(2, 2, &[1, 2, 3])));
    assert_eq!(server.raft.snapshot_meta(LogIndex(3)), None, "not committed");
    assert_eq!(server.raft.snapshot_meta(LogIndex(0)), None);
    server.raft.compact(at(1), LogIndex(4));
    assert_eq!(server.raft.entries(), &log(&configuration(&[], &[]), &[1, 2, 2, 2])[2..]);
    assert_eq!(server.raft.snapshot_meta(LogIndex(1)), None, "gone");
    assert_eq!(server.raft.snapshot_meta(LogIndex(2)), Some(meta(2, 2, &[1, 2, 3])), "the base is known");
    server.drain();
    assert_eq!(server.unsynced.len(), 1, "an idle server's disk is told, too");
    assert_eq!(server.unsynced[0].compact_to, Some(LogIndex(2)));
    server.raft.compact(at(1), LogIndex(1));
    server.drain();
    assert_eq!(server.unsynced.len(), 1, "nothing new");
}

#[test]
fn who_is_a_little_behind_needs_no_snapshot() {
    let (mut net, leader) = compacting(&[1, 2, 3], 50);
    let away = net.others(leader)[0];
    net.isolate(away);
    grow(&mut net, leader, 40, Some(away));
    net.cut.clear();
    net.run(500);
    assert_eq!(net.server(away).installed, 0);
    assert_all_equal(&net, leader);
}

#[test]
fn who_is_far_behind_gets_a_snapshot_and_then_the_log() {
    let (mut net, leader) = compacting(&[1, 2, 3], 5);
    let away = net.others(leader)[0];
    net.isolate(away);
    grow(&mut net, leader, 40, Some(away));
    net.cut.clear();
    net.run(100);
    grow(&mut net, leader, 10, Some(away));
    net.run(400);
    assert_eq!(net.server(away).installed, 1);
    assert_all_equal(&net, leader);
    let index = net.servers[&away].snapshot.as_ref().unwrap().0.index;
    assert_eq!(net.servers[&away].entries.first().unwrap().index, index.next(), "the disk's log begins behind it");
    assert_eq!(net.servers[&leader].pinned, BTreeMap::new(), "nothing is held when it is done");
    let progress = net.raft(leader).progress(id(away)).unwrap();
    assert!(progress.caught_up);
    assert_eq!(progress.match_term, Some(net.raft(leader).term()));
    // It survives, and goes on, with what it got.
    let now = net.time();
    net.server(away).restart(now);
    net.run(400);
    assert_all_equal(&net, leader);
}

#[test]
fn a_new_server_learns_by_snapshot_and_votes() {
    let (mut net, leader) = compacting(&[1, 2, 3], 0);
    grow(&mut net, leader, 40, None);
    net.servers.insert(9, Server::start(9, net.time(), HardState::default(), vec![]));
    for voter in [false, true] {
        let now = net.time();
        net.raft(leader).change_configuration(now, Change::Add { id: id(9), peer: peer(voter) }).unwrap();
        if !voter {
            assert!(!net.raft(leader).progress(id(9)).unwrap().caught_up);
        }
        net.run(400);
        assert_eq!(net.raft(9).role(), if voter { Role::Follower } else { Role::Learner });
        assert!(net.raft(leader).progress(id(9)).unwrap().caught_up);
    }
    assert_eq!(net.server(9).installed, 1);
    assert_all_equal(&net, leader);
}

#[test]
fn a_lost_part_is_sent_again_and_those_that_follow_it() {
    let (all, silence) = (sent_with(|number| number >= 2), sent_with(|number| number == 5));
    assert_eq!(all, [0, 1, 2, 3, 4, 5, 2, 3, 4, 5], "after a silence");
    assert_eq!(silence, [0, 1, 2, 3, 4, 5, 5]);
    let one = sent_with(|number| number == 1);
    assert_eq!(one, [0, 1, 2, 3, 1, 2, 3, 4, 5], "at once: the answer to the next one tells");
}

/// The parts that are sent when some of them are lost once, until everybody has everything.
fn sent_with(lost: impl Fn(u64) -> bool) -> Vec<u64> {
    let (mut net, leader) = compacting(&[1, 2, 3], 0);
    let away = net.others(leader)[0];
    net.isolate(away);
    grow(&mut net, leader, 40, Some(away));
    net.cut.clear();
    let mut sent = Vec::new();
    for _ in 0..1500 {
        net.run(1);
        for (_, to, message) in &mut net.under_way {
            if let RaftBody::SnapshotChunk { number, .. } = &message.body
                && *to == away
            {
                sent.push(*number);
                if lost(*number) && sent.iter().filter(|sent| *sent == number).count() == 1 {
                    message.term = Term(0);
                }
            }
        }
    }
    assert_all_equal(&net, leader);
    sent
}

#[test]
fn a_receiver_that_lost_its_parts_begins_anew_with_a_later_snapshot() {
    let (mut net, leader) = compacting(&[1, 2, 3], 0);
    let away = net.others(leader)[0];
    net.isolate(away);
    grow(&mut net, leader, 40, Some(away));
    net.cut.clear();
    let begun = |net: &mut Net| net.raft(away).receiving.as_ref().is_some_and(|receiving| receiving.len() > 1);
    while !begun(&mut net) {
        net.run(1);
    }
    let first = *net.server(leader).pinned.keys().next().unwrap();
    let now = net.time();
    net.server(away).restart(now);
    grow(&mut net, leader, 3, Some(away));
    net.run(2000);
    assert_eq!(net.server(away).installed, 1);
    assert!(net.servers[&away].snapshot.as_ref().unwrap().0.index > first);
    assert_all_equal(&net, leader);
}

#[test]
fn a_new_leader_in_the_middle_begins_anew() {
    let (mut net, leader) = compacting(&[1, 2, 3], 0);
    let away = net.others(leader)[0];
    net.isolate(away);
    grow(&mut net, leader, 40, Some(away));
    net.cut.clear();
    while net.raft(away).receiving.is_none() {
        net.run(1);
    }
    net.isolate(leader);
    net.run(400);
    assert_eq!(net.server(leader).pinned, BTreeMap::new(), "a leader no more, it holds nothing");
    let second = net.leader();
    assert_ne!(second, leader);
    net.run(1000);
    assert_eq!(net.server(away).installed, 1);
    net.cut.clear();
    net.run(500);
    assert_all_equal(&net, second);
}

#[test]
fn while_a_snapshot_travels_what_follows_it_is_kept() {
    let (mut net, leader) = compacting(&[1, 2, 3], 5);
    let away = net.others(leader)[0];
    net.isolate(away);
    grow(&mut net, leader, 40, Some(away));
    net.cut.clear();
    while net.server(leader).pinned.is_empty() {
        net.run(1);
    }
    let end = *net.server(leader).pinned.keys().next().unwrap();
    net.isolate(away);
    grow(&mut net, leader, 20, Some(away));
    assert_eq!(net.raft(leader).entries().first().unwrap().index, end.next());
    grow(&mut net, leader, 40, Some(away));
    let kept = net.raft(leader).entries().len();
    assert_eq!(kept, 40, "eight times what is kept otherwise, and no more");
    // Far too late for the first one.
    net.cut.clear();
    net.run(1500);
    assert_eq!(net.server(away).installed, 2);
    assert_all_equal(&net, leader);
}

#[test]
fn nothing_is_held_for_a_peer_that_is_gone() {
    let (mut net, leader) = compacting(&[1, 2, 3], 0);
    let away = net.others(leader)[0];
    net.isolate(away);
    grow(&mut net, leader, 40, Some(away));
    net.cut.clear();
    while net.server(leader).pinned.is_empty() {
        net.run(1);
    }
    net.isolate(away);
    net.run(2900);
    assert_eq!(net.server(leader).pinned.len(), 1);
    net.run(200);
    assert_eq!(net.server(leader).pinned.len(), 0);
    net.cut.clear();
    net.run(2000);
    assert_all_equal(&net, leader);

    // Nor for one that is removed.
    let other = net.others(leader)[1];
    net.isolate(other);
    grow(&mut net, leader, 40, Some(other));
    net.cut.clear();
    while net.server(leader).pinned.is_empty() {
        net.run(1);
    }
    let now = net.time();
    net.raft(leader).change_configuration(now, Change::Remove { id: id(other) }).unwrap();
    net.run(1);
    assert_eq!(net.server(leader).pinned.len(), 0);
}

/// A leader of two others, whose log begins behind entry 2.
fn leader() -> (Server, Time) {
    let mut server = Server::with_log(1, &configuration(&[1, 2, 3], &[]), &[1]);
    server.config.trailing_entries = 0;
    server.raft.config.trailing_entries = 0;
    server.answers = false;
    let (now, _) = server.elect(&[2]);
    server.receive(now, 2, 2, RaftBody::AppendAccepted { match_index: LogIndex(2) });
    server.save_snapshot(now);
    server.sync(now);
    server.events.clear();
    (server, now)
}

fn asked(server: &mut Server) -> Vec<Output> {
    server.drain();
    std::mem::take(&mut server.events)
}

fn rejected() -> RaftBody {
    RaftBody::AppendRejected { previous_index: LogIndex(1), hint_index: LogIndex(0), hint_term: Term(0) }
}

#[test]
fn the_caller_is_asked_for_one_part_at_a_time_and_a_few_ahead() {
    let (mut server, now) = leader();
    assert!(!server.raft.send_snapshot(now, id(3), LogIndex(2)), "it did not ask for one");
    server.receive(now, 3, 2, rejected());
    assert_eq!(asked(&mut server), [Output::SnapshotNeeded { to: id(3) }]);
    assert!(!server.raft.send_snapshot(now, id(3), LogIndex(9)), "nobody can have that yet");
    assert!(!server.raft.send_snapshot(now, id(7), LogIndex(2)), "nobody");
    assert!(server.raft.send_snapshot(now, id(3), LogIndex(2)));
    let meta = meta(2, 2, &[1, 2, 3]);
    let wants = |number| Output::SendSnapshotChunk { to: id(3), meta: meta.clone(), number };
    assert_eq!(server.raft.snapshot_chunk(id(3), meta.clone(), 0, "a".into(), false), None, "not asked for");
    for number in 0..4 {
        assert_eq!(asked(&mut server), [wants(number)]);
        assert_eq!(asked(&mut server), [], "once");
        let message = server.raft.snapshot_chunk(id(3), meta.clone(), number, "a".into(), false);
        let body = RaftBody::SnapshotChunk { meta: meta.clone(), number, bytes: "a".into(), last: false };
        assert_eq!(message, Some(super::message(2, body)));
    }
    assert_eq!(asked(&mut server), [], "the window is full");
    let reply = |next| RaftBody::SnapshotChunkReply { index: LogIndex(2), next };
    server.receive(now, 3, 2, reply(2));
    assert_eq!(asked(&mut server), [wants(4)]);
    // One large part fills it, too.
    let large = Bytes::from(vec![0; 5 << 20]);
    assert!(server.raft.snapshot_chunk(id(3), meta.clone(), 4, large, false).is_some());
    assert_eq!(asked(&mut server), []);
    server.receive(now, 3, 2, reply(5));
    assert_eq!(asked(&mut server), [wants(5)]);
    assert!(server.raft.snapshot_chunk(id(3), meta.clone(), 5, "a".into(), true).is_some());
    assert_eq!(asked(&mut server), [], "that was the last");
    server.receive(now, 3, 2, reply(7));
    assert_eq!(server.raft.counters().malformed, 1, "more than there are");
    server.receive(now, 3, 2, reply(6));
    assert_eq!(asked(&mut server), []);
    server.receive(now, 3, 2, RaftBody::AppendAccepted { match_index: LogIndex(2) });
    assert_eq!(asked(&mut server), [Output::SnapshotDone { index: LogIndex(2) }]);
}

#[test]
fn without_a_snapshot_the_peer_waits_and_the_caller_is_asked_again() {
    let (mut server, now) = leader();
    server.receive(now, 3, 2, rejected());
    assert_eq!(asked(&mut server), [Output::SnapshotNeeded { to: id(3) }]);
    server.raft.abandon_snapshot(now, id(3));
    let answer = RaftBody::HeartbeatReply { round: 1 };
    server.receive(now + Duration::from_millis(299), 3, 2, answer.clone());
    assert_eq!(asked(&mut server), []);
    server.receive(now + Duration::from_millis(300), 3, 2, answer);
    assert_eq!(asked(&mut server), [Output::SnapshotNeeded { to: id(3) }]);
    // Given up in the middle, it is done with.
    assert!(server.raft.send_snapshot(now, id(3), LogIndex(2)));
    server.raft.abandon_snapshot(now, id(3));
    let meta = meta(2, 2, &[1, 2, 3]);
    assert_eq!(asked(&mut server), [Output::SnapshotDone { index: LogIndex(2) }]);
    assert_eq!(server.raft.snapshot_chunk(id(3), meta, 0, "a".into(), true), None);
}

#[test]
fn a_refused_snapshot_is_followed_by_a_later_one_after_a_while() {
    let (mut server, now) = leader();
    let needed = [Output::SnapshotNeeded { to: id(3) }];
    server.receive(now, 3, 2, rejected());
    assert_eq!(asked(&mut server), needed);
    server.raft.send_snapshot(now, id(3), LogIndex(2));
    asked(&mut server);
    server.raft.snapshot_chunk(id(3), meta(2, 2, &[1, 2, 3]), 0, "a".into(), true);
    for next in [1, 0] {
        server.receive(now, 3, 2, RaftBody::SnapshotChunkReply { index: LogIndex(2), next });
    }
    assert_eq!(asked(&mut server), [Output::SnapshotDone { index: LogIndex(2) }]);
    server.receive(now + Duration::from_millis(300), 3, 2, RaftBody::HeartbeatReply { round: 1 });
    assert_eq!(asked(&mut server), needed);
}

// ---- the receiver ----

fn chunk(meta: &SnapshotMeta, number: u64) -> RaftBody {
    let state = Application { index: meta.index, hash: 7 };
    let (bytes, last) = state.chunk(number);
    RaftBody::SnapshotChunk { meta: meta.clone(), number, bytes, last }
}

fn wants(to: u8, term: u64, index: u64, next: u64) -> (NodeId, RaftMessage) {
    (id(to), message(term, RaftBody::SnapshotChunkReply { index: LogIndex(index), next }))
}

fn has(to: u8, term: u64, match_index: u64) -> (NodeId, RaftMessage) {
    (id(to), message(term, RaftBody::AppendAccepted { match_index: LogIndex(match_index) }))
}

/// A follower with four entries, of which one is committed.
fn follower() -> Server {
    let mut server = Server::with_log(1, &configuration(&[1, 2, 3], &[]), &[1, 2, 2, 2]);
    server.receive(at(1), 2, 2, RaftBody::Heartbeat { round: 1, commit_index: LogIndex(1) });
    server
}

#[test]
fn a_snapshot_takes_the_place_of_the_whole_log_and_of_its_configurations() {
    let mut server = follower();
    server.receive(
        at(2),
        2,
        2,
        RaftBody::Append {
            previous_index: LogIndex(4),
            previous_term: Term(2),
            entries: vec![LogEntry {
                term: Term(2),
                index: LogIndex(5),
                payload: Payload::Configuration(configuration(&[1, 2, 3, 4], &[])),
            }],
            commit_index: LogIndex(1),
        },
    );
    server.sync(at(2));
    // Nothing of its uncommitted entries got anywhere; the others went on without it, with other configurations.
    let meta = SnapshotMeta { configuration_index: LogIndex(3), ..meta(3, 4, &[1, 3, 5]) };
    for number in 0..PARTS {
        let sent = server.receive(at(3), 3, 4, chunk(&meta, number));
        assert_eq!(sent, [wants(3, 4, 3, number + 1)], "and no acknowledgement before it is on disk");
    }
    assert_eq!(server.installed, 1);
    assert_eq!(server.raft.entries(), [], "what stood behind its end is not of this history");
    assert_eq!(*server.raft.configuration(), meta.configuration);
    assert_eq!((server.raft.commit_index(), server.raft.last_index()), (LogIndex(3), LogIndex(3)));
    let chunks = Application { index: LogIndex(3), hash: 7 }.chunks();
    let write = server.unsynced.back().unwrap();
    assert_eq!(write.snapshot, Some(Snapshot { meta: meta.clone(), chunks }));
    assert_eq!(server.sync(at(3)), [has(3, 4, 3)]);
    assert_eq!(server.entries, []);

    let append = RaftBody::Append {
        previous_index: LogIndex(3),
        previous_term: Term(4),
        entries: vec![entry(4, 4)],
        commit_index: LogIndex(4),
    };
    server.receive(at(4), 3, 4, append);
    assert_eq!(server.sync(at(4)), [has(3, 4, 4)]);
    assert_eq!(server.committed.last(), Some(&entry(4, 4)), "applying goes on behind it");
    server.restart(at(5));
    assert_eq!(*server.raft.configuration(), meta.configuration, "on disk, too");
    assert_eq!((server.raft.commit_index(), server.raft.last_index()), (LogIndex(3), LogIndex(4)));
}

#[test]
fn parts_out_of_order_are_asked_for_again() {
    let mut server = follower();
    let meta = meta(9, 2, &[1, 2, 3]);
    assert_eq!(server.receive(at(2), 2, 2, chunk(&meta, 1)), [wants(2, 2, 9, 0)]);
    assert_eq!(server.receive(at(2), 2, 2, chunk(&meta, 0)), [wants(2, 2, 9, 1)]);
    assert_eq!(server.receive(at(2), 2, 2, chunk(&meta, 0)), [wants(2, 2, 9, 1)], "twice is once");
    assert_eq!(server.receive(at(2), 2, 2, chunk(&meta, 3)), [wants(2, 2, 9, 1)]);
    // Another snapshot, or the same of another leader, is another.
    let later = self::meta(10, 2, &[1, 2, 3]);
    assert_eq!(server.receive(at(3), 2, 2, chunk(&later, 1)), [wants(2, 2, 10, 0)]);
    assert_eq!(server.receive(at(3), 2, 2, chunk(&later, 0)), [wants(2, 2, 10, 1)]);
    assert_eq!(server.receive(at(4), 3, 3, chunk(&later, 1)), [wants(3, 3, 10, 0)]);
    assert_eq!(server.installed, 0);
}

#[test]
fn a_snapshot_of_what_is_here_is_not_needed() {
    let mut server = follower();
    let committed = server.receive(at(2), 2, 2, chunk(&meta(1, 1, &[1, 2, 3]), 0));
    assert_eq!(committed, [has(2, 2, 1)]);
    let in_the_log = server.receive(at(2), 2, 2, chunk(&meta(3, 2, &[1, 2, 3]), 0));
    assert_eq!(in_the_log, [has(2, 2, 3)]);
    assert_eq!(server.raft.commit_index(), LogIndex(3), "a snapshot says that it is committed");
    assert_eq!(server.raft.last_index(), LogIndex(4));
    assert_eq!(server.application.index, LogIndex(3), "applied from the log");
}

#[test]
fn a_snapshot_that_the_log_overtook_is_not_installed() {
    let mut server = follower();
    server.answers = false;
    let meta = meta(5, 2, &[1, 2, 3]);
    (0..PARTS).for_each(|number| drop(server.receive(at(2), 2, 2, chunk(&meta, number))));
    assert!(matches!(server.events[..], [.., Output::SnapshotReceived { .. }]));
    let append = RaftBody::Append {
        previous_index: LogIndex(4),
        previous_term: Term(2),
        entries: vec![entry(2, 5), entry(2, 6)],
        commit_index: LogIndex(1),
    };
    server.receive(at(2), 2, 2, append);
    assert!(!server.raft.install_snapshot(at(2)));
    assert_eq!((server.raft.last_index(), server.raft.commit_index()), (LogIndex(6), LogIndex(5)));
    assert!(!server.raft.install_snapshot(at(2)), "there is none any more");
}

#[test]
fn entries_that_a_snapshot_replaced_are_not_handed_out_behind_it() {
    let mut server = follower();
    server.answers = false;
    let meta = meta(5, 2, &[1, 2, 3]);
    (0..PARTS).for_each(|number| drop(server.receive(at(2), 2, 2, chunk(&meta, number))));
    // Committed, and lying in the queue behind what the caller polls now.
    server.raft.handle_message(at(3), id(2), message(2, RaftBody::Heartbeat { round: 2, commit_index: LogIndex(3) }));
    let _ = server.raft.poll();
    assert!(server.raft.install_snapshot(at(3)));
    server.drain();
    assert_eq!(server.committed.last().unwrap().index, LogIndex(1));
}

#[test]
fn a_damaged_snapshot_is_refused_and_sent_anew() {
    let mut server = follower();
    server.answers = false;
    let meta = meta(9, 2, &[1, 2, 3]);
    (0..PARTS).for_each(|number| drop(server.receive(at(2), 2, 2, chunk(&meta, number))));
    server.raft.reject_snapshot(at(2));
    assert_eq!(server.drain(), [wants(2, 2, 9, 0)]);
    assert_eq!(server.raft.counters().snapshots_rejected, 1);
    assert!(!server.raft.install_snapshot(at(2)));
    assert_eq!(server.receive(at(3), 2, 2, chunk(&meta, 0)), [wants(2, 2, 9, 1)]);
}

#[test]
fn what_a_confused_sender_can_cost_is_bounded() {
    let mut server = follower();
    server.raft.config.max_snapshot_bytes = 1000;
    let meta = meta(9, 2, &[1, 2, 3]);
    let part =
        |number, size| RaftBody::SnapshotChunk { meta: meta.clone(), number, bytes: vec![0; size].into(), last: false };
    assert_eq!(server.receive(at(2), 2, 2, part(0, 1000)), [wants(2, 2, 9, 1)]);
    assert_eq!(server.receive(at(2), 2, 2, part(1, 1)), []);
    assert_eq!(server.raft.counters().snapshots_rejected, 1);
    assert!(server.raft.receiving.is_none());
    for number in 0..65_536 {
        assert_eq!(server.receive(at(2), 2, 2, part(number, 0)), [wants(2, 2, 9, number + 1)]);
    }
    assert_eq!(server.receive(at(2), 2, 2, part(65_536, 0)), []);
    assert!(server.raft.receiving.is_none(), "empty parts are counted, too");
}

#[test]
fn appends_that_begin_before_the_base_are_taken_for_what_follows_it() {
    let mut server = follower();
    let meta = meta(9, 2, &[1, 2, 3]);
    (0..PARTS).for_each(|number| drop(server.receive(at(2), 2, 2, chunk(&meta, number))));
    server.sync(at(2));
    let append = |previous: u64, last: u64, term: u64| RaftBody::Append {
        previous_index: LogIndex(previous),
        previous_term: Term(2),
        entries: (previous + 1..=last).map(|index| entry(term, index)).collect(),
        commit_index: LogIndex(0),
    };
    server.raft.handle_message(at(3), id(2), message(2, append(4, 6, 2)));
    assert_eq!(server.sync(at(3)), [has(2, 2, 6)], "an old one, and true");
    server.raft.handle_message(at(3), id(2), message(2, append(4, 11, 2)));
    assert_eq!(server.sync(at(3)), [has(2, 2, 11)]);
    assert_eq!(server.raft.entries(), [entry(2, 10), entry(2, 11)]);
    server.raft.handle_message(at(3), id(3), message(3, append(4, 11, 3)));
    assert_eq!(server.sync(at(3)), [], "another entry where the snapshot ends cannot be");
    assert_eq!(server.raft.counters().contradictory, 1);
}

// ---- starting ----

#[test]
fn a_server_starts_from_what_a_crash_may_leave() {
    // (snapshot, terms of the entries and where they begin, what is kept in memory)
    let check = |snapshot: Option<(u64, u64)>, first: u64, terms: &[u64], expected: Result<(u64, &[u64]), ()>| {
        let entries: Vec<LogEntry> = terms.iter().zip(first..).map(|(term, index)| entry(*term, index)).collect();
        let snapshot = snapshot.map(|(index, term)| meta(index, term, &[1, 2, 3]));
        let covered = snapshot.as_ref().map_or(LogIndex::ZERO, |meta| meta.index);
        let hard_state = HardState { term: Term(5), vote: Some(id(2)) };
        let raft = Raft::new(config(1, 0), hard_state, snapshot, entries, Time::ZERO);
        let kept = raft.map(|raft| {
            assert_eq!((raft.commit_index(), raft.handed_index()), (covered, covered));
            let kept: Vec<u64> = raft.entries().iter().map(|entry| entry.index.0).collect();
            (raft.log.base().0, kept)
        });
        let expected = expected.map(|(base, kept)| (base, kept.to_vec()));
        assert_eq!(kept.map_err(|error| assert!(matches!(error, StartError::Log(_)))), expected, "{first} {terms:?}");
    };
    check(None, 1, &[1, 2, 2], Ok((0, &[1, 2, 3])));
    check(None, 2, &[2, 2], Err(()));
    check(Some((3, 2)), 1, &[], Ok((3, &[])));
    check(Some((3, 2)), 4, &[2, 3], Ok((3, &[4, 5])));
    check(Some((3, 2)), 5, &[3], Err(()));
    check(Some((3, 2)), 1, &[1, 2, 2, 4], Ok((0, &[1, 2, 3, 4])));
    check(Some((3, 2)), 2, &[2, 2, 4], Ok((2, &[3, 4])));
    check(Some((3, 2)), 3, &[2], Ok((3, &[])));
    check(Some((3, 2)), 0, &[1, 1, 2, 2], Err(()));
    // The log was not moved behind the snapshot yet, and ends before it or contradicts it.
    check(Some((3, 2)), 1, &[1, 1], Ok((3, &[])));
    check(Some((3, 2)), 1, &[1, 1, 1, 1], Ok((3, &[])));
    check(Some((3, 2)), 4, &[1, 1], Ok((3, &[])));
    check(Some((3, 2)), 1, &[1, 1, 3, 3], Ok((3, &[])));
    check(Some((3, 2)), 1, &[2, 1, 2], Err(()));
    check(Some((3, 2)), 1, &[2, 2, 2, 6], Err(()));
    let unknown = SnapshotMeta { configuration: Configuration::default(), ..meta(3, 2, &[]) };
    let start = Raft::new(config(1, 0), HardState::default(), Some(unknown), vec![], Time::ZERO);
    assert!(matches!(start, Err(StartError::Log(_))), "nobody could ever be elected");
}

#[test]
fn a_log_that_a_snapshot_made_void_leaves_the_disk() {
    let mut server = Server::with_log(1, &configuration(&[1, 2, 3], &[]), &[1, 2, 2, 2]);
    let meta = meta(3, 4, &[1, 2, 3]);
    let chunks = Application { index: LogIndex(3), hash: 7 }.chunks();
    // The snapshot is on disk, the write that goes with it, and the term in it, is not.
    server.snapshot = Some((meta, chunks));
    server.restart(at(1));
    assert_eq!(server.raft.term(), Term(4));
    server.sync(at(1));
    assert_eq!(server.hard_state, HardState { term: Term(4), vote: None });
    let stale = &log(&configuration(&[], &[]), &[1, 2, 2, 2])[3..];
    assert_eq!(server.entries, stale, "void, but nobody takes it for more");
    server.restart(at(2));
    assert_eq!(server.raft.entries(), []);
    let append = RaftBody::Append {
        previous_index: LogIndex(3),
        previous_term: Term(4),
        entries: vec![entry(4, 4)],
        commit_index: LogIndex(3),
    };
    server.receive(at(3), 2, 4, append);
    server.sync(at(3));
    assert_eq!(server.entries, [entry(4, 4)]);
}
