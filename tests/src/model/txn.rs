//! Transactions over keys.

use super::{Expectation, KeyState, State};
use quorate_protocol::{KvWrite, LogIndex, TxnOperation, TxnRead};

impl State {
    /// All of it or nothing of it. Only keys: the world's clients change the catalogue in other ways.
    pub(super) fn apply_txn(&mut self, index: LogIndex, operations: &[TxnOperation]) -> Expectation {
        let mut after = self.clone();
        let mut rows = Vec::new();
        for (number, operation) in operations.iter().enumerate() {
            let Some(found) = after.operate(index, operation) else { return Expectation::Txn(None) };
            rows.extend(found.into_iter().map(|row| (number as u32, row)));
        }
        *self = after;
        Expectation::Txn(Some(rows))
    }

    /// What an operation gives; none if it fails.
    fn operate(&mut self, index: LogIndex, operation: &TxnOperation) -> Option<Vec<KeyState>> {
        match operation {
            TxnOperation::Read(read) => self.look(read),
            TxnOperation::Kv(write) => match self.apply_kv(index, write) {
                Expectation::Done | Expectation::Acquired(_) | Expectation::Holds(_) => Some(match write {
                    KvWrite::Put { pair, .. }
                    | KvWrite::Acquire { pair, .. }
                    | KvWrite::AcquireOnce { pair, .. }
                    | KvWrite::Release { pair, .. } => self.keys.get(&pair.key).cloned().into_iter().collect(),
                    KvWrite::Delete { .. } | KvWrite::DeletePrefix { .. } => Vec::new(),
                }),
                _ => None,
            },
            TxnOperation::Catalog(_) => None,
        }
    }

    fn look(&self, read: &TxnRead) -> Option<Vec<KeyState>> {
        // Checks of a key give its row, as Consul's do.
        let checked = |key: &String, holds: &dyn Fn(&KeyState) -> bool| {
            self.keys.get(key).filter(|state| holds(state)).map(|state| vec![state.clone()])
        };
        match read {
            TxnRead::Get { key } => checked(key, &|_| true),
            // One that is not there is shown as an empty one.
            TxnRead::GetOrEmpty { key } => Some(vec![self.keys.get(key).cloned().unwrap_or_default()]),
            TxnRead::GetTree { prefix } => {
                Some(self.keys.iter().filter(|(key, _)| key.starts_with(prefix)).map(|(_, row)| row.clone()).collect())
            }
            TxnRead::CheckIndex { key, index } => checked(key, &|state| state.modified == *index),
            TxnRead::CheckSession { key, session } => checked(key, &|state| state.holder == Some(*session)),
            TxnRead::CheckToken { key, token } => {
                checked(key, &|state| state.holder.is_some() && state.token == *token)
            }
            TxnRead::CheckNotExists { key } => (!self.keys.contains_key(key)).then(Vec::new),
            TxnRead::Node { .. } | TxnRead::Service { .. } | TxnRead::Check { .. } => None,
        }
    }
}
