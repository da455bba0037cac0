//! No wake-up is lost, an index never goes back, and equal logs make equal stores.

use super::*;
use crate::Watched;
use std::sync::Arc;

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    /// `index_never_goes_back` and `no_wakeup_lost`, as far as they are the store's.
    #[test]
    fn a_changed_answer_has_a_higher_index_and_wakes(steps in vec(step(), 1..50)) {
        let reads = all_reads();
        let mut store = begin();
        let mut before = answers(&store.view(), &reads);
        for step in &steps {
            let timers_before: BTreeMap<_, _> = store.view().timers().into_iter().collect();
            let (write, outcome, touched) = take(&mut store, step);
            let after = answers(&store.view(), &reads);
            for (read, ((old, old_index), (new, new_index))) in reads.iter().zip(before.iter().zip(&after)) {
                prop_assert!(new_index >= old_index && old_index.0 >= 1, "{read:?}: {old_index} to {new_index} by {write:?}");
                prop_assert!(*new_index <= store.applied_index());
                if old != new {
                    prop_assert!(new_index > old_index, "{read:?}: unmoved at {old_index} by {write:?}");
                    prop_assert!(touched.concerns(read), "{read:?}: not woken by {write:?}");
                }
                if touched.is_empty() {
                    prop_assert_eq!((old, old_index), (new, new_index), "{:?} touches nothing", write);
                }
            }
            if !is_done(&outcome) {
                prop_assert!(touched.is_empty(), "{outcome:?} touches {touched:?}");
            }
            let mut timers = timers_before.clone();
            for (timer, armed) in touched.timers() {
                match armed {
                    Some(armed) => timers.insert(timer.clone(), *armed),
                    None => timers.remove(timer),
                };
            }
            prop_assert_eq!(timers, store.view().timers().into_iter().collect::<BTreeMap<_, _>>(), "by {:?}", write);
            before = after;
        }
    }

    /// The index of questions finds those that a write concerns, all of them and no others.
    #[test]
    fn watched_questions_are_found(steps in vec(step(), 1..30), gone in vec(any::<Index>(), 0..40)) {
        let selections = KEYS.iter().map(|key| Selection::Key((*key).to_owned()))
            .chain(PREFIXES.iter().map(|prefix| Selection::Prefix((*prefix).to_owned())));
        let changes = selections.map(|of| Read::Kv(KvRead::Changes { of, after: LogIndex(1), limit: 9 }));
        let mut reads: Vec<Arc<Read>> = all_reads().into_iter().chain(changes).map(Arc::new).collect();
        let mut watched = Watched::default();
        reads.iter().for_each(|read| watched.insert(read));
        for one in gone {
            watched.remove(&reads.swap_remove(one.index(reads.len())));
        }
        let mut store = begin();
        for step in &steps {
            let (write, _, touched) = take(&mut store, step);
            let expected: BTreeSet<_> = reads.iter().filter(|read| touched.concerns(read)).cloned().collect();
            prop_assert_eq!(watched.concerned_by(&touched), expected, "by {:?}", write);
        }
    }

    /// What is done a second time changes nothing.
    #[test]
    fn the_same_again_touches_nothing(steps in vec(step(), 1..30)) {
        let mut store = begin();
        for step in &steps {
            let (write, outcome, _) = take(&mut store, step);
            if is_done(&outcome) && is_done_alike_again(&write) {
                let (_, touched) = store.apply(store.applied_index().next(), &write);
                prop_assert!(touched.is_empty(), "{:?} touches {:?}", write, touched);
            }
        }
    }

    /// `applied_states_equal`; and earlier views are as they were.
    #[test]
    fn equal_logs_make_equal_stores(steps in vec(step(), 1..40), at in any::<Index>()) {
        let reads = all_reads();
        let (mut one, mut other) = (begin(), begin());
        let at = at.index(steps.len());
        let mut kept = None;
        for (n, step) in steps.iter().enumerate() {
            prop_assert_eq!(take(&mut one, step).1, take(&mut other, step).1);
            prop_assert_eq!(one.hash(), other.hash());
            if n == at {
                kept = Some((one.view(), answers(&one.view(), &reads)));
            }
        }
        prop_assert_eq!(answers(&one.view(), &reads), answers(&other.view(), &reads));
        let (view, then) = kept.expect("one was kept");
        prop_assert_eq!(answers(&view, &reads), then);

        let index = one.applied_index().next();
        one.apply(index, &Write::Kv(KvWrite::DeletePrefix { prefix: "p".into() }));
        other.apply(index, &Write::Kv(KvWrite::DeletePrefix { prefix: "q".into() }));
        prop_assert_ne!(one.hash(), other.hash());
    }
}

/// Whether the write says the same a second time: one that compares finds another index, and one that begins a TTL begins it anew.
fn is_done_alike_again(write: &Write) -> bool {
    match write {
        Write::Kv(KvWrite::Put { pair, cas }) => cas.is_none() && pair.ttl.is_none(),
        Write::Kv(
            KvWrite::Acquire { pair, .. } | KvWrite::AcquireOnce { pair, .. } | KvWrite::Release { pair, .. },
        ) => pair.ttl.is_none(),
        Write::Kv(KvWrite::Delete { cas, .. }) | Write::Autopilot { cas, .. } => cas.is_none(),
        // One check id twice with two contents is written twice by one registration.
        Write::Register(registration) => {
            let mut ids = BTreeSet::new();
            registration.checks.iter().all(|check| ids.insert(&check.id))
        }
        Write::Session(SessionWrite::Renew { .. }) | Write::Txn(_) => false,
        Write::Kv(KvWrite::DeletePrefix { .. })
        | Write::Session(SessionWrite::Create(_) | SessionWrite::Destroy { .. })
        | Write::Deregister(_)
        | Write::Expire { .. }
        | Write::Restore(_) => true,
    }
}
