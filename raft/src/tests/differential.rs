//! The same to another Raft, `raft` 0.7 of TiKV, and what it makes of it.
//!
//! Compared is what both must agree on: who gets a vote, which append fits, where a conflict is looked for next, what is
//! committed when, which log everybody ends with, who may lead. Not compared is where the two differ on purpose:
//! * theirs ignores an append that begins before its commit index, ours takes what is new in it;
//! * ours keeps its promise to a leader whatever term it learns of meanwhile, and gives not even a repeated vote;
//! * theirs keeps the commit index on disk;
//! * ours drops what no correct cluster can send, theirs panics.

use super::*;
use ::raft::eraftpb::{ConfState, Entry, EntryType, Message, MessageType};
use ::raft::storage::MemStorage;
use ::raft::{RawNode, StateRole};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Theirs, with its disk.
struct Their {
    node: RawNode<MemStorage>,
    config: ::raft::Config,
    disk: MemStorage,
}

impl Their {
    /// With a log of these terms, as [`log`] makes one for ours.
    fn start(n: u8, voters: u8, term: u64, vote: Option<u8>, terms: &[u64]) -> Their {
        let voters: Vec<u64> = (1..=u64::from(voters)).collect();
        let disk = MemStorage::new_with_conf_state(ConfState::from((voters, vec![])));
        let entries: Vec<Entry> = log(&Configuration::default(), terms).iter().map(to_theirs).collect();
        disk.wl().append(&entries).unwrap();
        disk.wl().mut_hard_state().term = term;
        disk.wl().mut_hard_state().vote = vote.map_or(0, u64::from);
        let config = ::raft::Config {
            id: u64::from(n),
            election_tick: 5,
            heartbeat_tick: 1,
            // It stands when it is told to.
            min_election_tick: 1_000_000,
            max_election_tick: 1_000_001,
            check_quorum: true,
            pre_vote: true,
            max_size_per_msg: 256 * 1024,
            max_inflight_msgs: 64,
            ..::raft::Config::default()
        };
        Their { node: Their::boot(&config, &disk), config, disk }
    }

    fn boot(config: &::raft::Config, disk: &MemStorage) -> RawNode<MemStorage> {
        RawNode::new(config, disk.clone(), &slog::Logger::root(slog::Discard, slog::o!())).unwrap()
    }

    fn restart(&mut self) {
        self.node = Their::boot(&self.config, &self.disk);
    }

    /// Brings everything to disk; returns what is sent.
    fn sync(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        while self.node.has_ready() {
            let mut ready = self.node.ready();
            messages.extend(ready.take_messages());
            self.disk.wl().append(ready.entries()).unwrap();
            if let Some(hard_state) = ready.hs() {
                self.disk.wl().set_hardstate(hard_state.clone());
            }
            messages.extend(ready.take_persisted_messages());
            let mut light = self.node.advance(ready);
            if let Some(commit) = light.commit_index() {
                self.disk.wl().mut_hard_state().commit = commit;
            }
            messages.extend(light.take_messages());
            self.node.advance_apply();
        }
        messages
    }

    /// Term and content of each entry.
    fn log(&self) -> Vec<(u64, Vec<u8>)> {
        let log = &self.node.raft.raft_log;
        let all = log.entries(1, None, ::raft::GetEntriesContext::empty(false)).unwrap();
        all.into_iter().map(|entry| (entry.term, entry.data.to_vec())).collect()
    }

    fn hears_leader(&self) -> bool {
        self.node.raft.leader_id != 0 && self.node.raft.election_elapsed < 5
    }
}

fn data(payload: &Payload) -> Vec<u8> {
    match payload {
        Payload::Command(bytes) => bytes.to_vec(),
        Payload::Empty | Payload::Configuration(_) => Vec::new(),
    }
}

fn to_theirs(entry: &LogEntry) -> Entry {
    let mut theirs = Entry::default();
    theirs.set_entry_type(EntryType::EntryNormal);
    (theirs.term, theirs.index, theirs.data) = (entry.term.0, entry.index.0, data(&entry.payload).into());
    theirs
}

fn our_log(server: &Server) -> Vec<(u64, Vec<u8>)> {
    server.raft.entries().iter().map(|entry| (entry.term.0, data(&entry.payload))).collect()
}

/// The terms of a log.
fn terms(dice: &mut ChaCha8Rng) -> Vec<u64> {
    let mut term = 1;
    (0..dice.random_range(1..10))
        .map(|i| {
            term += u64::from(i > 0 && dice.random_bool(0.4)) * dice.random_range(1..3);
            term
        })
        .collect()
}

