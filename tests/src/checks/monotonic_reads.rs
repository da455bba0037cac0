//! Whoever has seen an index and says so reads no older state, whichever server answers; and a read that is not stale shows what had been
//! acknowledged when it was asked.
//!
//! Both are one question to the log: is there an index from that floor on at which these keys were just so?

use super::{Checked, Violation};
use crate::model::{KeyState, Model};
use quorate_protocol::{Answer, KvRead, LogIndex, Read, TxnRead, TxnRow};
use std::collections::BTreeMap;

const PROPERTY: &str = "monotonic_reads";

/// Checks the answer to a question about keys against the states that the log has had since an index. Other questions hold anyway.
///
/// # Errors
/// When it shows none of them.
pub fn check(read: &Read, answer: &Answer, floor: LogIndex, model: &Model) -> Checked {
    let Some(shown) = shown_by(answer) else { return Ok(()) };
    let covers = |key: &str| match read {
        Read::Kv(KvRead::Get { key: one }) => key == one,
        Read::Kv(KvRead::List { prefix, page }) => page.is_all() && key.starts_with(prefix.as_str()),
        Read::Txn(operations) => {
            operations.iter().any(|operation| matches!(operation, TxnRead::GetOrEmpty { key: one } if key == one))
        }
        _ => false,
    };
    let was_so = |index| model.keys_at(covers, index).eq(shown.iter().map(|(key, state)| (*key, state)));
    // Between two changes nothing changes: the floor and every change after it are all states there were.
    let Some(changes) = model.changes(covers, floor, model.index()) else { return Ok(()) };
    if was_so(floor) || changes.iter().any(|(_, version)| was_so(version.index)) {
        return Ok(());
    }
    let seen = format!("{read:?} shows {shown:?}, which it never was from index {floor} to {}", model.index());
    Violation::seen(PROPERTY, seen)
}

fn shown_by(answer: &Answer) -> Option<BTreeMap<&str, KeyState>> {
    match answer {
        Answer::Entries(rows) => Some(rows.iter().map(|row| (row.key.as_str(), KeyState::of(row))).collect()),
        Answer::Txn(Ok(results)) => {
            let rows = results.iter().filter_map(|result| match &result.row {
                // One that is not there is shown as an empty one.
                TxnRow::Entry(row) if row.modify_index > LogIndex::ZERO => Some((row.key.as_str(), KeyState::of(row))),
                TxnRow::Entry(_) | TxnRow::Node(_) | TxnRow::Service(..) | TxnRow::Check(_) => None,
            });
            Some(rows.collect())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_protocol::{Entry, KvWrite, Page, Pair, Row, Time, Write};
    use std::sync::Arc;

    /// At 1 a is 1, at 2 b is 2, at 3 a is 3.
    fn model() -> Model {
        let mut model = Model::default();
        for (key, value) in [("k/a", 1), ("k/b", 2), ("k/a", 3)] {
            let pair = Pair { key: key.into(), flags: value, ..Pair::default() };
            model.read(Time::ZERO, Some(&Write::Kv(KvWrite::Put { pair, cas: None })));
        }
        model
    }

    fn row(key: &str, value: u64, created: u64, modified: u64) -> Arc<Row<Entry>> {
        let value = Entry { key: key.into(), flags: value, ..Entry::default() };
        Arc::new(Row { value, create_index: LogIndex(created), modify_index: LogIndex(modified) })
    }

    #[test]
    fn a_key_as_it_was_before_is_seen() {
        let get = |rows, floor| {
            check(&Read::Kv(KvRead::Get { key: "k/a".into() }), &Answer::Entries(rows), LogIndex(floor), &model())
        };
        assert_eq!(get(vec![row("k/a", 1, 1, 1)], 2), Ok(()), "until 3");
        assert_eq!(get(vec![row("k/a", 3, 1, 3)], 2), Ok(()));
        assert_eq!(get(vec![], 0), Ok(()));
        assert!(get(vec![row("k/a", 1, 1, 1)], 3).is_err());
        assert!(get(vec![], 1).is_err());
    }

    #[test]
    fn a_list_that_never_was_is_seen() {
        let list = |rows, floor| {
            let read = Read::Kv(KvRead::List { prefix: "k/".into(), page: Page::default() });
            check(&read, &Answer::Entries(rows), LogIndex(floor), &model())
        };
        assert_eq!(list(vec![row("k/a", 1, 1, 1), row("k/b", 2, 2, 2)], 2), Ok(()));
        assert!(list(vec![row("k/a", 3, 1, 3)], 1).is_err(), "the last without the one before");
        assert!(list(vec![row("k/a", 1, 1, 1)], 2).is_err());
    }
}
