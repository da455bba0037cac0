//! A store made from the chunks of another answers alike and goes on alike; and a restore brings every row back without any index going back.

use super::*;
use crate::{Chunk, SnapshotChunks};

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_store_from_chunks_is_as_the_other(
        before in vec(staging_step(), 0..50),
        after in vec(staging_step(), 0..30),
        redrawn in any::<Index>(),
    ) {
        let reads = all_reads();
        let mut original = begin();
        for step in &before {
            take(&mut original, step);
        }
        let mut drawing = SnapshotChunks::new(original.view());
        let chunks = draw(&mut drawing);
        let number = redrawn.index(chunks.len());
        prop_assert_eq!(drawing.chunk(number as u64), Some(chunks[number].clone()), "drawn again");
        let mut copy = rebuild(&chunks);
        prop_assert_eq!(draw(&mut SnapshotChunks::new(copy.view())), chunks);
        for step in [None].into_iter().chain(after.iter().map(Some)) {
            if let Some(step) = step {
                let (write, outcome, touched) = take(&mut original, step);
                let (_, same_outcome, same_touched) = take(&mut copy, step);
                prop_assert_eq!(outcome, same_outcome, "{:?}", write);
                prop_assert_eq!(format!("{touched:?}"), format!("{same_touched:?}"), "{:?}", write);
            }
            prop_assert_eq!((original.applied_index(), original.hash()), (copy.applied_index(), copy.hash()));
            prop_assert_eq!(answers(&original.view(), &reads), answers(&copy.view(), &reads));
            prop_assert_eq!(original.view().timers(), copy.view().timers());
        }
    }

    #[test]
    fn a_restore_brings_back_every_row(
        there in vec(step(), 0..40),
        here in vec(step(), 0..40),
        after in vec(step(), 0..20),
    ) {
        let reads = all_reads();
        let mut source = begin();
        for step in &there {
            take(&mut source, step);
        }
        let mut store = begin();
        for step in &here {
            take(&mut store, step);
        }
        let before = answers(&store.view(), &reads);
        let mut timers: BTreeMap<_, _> = store.view().timers().into_iter().collect();
        for write in restore_of(&source.view()) {
            let (outcome, touched) = store.apply(store.applied_index().next(), &write);
            prop_assert_eq!(outcome, Outcome::Done);
            let is_commit = matches!(write, Write::Restore(RestoreWrite::Commit { .. }));
            prop_assert!(reads.iter().all(|read| touched.concerns(read) == is_commit));
            for (timer, armed) in touched.timers() {
                match armed {
                    Some(armed) => timers.insert(timer.clone(), *armed),
                    None => timers.remove(timer),
                };
            }
        }
        let committed = store.applied_index();
        let (view, source) = (store.view(), source.view());
        prop_assert_eq!(timers, view.timers().into_iter().collect::<BTreeMap<_, _>>());
        let counting = |view: &View, since: Option<LogIndex>| -> Vec<_> {
            let all = view.timers().into_iter();
            all.map(|(timer, armed)| (timer, since.unwrap_or(armed.since), armed.after)).collect()
        };
        prop_assert_eq!(counting(&view, None), counting(&source, Some(committed)));
        for ((read, (_, old_index)), (answer, index)) in reads.iter().zip(&before).zip(answers(&view, &reads)) {
            prop_assert!(index >= *old_index, "{read:?} goes back from {old_index} to {index}");
            prop_assert!(index == committed || *read == Read::Txn(vec![]), "{read:?} is at {index}");
            let is_equal = reindexed(&source.read(read).0, committed) == reindexed(&answer, committed);
            // What a transaction says about indexes changes with them.
            prop_assert!(is_equal || matches!(read, Read::Txn(_)), "{read:?}: {answer:?} instead of {:?}", source.read(read).0);
        }
        for row in KEYS.iter().filter_map(|key| view.entry(key)) {
            let lock = row.lock;
            prop_assert!(lock.token <= committed && (lock.session.is_none() || lock.token == committed), "{row:?}");
        }
        // It goes on as any other.
        let mut copy = rebuild(&draw(&mut SnapshotChunks::new(view)));
        for step in &after {
            let (write, outcome, _) = take(&mut store, step);
            prop_assert_eq!(outcome, take(&mut copy, step).1, "{:?}", write);
        }
        prop_assert_eq!(answers(&store.view(), &reads), answers(&copy.view(), &reads));
    }
}

