//! A change stream shows every put and delete of what it follows, once and in the order of the log, or says that it cannot.

use super::{Checked, Violation};
use crate::model::{KeyState, Model};
use quorate_protocol::{Change, Changes, LogIndex, Selection};

const PROPERTY: &str = "changes_complete";

/// A question of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Which keys.
    pub of: Selection,
    /// What it has seen.
    pub after: LogIndex,
    /// How many changes it takes.
    pub limit: u32,
}

/// Compares an answer with what the log says.
///
/// # Errors
/// When a change is missing, too many, out of order, or not what happened; or when the answer leads nowhere.
pub fn check(asked: &Asked, answer: &Changes, model: &Model) -> Checked {
    let Asked { of, after, limit } = asked;
    let (changes, up_to) = match answer {
        Changes::Known { changes, up_to } => (changes, *up_to),
        Changes::Compacted { since } if since > after => return Ok(()),
        Changes::Compacted { since } => {
            return Violation::seen(PROPERTY, format!("{of:?} after {after}: compacted, though known since {since}"));
        }
    };
    if up_to < *after {
        return Violation::seen(PROPERTY, format!("{of:?} after {after}: known up to {up_to} only"));
    }
    let last = changes.last().map(Change::index);
    let before_last = changes.iter().filter(|change| Some(change.index()) != last).count();
    if before_last >= (*limit).max(1) as usize {
        let seen = format!("{of:?} after {after}: {} changes where {limit} were asked for", changes.len());
        return Violation::seen(PROPERTY, seen);
    }
    let Some(expected) = model.changes(|key| of.covers(key), *after, up_to) else { return Ok(()) };
    let expected: Vec<_> =
        expected.into_iter().map(|(key, version)| (key, version.index, version.state.clone())).collect();
    let told: Vec<_> = changes.iter().map(|change| (change.key(), change.index(), state_of(change))).collect();
    if told == expected {
        return Ok(());
    }
    let differs = told.iter().zip(&expected).take_while(|(told, expected)| told == expected).count();
    let seen = format!(
        "{of:?} after {after} up to {up_to}: change {differs} is {:?}, and the log has {:?} ({} told, {} in the log)",
        told.get(differs),
        expected.get(differs),
        told.len(),
        expected.len()
    );
    Violation::seen(PROPERTY, seen)
}

fn state_of(change: &Change) -> Option<KeyState> {
    match change {
        Change::Put(row) => Some(KeyState::of(row)),
        Change::Delete { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_protocol::{Entry, KvWrite, Pair, Row, Time, Write};
    use std::sync::Arc;

    /// At 1 nothing, at 2 and 3 two puts, at 4 a deletion.
    fn model() -> Model {
        let put = |key: &str, value| {
            Write::Kv(KvWrite::Put { pair: Pair { key: key.into(), flags: value, ..Pair::default() }, cas: None })
        };
        let delete = Write::Kv(KvWrite::Delete { key: "a/1".into(), cas: None });
        let mut model = Model::default();
        model.read(Time::ZERO, None);
        for write in [put("a/1", 1), put("a/2", 2), delete] {
            model.read(Time::ZERO, Some(&write));
        }
        model
    }

    fn put(key: &str, value: u64, index: u64) -> Change {
        let value = Entry { key: key.into(), flags: value, ..Entry::default() };
        Change::Put(Arc::new(Row { value, create_index: LogIndex(index), modify_index: LogIndex(index) }))
    }

    fn delete(key: &str, index: u64) -> Change {
        Change::Delete { key: key.into(), index: LogIndex(index) }
    }

    fn told(after: u64, changes: Vec<Change>, up_to: u64) -> Checked {
        let asked = Asked { of: Selection::Prefix("a/".into()), after: LogIndex(after), limit: 2 };
        check(&asked, &Changes::Known { changes, up_to: LogIndex(up_to) }, &model())
    }

    #[test]
    fn all_of_it_in_order() {
        assert_eq!(told(0, vec![put("a/1", 1, 2), put("a/2", 2, 3)], 3), Ok(()));
        assert_eq!(told(2, vec![put("a/2", 2, 3), delete("a/1", 4)], 4), Ok(()));
        assert_eq!(told(4, vec![], 4), Ok(()));
        assert_eq!(told(0, vec![], 1), Ok(()));
    }

    #[test]
    fn what_is_not_so_is_seen() {
        let bad = [
            ("one is missing", told(1, vec![put("a/2", 2, 3)], 3)),
            ("one that is known already", told(2, vec![put("a/1", 1, 2), put("a/2", 2, 3)], 3)),
            ("out of order", told(1, vec![put("a/2", 2, 3), put("a/1", 1, 2)], 3)),
            ("twice", told(3, vec![delete("a/1", 4), delete("a/1", 4)], 4)),
            ("another value", told(2, vec![put("a/2", 9, 3)], 3)),
            ("a deletion that is none", told(2, vec![delete("a/2", 3)], 3)),
            ("more than asked for", told(1, vec![put("a/1", 1, 2), put("a/2", 2, 3), delete("a/1", 4)], 4)),
            ("it goes back", told(3, vec![], 2)),
        ];
        for (why, checked) in bad {
            assert!(checked.is_err(), "{why}");
        }
    }

    #[test]
    fn compaction_is_told_only_where_it_is_so() {
        let asked = Asked { of: Selection::Key("a/1".into()), after: LogIndex(3), limit: 9 };
        let compacted = |since| check(&asked, &Changes::Compacted { since: LogIndex(since) }, &model());
        assert_eq!(compacted(4), Ok(()));
        assert!(compacted(3).is_err());
    }
}
