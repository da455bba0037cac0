//! The change stream tells each put and delete once and in order, or says that it cannot.

use super::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_change_stream_is_the_history(steps in vec(step(), 1..40)) {
        let mut store = begin();
        let mut history: Vec<Change> = Vec::new();
        let mut indexes = vec![LogIndex(0); selections().count()];
        for step in &steps {
            let (write, _, touched) = take(&mut store, step);
            let view = store.view();
            history.extend(touched.keys.keys().map(|key| match view.entry(key) {
                Some(row) => Change::Put(row.clone()),
                None => Change::Delete { key: key.as_ref().to_owned(), index: view.index() },
            }));
            for (of, last_index) in selections().zip(&mut indexes) {
                let index = check(&view, &of, &history).map_err(|why| TestCaseError::fail(format!("{why} after {write:?}")))?;
                prop_assert!(index >= *last_index, "{of:?} goes back from {last_index} to {index} by {write:?}");
                *last_index = index;
                let read = Read::Kv(KvRead::Changes { of: of.clone(), after: LogIndex(1), limit: 1 });
                let happened = history.iter().any(|change| change.index() == view.index() && of.covers(change.key()));
                prop_assert!(!happened || touched.concerns(&read), "{of:?} is not woken by {write:?}");
            }
        }
    }
}

fn selections() -> impl Iterator<Item = Selection> {
    let keys = KEYS.iter().chain(&["never"]).map(|key| Selection::Key((*key).to_owned()));
    keys.chain(PREFIXES.iter().map(|prefix| Selection::Prefix((*prefix).to_owned())))
}

/// Compares the answers to all questions about these keys with what happened, and gives the index that came with them.
fn check(view: &View, of: &Selection, history: &[Change]) -> Result<LogIndex, String> {
    let mut last_index = LogIndex(0);
    for after in (0..view.index().0 + 3).map(LogIndex) {
        let happened: Vec<&Change> =
            history.iter().filter(|change| change.index() > after && of.covers(change.key())).collect();
        for limit in [0, 1, 2, u32::MAX] {
            let read = Read::Kv(KvRead::Changes { of: of.clone(), after, limit });
            let (answer, index) = view.read(&read);
            last_index = index;
            if !happened.is_empty() && index <= after {
                return Err(format!("{read:?} waits at {index} for what has happened"));
            }
            match answer {
                Answer::Changes(Changes::Known { changes, up_to }) => {
                    let expected: Vec<&Change> =
                        happened.iter().filter(|change| change.index() <= up_to).copied().collect();
                    if !changes.iter().eq(expected) || up_to < after {
                        return Err(format!("{read:?}: {changes:?} up to {up_to} of {happened:?}"));
                    }
                    let is_all = changes.len() == happened.len();
                    if is_all && up_to < view.index() || !is_all && changes.len() < limit.max(1) as usize {
                        return Err(format!("{read:?}: stops at {up_to} with {} of {}", changes.len(), happened.len()));
                    }
                }
                Answer::Changes(Changes::Compacted { since }) => {
                    if since <= after || index <= after {
                        return Err(format!("{read:?}: compacted since {since}, at {index}"));
                    }
                }
                other => return Err(format!("{other:?}")),
            }
        }
    }
    Ok(last_index)
}
