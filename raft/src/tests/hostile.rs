//! Whatever arrives, nothing panics and nothing impossible is believed.

use super::*;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

#[test]
fn impossible_messages_change_nothing_but_a_counter() {
    let first = configuration(&[1, 2, 3], &[]);
    let start = || {
        let mut server = Server::with_log(1, &first, &[1, 2]);
        server.receive(at(1), 2, 2, RaftBody::Heartbeat { round: 1, commit_index: LogIndex(2) });
        server
    };
    let append = |previous: (u64, u64), terms: &[u64]| RaftBody::Append {
        previous_index: LogIndex(previous.0),
        previous_term: Term(previous.1),
        entries: terms
            .iter()
            .zip(previous.0 + 1..)
            .map(|(term, index)| LogEntry { term: Term(*term), index: LogIndex(index), payload: Payload::Empty })
            .collect(),
        commit_index: LogIndex(0),
    };
    let snapshot = |index, term, configuration_index, voters: &[u8]| RaftBody::SnapshotChunk {
        meta: SnapshotMeta {
            index: LogIndex(index),
            term: Term(term),
            configuration: configuration(voters, &[]),
            configuration_index: LogIndex(configuration_index),
        },
        number: 0,
        bytes: "x".into(),
        last: true,
    };
    let mut gap = append((2, 2), &[2, 2]);
    if let RaftBody::Append { entries, .. } = &mut gap {
        entries.remove(0);
    }
    let malformed = [
        (2, 0, RaftBody::HeartbeatReply { round: 0 }),
        (2, u64::MAX, RaftBody::HeartbeatReply { round: 0 }),
        (1, 2, RaftBody::HeartbeatReply { round: 0 }),
        (2, 2, gap),
        (2, 2, append((2, 2), &[1])),
        (2, 2, append((2, 2), &[3])),
        (2, 2, append((0, 1), &[])),
        (2, 2, append((2, 9), &[])),
        (2, 2, snapshot(0, 1, 1, &[1])),
        (2, 2, snapshot(9, 0, 1, &[1])),
        (2, 2, snapshot(9, 3, 1, &[1])),
        (2, 2, snapshot(9, 2, 10, &[1])),
        (2, 2, snapshot(9, 2, 0, &[1])),
        (2, 2, snapshot(9, 2, 1, &[])),
        (2, 2, snapshot(u64::MAX, 2, 1, &[1])),
    ];
    for (from, term, body) in malformed {
        let mut server = start();
        assert_eq!(server.receive(at(2), from, term, body.clone()), [], "{body:?}");
        assert_eq!(server.raft.counters().malformed, 1, "{body:?}");
        assert_eq!((server.raft.term(), server.raft.last_index()), (Term(2), LogIndex(2)), "{body:?}");
    }
    let contradictory = [
        // A second leader in the term.
        (3, 2, append((2, 2), &[2])),
        // Another entry in place of a committed one.
        (3, 3, append((1, 1), &[3])),
    ];
    for (from, term, body) in contradictory {
        let mut server = start();
        assert_eq!(server.receive(at(2), from, term, body.clone()), [], "{body:?}");
        assert_eq!(server.raft.counters().contradictory, 1, "{body:?}");
        assert_eq!(server.raft.entries(), log(&first, &[1, 2]), "{body:?}");
    }
}

