//! Transactions: several operations on one working copy, all or nothing.
//!
//! The sentences are Consul's where it has one, since its users' tools look for them.

use crate::edit::Edit;
use crate::name::Name;
use crate::register::{complete_check, complete_service};
use crate::store::State;
use quorate_protocol::{
    CatalogOperation, Check, Entry, KvWrite, LogIndex, Node, Outcome, Page, Row, Service, TxnError, TxnOperation,
    TxnOutcome, TxnRead, TxnResult, TxnRow,
};
use std::sync::Arc;

/// The most operations in one transaction, whatever a front door was configured to let in: each replica applies one at a stretch.
pub const MAX_TXN_OPERATIONS: usize = 4096;

/// The most rows that one transaction gives back: without a bound, each of its operations could ask for the whole table.
pub const MAX_TXN_ROWS: usize = if cfg!(test) { 8 } else { 256 * 1024 };

/// Refuses what has too many operations.
fn check_count(operations: usize) -> Result<(), String> {
    if operations <= MAX_TXN_OPERATIONS {
        return Ok(());
    }
    Err(format!("Transaction contains too many operations ({operations} > {MAX_TXN_OPERATIONS})"))
}

/// What the operations gave so far.
#[derive(Default)]
struct Tally {
    operation: u32,
    results: Vec<TxnResult>,
    errors: Vec<TxnError>,
}

impl Tally {
    /// Takes what the next operation gave. After a failure the others are still tried, so that a client learns of all at once.
    fn add(&mut self, done: Result<Vec<TxnRow>, String>) {
        let operation = self.operation;
        self.operation = operation.saturating_add(1);
        match done {
            Ok(rows) if self.results.len().saturating_add(rows.len()) > MAX_TXN_ROWS => {
                let what = format!("the transaction gives back more than {MAX_TXN_ROWS} rows; ask for fewer at once");
                self.errors.push(TxnError { operation, what });
            }
            Ok(rows) => self.results.extend(rows.into_iter().map(|row| TxnResult { operation, row })),
            Err(what) => self.errors.push(TxnError { operation, what }),
        }
    }

    fn finish(self) -> TxnOutcome {
        if self.errors.is_empty() { Ok(self.results) } else { Err(self.errors) }
    }
}

impl State {
    /// Several questions about this state.
    pub(crate) fn look(&self, reads: &[TxnRead]) -> TxnOutcome {
        check_count(reads.len()).map_err(|what| vec![TxnError { operation: 0, what }])?;
        let mut tally = Tally::default();
        for read in reads {
            tally.add(self.look_once(read));
        }
        tally.finish()
    }