/// What was answered, in words that both have.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Vote { granted: bool },
    PreVote { granted: bool },
    Accepted(u64),
    Rejected { previous: u64, hint: (u64, u64) },
    Heartbeat,
}

fn ours_says(messages: &[(NodeId, RaftMessage)]) -> Vec<Answer> {
    let word = |(_, message): &(NodeId, RaftMessage)| match &message.body {
        RaftBody::VoteReply { granted } => Answer::Vote { granted: *granted },
        RaftBody::PreVoteReply { granted } => Answer::PreVote { granted: *granted },
        RaftBody::AppendAccepted { match_index } => Answer::Accepted(match_index.0),
        RaftBody::AppendRejected { previous_index, hint_index, hint_term } => {
            Answer::Rejected { previous: previous_index.0, hint: (hint_index.0, hint_term.0) }
        }
        RaftBody::HeartbeatReply { .. } => Answer::Heartbeat,
        other => panic!("a follower does not say {other:?}"),
    };
    messages.iter().map(word).collect()
}

fn theirs_says(messages: &[Message]) -> Vec<Answer> {
    let word = |message: &Message| match message.get_msg_type() {
        MessageType::MsgRequestVoteResponse => Answer::Vote { granted: !message.reject },
        MessageType::MsgRequestPreVoteResponse => Answer::PreVote { granted: !message.reject },
        MessageType::MsgAppendResponse if message.reject => {
            Answer::Rejected { previous: message.index, hint: (message.reject_hint, message.log_term) }
        }
        MessageType::MsgAppendResponse => Answer::Accepted(message.index),
        MessageType::MsgHeartbeatResponse => Answer::Heartbeat,
        other => panic!("a follower does not say {other:?}"),
    };
    messages.iter().map(word).collect()
}

/// A question to a follower, in both languages.
fn question(from: u8, term: u64, body: &RaftBody) -> Message {
    let mut message = Message::default();
    (message.to, message.from, message.term) = (1, u64::from(from), term);
    match body {
        RaftBody::VoteRequest { last_index, last_term, .. } => {
            message.set_msg_type(MessageType::MsgRequestVote);
            (message.index, message.log_term) = (last_index.0, last_term.0);
        }
        RaftBody::PreVoteRequest { last_index, last_term } => {
            message.set_msg_type(MessageType::MsgRequestPreVote);
            (message.index, message.log_term) = (last_index.0, last_term.0);
        }
        RaftBody::Append { previous_index, previous_term, entries, commit_index } => {
            message.set_msg_type(MessageType::MsgAppend);
            (message.index, message.log_term) = (previous_index.0, previous_term.0);
            message.commit = commit_index.0;
            message.set_entries(entries.iter().map(to_theirs).collect::<Vec<_>>().into());
        }
        RaftBody::Heartbeat { commit_index, .. } => {
            message.set_msg_type(MessageType::MsgHeartbeat);
            message.commit = commit_index.0;
        }
        other => panic!("nobody asks a follower {other:?}"),
    }
    message
}