/// As any step; and now and then some of a restore, so that snapshots are taken while one is on its way.
fn staging_step() -> impl Strategy<Value = Step> {
    let mut store = begin();
    for n in 0..8 {
        let pair = Pair { key: format!("a/{n}"), value: vec![n; 150].into(), ..Pair::default() };
        store.apply(store.applied_index().next(), &Write::Kv(KvWrite::Put { pair, cas: None }));
    }
    let restore = restore_of(&store.view());
    let drop = [Write::Restore(RestoreWrite::Abandon { id: 1 }), Write::Restore(RestoreWrite::Begin { id: 1 })];
    let choices: Vec<Write> = restore.into_iter().chain(drop).collect();
    prop_oneof![10 => step(), 3 => select(choices).prop_map(Step::Write)]
}

/// The writes that restore what a view shows.
fn restore_of(view: &View) -> Vec<Write> {
    let chunks = draw(&mut SnapshotChunks::new(view.clone()));
    let chunks = (0..).zip(chunks).map(|(number, chunk)| RestoreWrite::Chunk { id: 1, number, bytes: chunk.bytes });
    let all = [RestoreWrite::Begin { id: 1 }].into_iter().chain(chunks).chain([RestoreWrite::Commit { id: 1 }]);
    all.map(Write::Restore).collect()
}

fn draw(chunks: &mut SnapshotChunks) -> Vec<Chunk> {
    assert_eq!(chunks.chunk(1), None, "not before the first");
    let drawn: Vec<Chunk> = (0..).map_while(|number| chunks.chunk(number)).collect();
    assert!(
        drawn.iter().rev().map(|chunk| chunk.last).eq((0..drawn.len()).map(|n| n == 0)),
        "only the last is the last"
    );
    drawn
}

fn rebuild(chunks: &[Chunk]) -> Store {
    Store::from_chunks(chunks.iter().map(|chunk| chunk.bytes.as_ref())).expect("the chunks are whole")
}

/// The answer with every row as a restore at `at` makes it.
fn reindexed(answer: &Answer, at: LogIndex) -> Answer {
    fn row<T: Clone>(row: &Row<T>, at: LogIndex) -> std::sync::Arc<Row<T>> {
        Row { value: row.value.clone(), create_index: row.create_index.min(at), modify_index: at }.into()
    }
    match answer {
        Answer::Entries(rows) => {
            let without_token = |one: &std::sync::Arc<Row<Entry>>| {
                let mut one = Row::clone(&row(one, at));
                one.value.lock.token = LogIndex(0);
                one.into()
            };
            Answer::Entries(rows.iter().map(without_token).collect())
        }
        Answer::Nodes(rows) => Answer::Nodes(rows.iter().map(|one| row(one, at)).collect()),
        Answer::Checks(rows) => Answer::Checks(rows.iter().map(|one| row(one, at)).collect()),
        Answer::Sessions(rows) => Answer::Sessions(rows.iter().map(|one| row(one, at)).collect()),
        Answer::NodeServices(found) => Answer::NodeServices(found.as_ref().map(|found| NodeServices {
            node: row(&found.node, at),
            services: found.services.iter().map(|one| row(one, at)).collect(),
        })),
        Answer::Instances(found) => {
            let instance = |one: &Instance| Instance {
                node: row(&one.node, at),
                service: row(&one.service, at),
                checks: one.checks.iter().map(|check| row(check, at)).collect(),
            };
            Answer::Instances(found.iter().map(instance).collect())
        }
        Answer::Autopilot(one) if one.modify_index == LogIndex(0) => Answer::Autopilot(one.clone()),
        Answer::Autopilot(one) => Answer::Autopilot(row(one, at)),
        Answer::Keys(_) | Answer::Services(_) | Answer::Changes(_) | Answer::Txn(_) => answer.clone(),
    }
}