    fn look_once(&self, read: &TxnRead) -> Result<Vec<TxnRow>, String> {
        match read {
            TxnRead::Get { key } => {
                let row = self.kv.entry(key).ok_or_else(|| format!("key {key:?} doesn't exist"))?;
                Ok(vec![TxnRow::Entry(Arc::clone(row))])
            }
            TxnRead::GetOrEmpty { key } => {
                let row = self.kv.entry(key).cloned().unwrap_or_else(|| empty(key));
                Ok(vec![TxnRow::Entry(row)])
            }
            TxnRead::GetTree { prefix } => {
                // One more than allowed, so that it is noticed.
                let limit = u32::try_from(MAX_TXN_ROWS.saturating_add(1)).unwrap_or(u32::MAX);
                let (rows, _) = self.kv.list(prefix, &Page { after: None, limit: Some(limit) });
                Ok(rows.into_iter().map(TxnRow::Entry).collect())
            }
            TxnRead::CheckIndex { key, index } => match self.kv.entry(key) {
                None => Err(format!("failed to check index, key {key:?} doesn't exist")),
                Some(row) if row.modify_index != *index => Err(format!(
                    "failed index check for key {key:?}, current modify index {} != {index}",
                    row.modify_index
                )),
                Some(row) => Ok(vec![TxnRow::Entry(Arc::clone(row))]),
            },
            TxnRead::CheckSession { key, session } => match self.kv.entry(key) {
                None => Err(format!("failed to check session, key {key:?} doesn't exist")),
                Some(row) if row.lock.session != Some(*session) => {
                    let holder = row.lock.session.map(|holder| holder.to_string()).unwrap_or_default();
                    Err(format!("failed session check for key {key:?}, current session {holder:?} != \"{session}\""))
                }
                Some(row) => Ok(vec![TxnRow::Entry(Arc::clone(row))]),
            },
            TxnRead::CheckNotExists { key } => match self.kv.entry(key) {
                None => Ok(vec![]),
                Some(_) => Err(format!("key {key:?} exists")),
            },
            TxnRead::CheckToken { key, token } => match self.kv.entry(key) {
                None => Err(format!("failed to check token, key {key:?} doesn't exist")),
                Some(row) if row.lock.session.is_none() => {
                    Err(format!("failed token check for key {key:?}, nobody holds it"))
                }
                Some(row) if row.lock.token != *token => {
                    Err(format!("failed token check for key {key:?}, current token {} != {token}", row.lock.token))
                }
                Some(row) => Ok(vec![TxnRow::Entry(Arc::clone(row))]),
            },
            TxnRead::Node { node } => {
                let row = self.node(node).ok_or_else(|| format!("node {node:?} doesn't exist"))?;
                Ok(vec![TxnRow::Node(Arc::clone(row))])
            }
            TxnRead::Service { node, service_id } => {
                let missing = || format!("service {service_id:?} on node {node:?} doesn't exist");
                Ok(vec![self.service_row(node, service_id).ok_or_else(missing)?])
            }
            TxnRead::Check { node, check_id } => {
                let missing = || format!("check {check_id:?} on node {node:?} doesn't exist");
                Ok(vec![TxnRow::Check(Arc::clone(self.check(node, check_id).ok_or_else(missing)?))])
            }
        }
    }

    fn node(&self, node: &str) -> Option<&Arc<Row<Node>>> {
        self.catalog.on(node).map(|on| &on.row)
    }

    fn service(&self, node: &str, id: &str) -> Option<&Arc<Row<Service>>> {
        self.catalog.on(node)?.services.get(id)
    }

    fn check(&self, node: &str, id: &str) -> Option<&Arc<Row<Check>>> {
        self.catalog.on(node)?.checks.get(id)
    }

    fn service_row(&self, node: &str, id: &str) -> Option<TxnRow> {
        Some(TxnRow::Service(self.node(node)?.name.clone(), Arc::clone(self.service(node, id)?)))
    }
}

/// A key that is not there, as `get-or-empty` shows it.
fn empty(key: &str) -> Arc<Row<Entry>> {
    let value = Entry { key: key.to_owned(), ..Entry::default() };
    Arc::new(Row { value, create_index: LogIndex::ZERO, modify_index: LogIndex::ZERO })
}