/// Random logs, random questions: the same answers, terms, votes, logs and commit indexes.
#[test]
fn followers_answer_alike() {
    let mut compared = BTreeMap::new();
    for seed in 0..4_000 {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let own = terms(&mut dice);
        let mut term = own.last().unwrap() + dice.random_range(0..3);
        let vote = dice.random_bool(0.4).then(|| dice.random_range(1..=3));
        let hard_state = HardState { term: Term(term), vote: vote.map(id) };
        let mut ours = Server::start(1, Time::ZERO, hard_state, log(&configuration(&[1, 2, 3], &[]), &own));
        let mut theirs = Their::start(1, 3, term, vote, &own);
        let mut now = at(1000);
        for step in 0..12 {
            if dice.random_bool(0.6) {
                now = now + Duration::from_secs(1);
                theirs.node.raft.election_elapsed = 100;
            }
            let other = terms(&mut dice);
            let (last_index, last_term) = (LogIndex(other.len() as u64), Term(*other.last().unwrap()));
            let leader = |term: u64| 2 + (term % 2) as u8;
            let asked = term + dice.random_range(0..3) - u64::from(dice.random_bool(0.1) && term > 1);
            let (from, asked, body) = match dice.random_range(0..8) {
                0 | 1 => {
                    (dice.random_range(2..=3), asked, RaftBody::VoteRequest { last_index, last_term, transfer: false })
                }
                2 => (dice.random_range(2..=3), asked, RaftBody::PreVoteRequest { last_index, last_term }),
                3 => {
                    let commit_index = LogIndex(dice.random_range(0..=ours.raft.last_index().0));
                    (leader(asked), asked, RaftBody::Heartbeat { round: 1, commit_index })
                }
                _ => {
                    let asked = asked.max(last_term.0);
                    let (begin, end) = (dice.random_range(0..=other.len()), dice.random_range(0..=other.len()));
                    let all = log(&Configuration::default(), &other);
                    let body = RaftBody::Append {
                        previous_index: LogIndex(begin as u64),
                        previous_term: begin.checked_sub(1).map_or(Term::ZERO, |place| Term(other[place])),
                        entries: all[begin..end.max(begin)].to_vec(),
                        commit_index: LogIndex(dice.random_range(0..=other.len() as u64)),
                    };
                    (leader(asked), asked, body)
                }
            };
            if let Some(why) = not_comparable(&ours, &theirs, now, from, asked, &body) {
                *compared.entry(why).or_insert(0) += 1;
                continue;
            }
            let context = format!("seed {seed}, step {step}: {own:?}, from {from} in {asked}: {body:?}");
            ours.raft.handle_message(now, id(from), message(asked, body.clone()));
            let mut our_answer = ours_says(&ours.sync(now));
            theirs.node.raft.step(question(from, asked, &body)).unwrap();
            let mut their_answer = theirs_says(&std::mem::take(&mut theirs.node.raft.msgs));
            let stale = asked < theirs.node.raft.term;
            if stale {
                // Both tell an old leader of the later term, in other words; ours tells an old candidate, too.
                our_answer.retain(|answer| !matches!(answer, Answer::Heartbeat | Answer::Vote { granted: false }));
                their_answer.retain(|answer| *answer != Answer::Accepted(0));
            }
            assert_eq!(our_answer, their_answer, "{context}");
            assert_eq!(ours.raft.term().0, theirs.node.raft.term, "{context}");
            assert_eq!(ours.raft.hard_state.vote.map_or(0, |id| id.0[0].into()), theirs.node.raft.vote, "{context}");
            assert_eq!(ours.raft.commit_index().0, theirs.node.raft.raft_log.committed, "{context}");
            assert_eq!(our_log(&ours), theirs.log(), "{context}");
            let kind = our_answer.first().map_or("nothing", |answer| match answer {
                Answer::Vote { granted: true } => "vote",
                Answer::Vote { granted: false } => "no vote",
                Answer::PreVote { granted: true } => "pre-vote",
                Answer::PreVote { granted: false } => "no pre-vote",
                Answer::Accepted(_) => "accepted",
                Answer::Rejected { .. } => "rejected",
                Answer::Heartbeat => "heartbeat",
            });
            *compared.entry(kind).or_insert(0) += 1;
            term = ours.raft.term().0;
        }
    }
    println!("{compared:?}");
    let often = ["vote", "no vote", "pre-vote", "no pre-vote", "accepted", "rejected", "heartbeat", "nothing"];
    assert!(often.iter().all(|kind| compared[kind] > 500), "{compared:?}");
}

/// Why the two may differ on purpose, or no correct cluster could come to this.
fn not_comparable(
    ours: &Server,
    theirs: &Their,
    now: Time,
    from: u8,
    asked: u64,
    body: &RaftBody,
) -> Option<&'static str> {
    let heard = ours.raft.heard_leader.is_some_and(|heard| now.since(heard) < ours.config.election_timeout);
    match body {
        RaftBody::VoteRequest { .. } | RaftBody::PreVoteRequest { .. } => {
            if heard != theirs.hears_leader() {
                return Some("skipped: only one holds out for a leader");
            }
            (heard && asked <= ours.raft.term().0).then_some("skipped: a vote in a term that has a leader")
        }
        RaftBody::Heartbeat { .. } | RaftBody::Append { .. } if asked >= ours.raft.term().0 => {
            if asked == ours.raft.term().0 && ours.raft.leader().is_some_and(|leader| leader != id(from)) {
                return Some("skipped: two leaders in a term");
            }
            let commit = ours.raft.commit_index();
            let RaftBody::Append { previous_index, entries, .. } = body else { return None };
            if *previous_index < commit {
                return Some("skipped: begins before the commit index");
            }
            let conflicts =
                |entry: &&LogEntry| ours.raft.log.term_at(entry.index).is_some_and(|term| term != entry.term);
            let conflict = entries.iter().find(conflicts);
            conflict.filter(|entry| entry.index <= commit).map(|_| "skipped: contradicts what is committed")
        }
        _ => None,
    }
}