fn body(dice: &mut ChaCha8Rng) -> RaftBody {
    fn number(dice: &mut ChaCha8Rng) -> u64 {
        match dice.random_range(0..12) {
            0 => u64::MAX - dice.random_range(0..3),
            1 => 1 << dice.random_range(0..63),
            _ => dice.random_range(0..8),
        }
    }
    fn payload(dice: &mut ChaCha8Rng) -> Payload {
        match dice.random_range(0..3) {
            0 => Payload::Empty,
            1 => Payload::Command("x".into()),
            _ => {
                let ids: Vec<u8> = (1..=5).filter(|_| dice.random_bool(0.5)).collect();
                let (voters, learners) = ids.split_at(dice.random_range(0..=ids.len()));
                Payload::Configuration(configuration(voters, learners))
            }
        }
    }
    let index = |dice: &mut ChaCha8Rng| LogIndex(number(dice));
    let term = |dice: &mut ChaCha8Rng| Term(number(dice));
    match dice.random_range(0..12) {
        9 => RaftBody::TimeoutNow,
        10 => {
            let ids: Vec<u8> = (1..=5).filter(|_| dice.random_bool(0.5)).collect();
            let index = index(dice);
            let meta = SnapshotMeta {
                index,
                term: Term(dice.random_range(0..4)),
                configuration: configuration(&ids, &[]),
                configuration_index: LogIndex(number(dice).min(index.0)),
            };
            let (bytes, number) = (Application::default().chunk(0).0, dice.random_range(0..3));
            RaftBody::SnapshotChunk { meta, number, bytes, last: dice.random_bool(0.3) }
        }
        11 => RaftBody::SnapshotChunkReply { index: index(dice), next: number(dice) },
        0 => RaftBody::PreVoteRequest { last_index: index(dice), last_term: term(dice) },
        1 => RaftBody::PreVoteReply { granted: dice.random() },
        2 => RaftBody::VoteRequest { last_index: index(dice), last_term: term(dice), transfer: dice.random() },
        3 => RaftBody::VoteReply { granted: dice.random() },
        4 | 5 => {
            let previous = number(dice);
            let mut entry_term = dice.random_range(0..4);
            let mut entry = |i: u64| {
                entry_term += dice.random_range(0..2);
                LogEntry {
                    term: Term(entry_term),
                    index: LogIndex(previous.wrapping_add(i + 1)),
                    payload: payload(dice),
                }
            };
            let entries: Vec<LogEntry> = (0..3).map(&mut entry).collect();
            let count = dice.random_range(0..=3);
            RaftBody::Append {
                previous_index: LogIndex(previous),
                previous_term: if previous == 0 { Term(0) } else { Term(dice.random_range(0..4)) },
                entries: entries[..count].to_vec(),
                commit_index: index(dice),
            }
        }
        6 if dice.random() => RaftBody::AppendAccepted { match_index: index(dice) },
        6 => RaftBody::AppendRejected { previous_index: index(dice), hint_index: index(dice), hint_term: term(dice) },
        7 => RaftBody::Heartbeat { round: number(dice), commit_index: index(dice) },
        _ => RaftBody::HeartbeatReply { round: number(dice) },
    }
}

/// A caller that does what it is asked, or something else.
fn answer(server: &mut Server, now: Time, event: Output, dice: &mut ChaCha8Rng) {
    match event {
        Output::SnapshotReceived { meta, chunks } if dice.random() && server.raft.install_snapshot(now) => {
            server.application = Application { index: meta.index, hash: chunks.len() as u64 };
        }
        Output::SnapshotReceived { .. } => server.raft.reject_snapshot(now),
        Output::SnapshotNeeded { to } => drop(server.raft.send_snapshot(now, to, server.application.index)),
        Output::SendSnapshotChunk { to, .. } if dice.random_bool(0.1) => server.raft.abandon_snapshot(now, to),
        Output::SendSnapshotChunk { to, meta, number } => {
            drop(server.raft.snapshot_chunk(to, meta, number, Bytes::new(), number > 2));
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_arrives_panics(seed: u64) {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let mut server = Server::start(1, Time::ZERO, HardState::default(), vec![]);
        if dice.random() {
            server.raft.bootstrap(Time::ZERO, configuration(&[1, 2, 3], &[])).unwrap();
        }
        server.answers = false;
        server.raft.config.trailing_entries = dice.random_range(0..3);
        let mut now = Time::ZERO;
        let mut committed = LogIndex::ZERO;
        for _ in 0..400 {
            now = now + Duration::from_millis(dice.random_range(0..100));
            match dice.random_range(0..10) {
                0 | 1 => server.raft.handle_timeout(now),
                2 => drop(server.sync(now)),
                3 if server.raft.propose(now, "x".into()).is_ok() => {
                    let change = crate::Change::Remove { id: id(dice.random_range(1..=5)) };
                    let _ = server.raft.change_configuration(now, change);
                    server.raft.read_index(now, 1).unwrap();
                }
                4 if dice.random_bool(0.1) => {
                    server.restart(now);
                    committed = server.application.index;
                }
                5 if dice.random_bool(0.3) => server.save_snapshot(now),
                5 => {
                    let _ = server.raft.transfer_leadership(now, dice.random::<bool>().then(|| id(2)));
                    let _ = dice.random_bool(0.02).then(|| server.raft.recover(now));
                }
                _ => {
                    // Mostly about the present term, so that something comes of it.
                    let own = server.raft.term().0;
                    let term = if dice.random_bool(0.8) { own + dice.random_range(0..2) } else { dice.random() };
                    server.receive(now, dice.random_range(0..6), term, body(&mut dice));
                }
            }
            drop(server.drain());
            for event in std::mem::take(&mut server.events) {
                answer(&mut server, now, event, &mut dice);
            }
            let _ = (server.raft.deadline(), server.raft.holds_lease(now), server.raft.last_contact(now));
            prop_assert!(server.raft.commit_index() >= committed);
            committed = server.raft.commit_index();
        }
    }
}