impl Edit<'_> {
    /// Tries every operation. Where one fails, the state is to be dropped: it has the changes of the others.
    pub fn transact(&mut self, operations: &[TxnOperation]) -> Result<TxnOutcome, String> {
        check_count(operations.len())?;
        let mut tally = Tally::default();
        for operation in operations {
            tally.add(match operation {
                TxnOperation::Read(read) => self.state.look_once(read),
                TxnOperation::Kv(write) => self.operate_on_keys(write),
                TxnOperation::Catalog(operation) => self.operate_on_catalog(operation),
            });
        }
        Ok(tally.finish())
    }

    fn operate_on_keys(&mut self, write: &KvWrite) -> Result<Vec<TxnRow>, String> {
        let key = match write {
            KvWrite::Put { pair, .. } | KvWrite::Acquire { pair, .. } | KvWrite::Release { pair, .. } => &pair.key,
            KvWrite::Delete { key, .. } | KvWrite::DeletePrefix { prefix: key } => key,
        };
        match (self.write_kv(write), write) {
            (Outcome::Refused(why), _) => Err(why),
            (Outcome::Unmatched { .. }, KvWrite::Delete { .. }) => {
                Err(format!("failed to delete key {key:?}, index is stale"))
            }
            (Outcome::Unmatched { .. }, _) => Err(format!("failed to set key {key:?}, index is stale")),
            (Outcome::Held { .. }, KvWrite::Release { .. }) => {
                Err(format!("failed to unlock key {key:?}, lock isn't held, or is held by another session"))
            }
            (Outcome::Held { by: Some(_) }, _) => Err(format!("failed to lock key {key:?}, lock is already held")),
            (Outcome::Held { by: None }, _) => Err(format!("failed to lock key {key:?} due to lock delay")),
            (_, KvWrite::Delete { .. } | KvWrite::DeletePrefix { .. }) => Ok(vec![]),
            (_, KvWrite::Put { .. } | KvWrite::Acquire { .. } | KvWrite::Release { .. }) => {
                Ok(self.state.kv.entry(key).cloned().map(TxnRow::Entry).into_iter().collect())
            }
        }
    }

    fn operate_on_catalog(&mut self, operation: &CatalogOperation) -> Result<Vec<TxnRow>, String> {
        match operation {
            CatalogOperation::SetNode { node, cas } => {
                if is_stale(self.state.node(&node.name), *cas) {
                    return Err(format!("failed to set node {:?}, index is stale", node.name));
                }
                self.set_node(node, false)?;
                Ok(self.state.node(&node.name).cloned().map(TxnRow::Node).into_iter().collect())
            }
            CatalogOperation::DeleteNode { node, cas } => {
                let row = self.state.node(node);
                if row.is_some() && is_stale(row, *cas) {
                    return Err(format!("failed to delete node {node:?}, index is stale"));
                }
                self.remove_node(&Name::of(node));
                Ok(vec![])
            }
            CatalogOperation::SetService { node, service, cas } => {
                let service = complete_service(service)?;
                let id = service.id.clone();
                if self.state.catalog.on(node).is_none() {
                    return Err("Missing node registration".to_owned());
                }
                if is_stale(self.state.service(node, &id), *cas) {
                    return Err(format!("failed to set service {id:?} on node {node:?}, index is stale"));
                }
                self.put_service(&Name::of(node), service);
                Ok(self.state.service_row(node, &id).into_iter().collect())
            }
            CatalogOperation::DeleteService { node, service_id, cas } => {
                let row = self.state.service(node, service_id);
                if row.is_some() && is_stale(row, *cas) {
                    return Err(format!("failed to delete service {service_id:?} on node {node:?}, index is stale"));
                }
                self.remove_service(&Name::of(node), service_id);
                Ok(vec![])
            }
            CatalogOperation::SetCheck { check, cas } => {
                let check = complete_check(check, &check.node)?;
                if is_stale(self.state.check(&check.node, &check.id), *cas) {
                    return Err(format!("failed to set check {:?} on node {:?}, index is stale", check.id, check.node));
                }
                self.put_check(&Name::of(&check.node), &check)?;
                Ok(self.state.check(&check.node, &check.id).cloned().map(TxnRow::Check).into_iter().collect())
            }
            CatalogOperation::DeleteCheck { node, check_id, cas } => {
                let row = self.state.check(node, check_id);
                if row.is_some() && is_stale(row, *cas) {
                    return Err(format!("failed to delete check {check_id:?} on node {node:?}, index is stale"));
                }
                self.remove_check(&Name::of(node), check_id);
                Ok(vec![])
            }
        }
    }
}

/// Whether a row has another modify index than is wanted; that of a row that is not there is zero.
fn is_stale<T>(row: Option<&Arc<Row<T>>>, cas: Option<LogIndex>) -> bool {
    cas.is_some_and(|expected| expected != row.map_or(LogIndex::ZERO, |row| row.modify_index))
}