/// Votes in any order: the same role after each.
#[test]
fn candidates_win_and_lose_alike() {
    let mut won = 0;
    for seed in 0..1_000 {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let voters = dice.random_range(2..=5);
        let own = terms(&mut dice);
        let term = *own.last().unwrap();
        let all: Vec<u8> = (1..=voters).collect();
        let mut ours = Server::with_log(1, &configuration(&all, &[]), &own);
        let mut theirs = Their::start(1, voters, term, None, &own);
        let now = ours.raft.deadline().unwrap();
        ours.raft.handle_timeout(now);
        ours.sync(now);
        theirs.node.campaign().unwrap();
        theirs.sync();
        let mut answers = BTreeMap::new();
        for _ in 0..12 {
            let from = dice.random_range(2..=voters + 1);
            let role = match ours.raft.role() {
                Role::PreCandidate => StateRole::PreCandidate,
                Role::Candidate => StateRole::Candidate,
                Role::Leader => StateRole::Leader,
                Role::Follower | Role::Learner => StateRole::Follower,
            };
            assert_eq!(role, theirs.node.raft.state, "seed {seed}");
            assert_eq!(ours.raft.term().0, theirs.node.raft.term, "seed {seed}");
            // Whoever changes its mind: the first answer counts for theirs, the latest for ours.
            let granted = *answers.entry((from, ours.raft.role() == Role::Candidate)).or_insert(dice.random_bool(0.6));
            let mut answer = Message::default();
            (answer.from, answer.to, answer.reject) = (u64::from(from), 1, !granted);
            let (body, term) = match role {
                StateRole::PreCandidate => {
                    answer.set_msg_type(MessageType::MsgRequestPreVoteResponse);
                    (RaftBody::PreVoteReply { granted }, ours.raft.term().0 + u64::from(granted))
                }
                StateRole::Candidate => {
                    answer.set_msg_type(MessageType::MsgRequestVoteResponse);
                    (RaftBody::VoteReply { granted }, ours.raft.term().0)
                }
                StateRole::Leader | StateRole::Follower => break,
            };
            answer.term = term;
            ours.raft.handle_message(now, id(from), message(term, body));
            ours.sync(now);
            // One that does not vote is not asked for its opinion by theirs' caller.
            if from <= voters {
                theirs.node.step(answer).unwrap();
            }
            theirs.sync();
        }
        won += usize::from(ours.raft.role() == Role::Leader);
    }
    assert!((300..900).contains(&won), "{won}");
}

// ---- whole clusters, in lockstep ----

/// Three of ours and three of theirs; nothing happens by itself.
struct Pair {
    now: Time,
    ours: BTreeMap<u8, Server>,
    theirs: BTreeMap<u8, Their>,
    cut: BTreeSet<(u8, u8)>,
    leader: Option<u8>,
    context: String,
}

const SERVERS: u8 = 3;

impl Pair {
    fn new(seed: u64) -> Pair {
        let first = configuration(&[1, 2, 3], &[]);
        let ours = (1..=SERVERS).map(|n| (n, Server::with_log(n, &first, &[1]))).collect();
        let theirs = (1..=SERVERS).map(|n| (n, Their::start(n, SERVERS, 1, None, &[1]))).collect();
        Pair { now: at(1000), ours, theirs, cut: BTreeSet::new(), leader: None, context: format!("seed {seed}") }
    }

    /// Delivers everything that links carry, and heartbeats, until nothing changes any more.
    fn settle(&mut self) {
        for round in 0..12 {
            if let Some(leader) = self.leader {
                self.now = self.now + Duration::from_millis(60);
                let leading = self.ours.get_mut(&leader).unwrap();
                leading.raft.advance_clock(self.now);
                leading.raft.start_round();
                self.theirs.get_mut(&leader).unwrap().node.ping();
            } else if round > 0 {
                break;
            }
            self.deliver();
        }
    }

    fn deliver(&mut self) {
        loop {
            let (now, cut) = (self.now, &self.cut);
            let carried = |from: u8, to: u8| to <= SERVERS && !cut.contains(&(from, to));
            let mut ours = Vec::new();
            for (n, server) in &mut self.ours {
                ours.extend(server.sync(now).into_iter().map(|(to, message)| (*n, to.0[0], message)));
            }
            let theirs: Vec<Message> = self.theirs.values_mut().flat_map(Their::sync).collect();
            if ours.is_empty() && theirs.is_empty() {
                return;
            }
            for (from, to, message) in ours.into_iter().filter(|(from, to, _)| carried(*from, *to)) {
                self.ours.get_mut(&to).unwrap().raft.handle_message(now, id(from), message);
            }
            for message in theirs {
                let (from, to) = (message.from as u8, message.to as u8);
                if carried(from, to) {
                    let _ = self.theirs.get_mut(&to).unwrap().node.step(message);
                }
            }
        }
    }

