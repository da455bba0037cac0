//! A crash after every single operation on files: what is found then is what was acknowledged, or that and what was under way.

use super::*;

/// What happens to a server; it is acknowledged when it returns.
struct Step {
    what: &'static str,
    does: Box<dyn Fn(&mut RaftLog)>,
}

fn step(what: &'static str, does: impl Fn(&mut RaftLog) + 'static) -> Step {
    Step { what, does: Box::new(does) }
}

fn story() -> Vec<Step> {
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

/// What a server must remember.
#[derive(Debug, PartialEq)]
struct Memory {
    hard_state: HardState,
    entries: Vec<LogEntry>,
}

impl Memory {
    fn of(recovered: &Recovered) -> Memory {
        Memory { hard_state: recovered.hard_state, entries: history(recovered) }
    }

    /// Whether a crash on the way from this to the next may leave what was found: one of the two, or the leader's snapshot without the term
    /// that came with it; its own term is known then, and no vote in that was given.
    fn may_become(&self, next: &Memory, found: &Memory) -> bool {
        let last = found.entries.last().map_or(Term::ZERO, |entry| entry.term);
        let known = if last > self.hard_state.term { HardState { term: last, vote: None } } else { self.hard_state };
        found == self || found == next || (found.entries == next.entries && found.hard_state == known)
    }
}

#[test]
fn a_crash_after_any_operation_loses_nothing_that_was_acknowledged() {
    let dir = directory();
    let recorder = Recorder::watch(dir.path());
    let (found, mut log) = open(dir.path());
    let mut acknowledged = vec![(0, "the beginning", Memory::of(&found))];
    for Step { what, does } in story() {
        does(&mut log);
        // What a start would find now.
        let there = directory();
        leave(&recorder.ops(), Crash::Kill, dir.path(), there.path());
        acknowledged.push((recorder.ops().len(), what, Memory::of(&open(there.path()).0)));
    }
    drop(log);
    let ops = recorder.ops();
    drop(recorder);
    let (.., last) = acknowledged.last().unwrap();
    assert_eq!(last, &Memory { hard_state: hard_state(6), entries: [run(5, 1..=95), run(6, 96..=97)].concat() });

    for done in 0..=ops.len() {
        let at = acknowledged.iter().rposition(|(ops, ..)| *ops <= done).unwrap();
        let (_, what, before) = &acknowledged[at];
        let (.., next) = &acknowledged[(at + 1).min(acknowledged.len() - 1)];
        let tears = (0..6).map(|seed| Crash::Tear(seed + 10 * done as u64));
        for crash in [Crash::Kill, Crash::Lose].into_iter().chain(tears) {
            let there = directory();
            leave(&ops[..done], crash, dir.path(), there.path());
            let last = done.checked_sub(1).map(|last| brief(&ops[last]));
            let where_it_was = || format!("{crash:?} after {what:?} and operation {done}, {last:?}");
            let (found, mut log) =
                RaftLog::open(there.path(), ME, &small()).unwrap_or_else(|error| panic!("{}: {error}", where_it_was()));
            let found = Memory::of(&found);
            assert!(before.may_become(next, &found), "{}: {found:?}", where_it_was());
            // It goes on from there, and what it then acknowledges is there at the next start.
            log.commit(&[persist(9, Vec::new())]).unwrap();
            drop(log);
            let (again, _) = open(there.path());
            let expected = Memory { hard_state: hard_state(9), entries: found.entries };
            assert_eq!(Memory::of(&again), expected, "{}", where_it_was());
        }
    }
}

fn brief(op: &Op) -> String {
    format!("{op:?}").chars().take(160).collect()
}
