//! A crash after every single operation on files: what is found then is what was acknowledged, or that and what was under way.

use super::*;

/// What happens to a server, one thing after the other; each is acknowledged when it returns.
fn story() -> Vec<(&'static str, Box<dyn Fn(&mut RaftLog)>)> {
    fn step(what: &'static str, does: impl Fn(&mut RaftLog) + 'static) -> (&'static str, Box<dyn Fn(&mut RaftLog)>) {
        (what, Box::new(does))
    }
    let commit = |persist: Persist| move |log: &mut RaftLog| log.commit(std::slice::from_ref(&persist)).unwrap();
    let keep = |snapshot: Snapshot| move |log: &mut RaftLog| save(log, snapshot.clone()).unwrap();
    vec![
        step("a vote", commit(persist(1, Vec::new()))),
        step("entries", commit(persist(1, run(1, 1..=4)))),
        step("entries over two segments", commit(persist(1, run(1, 5..=40)))),
        step("a tail is replaced", commit(persist(2, run(2, 39..=41)))),
        step("an own snapshot", keep(snapshot(&run(1, 1..=20)))),
        step("compaction", commit(compacting(2, 15))),
        step("more entries", commit(persist(2, run(2, 42..=60)))),
        step("a second own snapshot", keep(snapshot(&[run(1, 1..=38), run(2, 39..=50)].concat()))),
        step("a second compaction", commit(compacting(2, 51))),
        step("a leader's snapshot, far ahead", commit(receiving(5, snapshot(&run(5, 1..=90))))),
        step("entries behind it", commit(persist(5, run(5, 91..=95)))),
        step("a leader's snapshot within the log", commit(receiving(6, snapshot(&run(5, 1..=93))))),
        step("entries at last", commit(persist(6, run(6, 96..=97)))),
    ]
}

/// The whole of what a server must remember.
fn memory(recovered: &Recovered) -> (HardState, Vec<LogEntry>) {
    (recovered.hard_state, history(recovered))
}

#[test]
fn a_crash_after_any_operation_loses_nothing_that_was_acknowledged() {
    let dir = directory();
    let recorder = Recorder::watch(dir.path());
    let (found, mut log) = open(dir.path());
    let mut acknowledged = vec![(recorder.ops().len(), "nothing yet", memory(&found))];
    for (what, step) in story() {
        step(&mut log);
        let ops = recorder.ops().len();
        // What a look from outside shows now, without touching anything.
        let there = directory();
        leave(&recorder.ops(), Crash::Kill, dir.path(), there.path());
        acknowledged.push((ops, what, memory(&open(there.path()).0)));
    }
    drop(log);
    let ops = recorder.ops();
    drop(recorder);
    assert_eq!(acknowledged.last().unwrap().2, (hard_state(6), [run(5, 1..=95), run(6, 96..=97)].concat()));

    let mut crashes = 0;
    for done in 0..=ops.len() {
        let before = acknowledged.iter().rposition(|(ops, ..)| *ops <= done);
        let allowed: Vec<_> = match before {
            Some(at) => acknowledged[at..].iter().take(2).collect(),
            None => acknowledged.iter().take(1).collect(),
        };
        let tears = (0..6).map(|seed| Crash::Tear(seed + 10 * done as u64));
        for crash in [Crash::Kill, Crash::Lose].into_iter().chain(tears) {
            let there = directory();
            leave(&ops[..done], crash, dir.path(), there.path());
            let at = || {
                format!(
                    "{crash:?} after operation {done}, {:?}, after {:?}",
                    ops.get(done.wrapping_sub(1)).map(brief),
                    allowed[0].1
                )
            };
            for start in ["first", "second"] {
                let opened = RaftLog::open(there.path(), ME, &small());
                let (found, mut log) = opened.unwrap_or_else(|error| panic!("{}: {error}", at()));
                let found = memory(&found);
                assert!(is_one_of(&allowed, &found), "{}: the {start} start found {found:?}", at());
                // And it goes on from there.
                if start == "first" {
                    log.commit(&[persist(found.0.term.0, Vec::new())])
                        .unwrap_or_else(|error| panic!("{}: {error}", at()));
                    if found.0.vote.is_none() {
                        break;
                    }
                }
            }
            crashes += 1;
        }
    }
    assert!(crashes > 1000, "only {crashes}");
}

/// A snapshot of the leader's may be there before the term in which it came.
fn is_one_of(allowed: &[&(usize, &str, (HardState, Vec<LogEntry>))], found: &(HardState, Vec<LogEntry>)) -> bool {
    allowed.iter().any(|(.., memory)| memory == found)
        || allowed.iter().any(|(.., (_, entries))| *entries == found.1)
            && allowed.iter().any(|(.., (hard_state, _))| {
                *hard_state == found.0
                    || found.0
                        == HardState {
                            term: hard_state.term.max(found.1.last().map_or(Term::ZERO, |entry| entry.term)),
                            vote: None,
                        }
            })
}

fn brief(op: &Op) -> String {
    let text: String = format!("{op:?}").chars().filter(|char| *char != '\n').collect();
    text.chars().take(160).collect()
}