    fn propose(&mut self, content: u64) {
        let Some(leader) = self.leader else { return };
        let content = content.to_le_bytes().to_vec();
        self.ours.get_mut(&leader).unwrap().raft.propose(self.now, content.clone().into()).unwrap();
        self.theirs.get_mut(&leader).unwrap().node.propose(vec![], content).unwrap();
    }

    /// Whoever leads gives up, all promises end, and one server stands.
    fn stand(&mut self, n: u8) {
        self.now = self.now + Duration::from_secs(10);
        if let Some(leader) = self.leader.take() {
            let before = self.ours.get_mut(&leader).unwrap();
            before.raft.handle_timeout(self.now);
            assert_ne!(before.raft.role(), Role::Leader);
            let before = &mut self.theirs.get_mut(&leader).unwrap().node.raft;
            before.become_follower(before.term, 0);
            self.now = self.now + Duration::from_secs(10);
        }
        self.ours.values_mut().for_each(|server| server.raft.advance_clock(self.now));
        self.theirs.values_mut().for_each(|server| server.node.raft.election_elapsed = 100);
        self.ours.get_mut(&n).unwrap().raft.handle_timeout(self.now);
        self.theirs.get_mut(&n).unwrap().node.campaign().unwrap();
        self.settle();
        self.find_leader();
    }

    fn find_leader(&mut self) {
        let ours = self.ours.iter().find(|(_, server)| server.raft.role() == Role::Leader).map(|(n, _)| *n);
        let leads = |their: &Their| their.node.raft.state == StateRole::Leader;
        let theirs = self.theirs.iter().find(|(_, their)| leads(their)).map(|(n, _)| *n);
        assert_eq!(ours, theirs, "{}", self.context);
        self.leader = ours;
    }

    fn restart(&mut self, n: u8) {
        if self.leader == Some(n) {
            self.leader = None;
        }
        self.ours.get_mut(&n).unwrap().restart(self.now);
        self.theirs.get_mut(&n).unwrap().restart();
    }

    fn compare(&self) -> u64 {
        for (n, ours) in &self.ours {
            let theirs = &self.theirs[n];
            let context = format!("{}: {n}", self.context);
            assert_eq!(ours.raft.term().0, theirs.node.raft.term, "{context}");
            assert_eq!(our_log(ours), theirs.log(), "{context}");
            let (our_commit, their_commit) = (ours.raft.commit_index().0, theirs.node.raft.raft_log.committed);
            let both_ways = |leader: u8| !self.cut.contains(&(leader, *n)) && !self.cut.contains(&(*n, leader));
            if self.leader.is_some_and(both_ways) {
                assert_eq!(our_commit, their_commit, "{context}");
            } else {
                assert!(our_commit <= their_commit, "{context}: what a restart forgets, and nothing else");
            }
        }
        self.ours.values().map(|server| server.raft.commit_index().0).max().unwrap_or(0)
    }
}

/// Proposals, cut links, elections and restarts in the same order: the same leaders, logs and commits.
#[test]
fn clusters_end_alike() {
    let (mut committed, mut elected, mut failed, mut truncated) = (0, 0, 0, 0);
    for seed in 0..600 {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let mut pair = Pair::new(seed);
        let mut content = 0;
        for step in 0..40 {
            let choice = dice.random_range(0..10);
            pair.context = format!("seed {seed}, step {step}, choice {choice}, leader {:?}", pair.leader);
            let before: Vec<_> = pair.ours.values().map(our_log).collect();
            match choice {
                0..=3 => {
                    for _ in 0..dice.random_range(1..4) {
                        content += 1;
                        pair.propose(content);
                    }
                }
                4 | 5 => {
                    let links = (1..=SERVERS).flat_map(|from| (1..=SERVERS).map(move |to| (from, to)));
                    pair.cut = links.filter(|(from, to)| from != to && dice.random_bool(0.35)).collect();
                }
                6 => pair.cut.clear(),
                7 => pair.restart(dice.random_range(1..=SERVERS)),
                _ => {
                    pair.stand(dice.random_range(1..=SERVERS));
                    elected += usize::from(pair.leader.is_some());
                    failed += usize::from(pair.leader.is_none());
                }
            }
            pair.settle();
            pair.find_leader();
            pair.compare();
            let undone = pair.ours.values().zip(before).filter(|(server, before)| !our_log(server).starts_with(before));
            truncated += undone.count();
        }
        committed += pair.compare();
    }
    println!("{committed} committed, {elected} elected, {failed} not, {truncated} truncated");
    assert!(committed > 10_000 && elected > 3_000 && failed > 1_000 && truncated > 20);
}
