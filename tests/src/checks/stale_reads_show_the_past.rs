//! A stale read may be old, but it shows what once was: a value that a client had asked to write by then, with the index of
//! that write.

use super::{Checked, Violation};
use crate::history::{Call, Op, Told};
use quorate_protocol::{LogIndex, Time};
use std::collections::BTreeMap;

/// Checks the stale reads of one key against all that was asked about it.
///
/// # Errors
/// When a read shows a value that nobody had asked to write, or an index that its write does not have.
pub fn check(key: &str, history: &[Op], stale_reads: &[Op]) -> Checked {
    let writes: BTreeMap<u64, (Time, Option<LogIndex>)> = history.iter().filter_map(write).collect();
    for read in stale_reads {
        let Some((answered, Told::Found { value, modified })) = read.result else { continue };
        let explained = writes
            .get(&value)
            .is_some_and(|(invoked, index)| *invoked < answered && index.is_none_or(|index| index == modified));
        if !explained {
            let seen = format!(
                "{key}: a stale read at {answered:?} shows {value} of index {modified}, which no write explains"
            );
            return Violation::seen("stale_reads_show_the_past", seen);
        }
    }
    Ok(())
}

fn write(op: &Op) -> Option<(u64, (Time, Option<LogIndex>))> {
    let (Call::Put { value } | Call::Cas { value, .. }) = op.call else { return None };
    match op.result {
        Some((_, Told::Done { index })) => Some((value, (op.invoked, Some(index)))),
        None => Some((value, (op.invoked, None))),
        // It was refused, so nobody may see its value.
        Some((_, Told::Found { .. } | Told::Missing | Told::Unmatched { .. })) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(invoked: u64, call: Call, told: Option<Told>) -> Op {
        let result = told.map(|told| (Time::from_nanos(invoked + 1), told));
        Op { client: 0, call, invoked: Time::from_nanos(invoked), result }
    }

    #[test]
    fn what_never_was_is_seen() {
        let history = [
            op(10, Call::Put { value: 1 }, Some(Told::Done { index: LogIndex(5) })),
            op(20, Call::Put { value: 2 }, None),
            op(
                30,
                Call::Cas { expected: LogIndex(9), value: 3 },
                Some(Told::Unmatched { found: LogIndex(5), index: LogIndex(6) }),
            ),
        ];
        let read = |at, value, modified| {
            let told = Told::Found { value, modified: LogIndex(modified) };
            check("key", &history, &[op(at, Call::Get, Some(told))])
        };
        assert_eq!(read(50, 1, 5), Ok(()));
        assert_eq!(read(50, 2, 6), Ok(()));
        assert!(read(50, 1, 7).is_err(), "another index than its write's");
        assert!(read(2, 1, 5).is_err(), "before it was written");
        assert!(read(50, 3, 6).is_err(), "a refused write");
        assert!(read(50, 4, 6).is_err(), "a value from nowhere");
    }
}
