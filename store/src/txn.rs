//! Transactions: several operations on one working copy, all or nothing.
//!
//! The sentences are Consul's where it has one, since its users' tools look for them.

use crate::edit::Edit;
use crate::name::Name;
use crate::register::{complete_check, complete_service};
use crate::store::State;
use quorate_protocol::{
    CatalogOperation, Check, Entry, KvWrite, LogIndex, Node, Outcome, Row, Service, TxnError, TxnOperation, TxnOutcome,
    TxnRead, TxnResult, TxnRow,
};
use std::sync::Arc;

/// The most operations in one transaction, whatever a front door was configured to let in: each replica applies one at a stretch.
pub const MAX_TXN_OPERATIONS: usize = 4096;

/// The most that the questions of one transaction give back, in bytes of keys and values and of what comes with each row. Without a
/// bound each of them could ask for the whole table, and what is given back belongs to the hash of the log; more than this would
/// not fit into a frame between servers either.
pub const MAX_TXN_RESULT: usize = if cfg!(test) { 2700 } else { 16 * 1024 * 1024 };

/// What comes with a row of keys, in bytes: its indexes, flags and lock.
const ROW_SIZE: usize = 64;

/// What a row of the catalogue counts, in bytes; they are small, and each operation gives one at most.
const CATALOG_ROW_SIZE: usize = 512;

/// Refuses what has too many operations.
fn check_count(operations: usize) -> Result<(), String> {
    if operations <= MAX_TXN_OPERATIONS {
        return Ok(());
    }
    Err(format!("Transaction contains too many operations ({operations} > {MAX_TXN_OPERATIONS})"))
}

/// What the operations gave so far.
struct Tally {
    operation: u32,
    /// How much the questions may still give back.
    room: usize,
    results: Vec<TxnResult>,
    errors: Vec<TxnError>,
}

impl Tally {
    fn new() -> Tally {
        Tally { operation: 0, room: MAX_TXN_RESULT, results: Vec::new(), errors: Vec::new() }
    }

    /// Looks with the next operation.
    fn look(&mut self, state: &State, read: &TxnRead) {
        let found = state.look_once(read, self.room).and_then(|rows| {
            let size = rows.iter().map(size).sum();
            // Where one has found too much, none after it shall gather as much again.
            let left = self.room.checked_sub(size);
            self.room = left.unwrap_or_default();
            left.map(|_| rows).ok_or_else(|| {
                format!("the transaction gives back more than {MAX_TXN_RESULT} bytes; ask for less at once")
            })
        });
        self.add(found);
    }

    /// Takes what the next operation gave. After a failure the others are still tried, so that a client learns of all at once.
    fn add(&mut self, done: Result<Vec<TxnRow>, String>) {
        let operation = self.operation;
        self.operation = operation.saturating_add(1);
        match done {
            Ok(rows) => self.results.extend(rows.into_iter().map(|row| TxnResult { operation, row })),
            Err(what) => self.errors.push(TxnError { operation, what }),
        }
    }

    fn finish(self) -> TxnOutcome {
        if self.errors.is_empty() { Ok(self.results) } else { Err(self.errors) }
    }
}

fn size(row: &TxnRow) -> usize {
    match row {
        TxnRow::Entry(row) => entry_size(row),
        TxnRow::Node(_) | TxnRow::Service(..) | TxnRow::Check(_) => CATALOG_ROW_SIZE,
    }
}

fn entry_size(row: &Entry) -> usize {
    ROW_SIZE + row.key.len() + row.value.len()
}

impl State {
    /// Several questions about this state.
    pub(crate) fn look(&self, reads: &[TxnRead]) -> TxnOutcome {
        check_count(reads.len()).map_err(|what| vec![TxnError { operation: 0, what }])?;
        let mut tally = Tally::new();
        for read in reads {
            tally.look(self, read);
        }
        tally.finish()
    }

    /// The rows that an operation asks for. Where they are more than there is room for, it stops at the first one too many.
    fn look_once(&self, read: &TxnRead, room: usize) -> Result<Vec<TxnRow>, String> {
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
                let mut gathered = 0;
                let until_too_many = self.kv.below(prefix).take_while(|row| {
                    let has_room = gathered <= room;
                    gathered += entry_size(row);
                    has_room
                });
                Ok(until_too_many.cloned().map(TxnRow::Entry).collect())
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
        let mut tally = Tally::new();
        for operation in operations {
            match operation {
                TxnOperation::Read(read) => tally.look(self.state, read),
                TxnOperation::Kv(write) => tally.add(self.operate_on_keys(write)),
                TxnOperation::Catalog(operation) => tally.add(self.operate_on_catalog(operation)),
            }
        }
        Ok(tally.finish())
    }

    fn operate_on_keys(&mut self, write: &KvWrite) -> Result<Vec<TxnRow>, String> {
        let key = match write {
            KvWrite::Put { pair, .. }
            | KvWrite::Acquire { pair, .. }
            | KvWrite::AcquireOnce { pair, .. }
            | KvWrite::Release { pair, .. } => &pair.key,
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
            (_, _) => Ok(self.state.kv.entry(key).cloned().map(TxnRow::Entry).into_iter().collect()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Scene, With, on, pair, session, session_id};
    use quorate_protocol::{Answer, Page, Read, Session, SessionId, Status, Write};
    use std::time::Duration;

    /// n1 with a service and its check; a, held by session 1 since 7; b (8); a key in its lock delay (10).
    fn scene() -> Scene {
        let mut scene = Scene::new();
        scene.done(on("n1", None).service("web", "web", &[]).check("c", "web", Status::Passing));
        scene.session(session(1, "n1"));
        scene.session(session(2, "n1"));
        scene.session(Session { lock_delay: Duration::from_secs(1), ..session(3, "n1") });
        scene.put("delayed", "");
        scene.acquire("a", 1);
        scene.put("b", "1");
        scene.acquire("delayed", 3);
        scene.destroy(3);
        scene
    }

    fn put(key: &str, cas: Option<u64>) -> TxnOperation {
        TxnOperation::Kv(KvWrite::Put { pair: pair(key, "new"), cas: cas.map(LogIndex) })
    }

    fn acquire(key: &str, session: u8) -> TxnOperation {
        TxnOperation::Kv(KvWrite::Acquire { pair: pair(key, "new"), session: session_id(session) })
    }

    fn transact(scene: &mut Scene, operations: Vec<TxnOperation>) -> TxnOutcome {
        match scene.write(&Write::Txn(operations)) {
            Outcome::Txn(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    /// What an operation gave: its number, what it is, and its modify index.
    fn shown(outcome: TxnOutcome) -> Vec<(u32, String, u64)> {
        let show = |result: TxnResult| match result.row {
            TxnRow::Entry(row) => (result.operation, row.key.clone(), row.modify_index.0),
            TxnRow::Node(row) => (result.operation, row.name.clone(), row.modify_index.0),
            TxnRow::Service(node, row) => (result.operation, format!("{node}/{}", row.id), row.modify_index.0),
            TxnRow::Check(row) => (result.operation, format!("{}:{}", row.node, row.id), row.modify_index.0),
        };
        outcome.expect("it succeeds").into_iter().map(show).collect()
    }

    #[test]
    fn operations_see_what_came_before_them() {
        let mut scene = scene();
        let key = |key: &str| key.to_owned();
        let operations = vec![
            put("x", Some(0)),
            TxnRead::CheckIndex { key: key("x"), index: LogIndex(11) }.into(),
            acquire("x", 2),
            TxnRead::CheckSession { key: key("x"), session: session_id(2) }.into(),
            TxnRead::CheckToken { key: key("x"), token: LogIndex(11) }.into(),
            TxnRead::GetTree { prefix: key("") }.into(),
            TxnOperation::Kv(KvWrite::DeletePrefix { prefix: key("x") }),
            TxnRead::CheckNotExists { key: key("x") }.into(),
            TxnRead::GetOrEmpty { key: key("x") }.into(),
        ];
        let found = shown(transact(&mut scene, operations));
        let expected = [
            (0, "x", 11),
            (1, "x", 11),
            (2, "x", 11),
            (3, "x", 11),
            (4, "x", 11),
            (5, "a", 7),
            (5, "b", 8),
            (5, "delayed", 10),
            (5, "x", 11),
            (8, "x", 0),
        ];
        assert_eq!(found, expected.map(|(operation, what, index)| (operation, what.to_owned(), index)));
    }

    #[test]
    fn the_catalogue_belongs_to_it() {
        let mut scene = scene();
        let node = Node { name: "n2".into(), address: "10.0.0.2".into(), ..Node::default() };
        let service = Service { name: "db".into(), ..Service::default() };
        let check = Check { node: "n2".into(), name: "alive".into(), service_id: "db".into(), ..Check::default() };
        let (n2, cas) = (|| "n2".to_owned(), Some(LogIndex::ZERO));
        let operations = vec![
            TxnOperation::Catalog(CatalogOperation::SetNode { node: Box::new(node), cas }),
            TxnOperation::Catalog(CatalogOperation::SetService { node: n2(), service: Box::new(service), cas }),
            TxnOperation::Catalog(CatalogOperation::SetCheck { check: Box::new(check), cas }),
            TxnRead::Node { node: "N2".into() }.into(),
            TxnRead::Service { node: n2(), service_id: "db".into() }.into(),
            TxnRead::Check { node: n2(), check_id: "alive".into() }.into(),
            TxnOperation::Catalog(CatalogOperation::DeleteNode { node: "n1".into(), cas: Some(LogIndex(2)) }),
        ];
        let found = shown(transact(&mut scene, operations));
        let expected = [(0, "n2"), (1, "n2/db"), (2, "n2:alive"), (3, "n2"), (4, "n2/db"), (5, "n2:alive")];
        assert_eq!(found, expected.map(|(operation, what)| (operation, what.to_owned(), 11)));
        assert!(!scene.lives(1), "sessions end with their node here too");
        let operations = vec![
            TxnOperation::Catalog(CatalogOperation::DeleteCheck { node: n2(), check_id: "alive".into(), cas: None }),
            TxnOperation::Catalog(CatalogOperation::DeleteService { node: n2(), service_id: "db".into(), cas: None }),
        ];
        assert_eq!(shown(transact(&mut scene, operations)), []);
        assert_eq!(scene.store.view().services_of("n2").count(), 0);
    }

    #[test]
    fn one_failure_undoes_all_and_every_failure_is_told() {
        let key = |key: &str| key.to_owned();
        let absent = || Node { name: "n1".into(), ..Node::default() };
        let catalog = TxnOperation::Catalog;
        let n1 = || "n1".to_owned();
        let failing: Vec<(TxnOperation, &str)> = vec![
            (put("b", Some(0)), "failed to set key \"b\", index is stale"),
            (put("", None), "Missing key name"),
            (
                TxnOperation::Kv(KvWrite::Delete { key: key("b"), cas: Some(LogIndex(1)) }),
                "failed to delete key \"b\", index is stale",
            ),
            (acquire("a", 2), "failed to lock key \"a\", lock is already held"),
            (acquire("delayed", 2), "failed to lock key \"delayed\" due to lock delay"),
            (acquire("b", 9), "invalid session \"09090909-0909-0909-0909-090909090909\""),
            (
                TxnOperation::Kv(KvWrite::Release { pair: pair("b", ""), session: session_id(1) }),
                "failed to unlock key \"b\", lock isn't held, or is held by another session",
            ),
            (TxnRead::Get { key: key("x") }.into(), "key \"x\" doesn't exist"),
            (TxnRead::CheckNotExists { key: key("a") }.into(), "key \"a\" exists"),
            (
                TxnRead::CheckIndex { key: key("b"), index: LogIndex(1) }.into(),
                "failed index check for key \"b\", current modify index 8 != 1",
            ),
            (
                TxnRead::CheckIndex { key: key("x"), index: LogIndex(1) }.into(),
                "failed to check index, key \"x\" doesn't exist",
            ),
            (
                TxnRead::CheckSession { key: key("b"), session: SessionId([2; 16]) }.into(),
                "failed session check for key \"b\", current session \"\" != \"02020202-0202-0202-0202-020202020202\"",
            ),
            (
                TxnRead::CheckSession { key: key("x"), session: SessionId([2; 16]) }.into(),
                "failed to check session, key \"x\" doesn't exist",
            ),
            (
                TxnRead::CheckToken { key: key("a"), token: LogIndex(6) }.into(),
                "failed token check for key \"a\", current token 7 != 6",
            ),
            (
                TxnRead::CheckToken { key: key("b"), token: LogIndex(0) }.into(),
                "failed token check for key \"b\", nobody holds it",
            ),
            (
                TxnRead::CheckToken { key: key("x"), token: LogIndex(0) }.into(),
                "failed to check token, key \"x\" doesn't exist",
            ),
            (TxnRead::Node { node: key("n9") }.into(), "node \"n9\" doesn't exist"),
            (
                TxnRead::Service { node: n1(), service_id: key("x") }.into(),
                "service \"x\" on node \"n1\" doesn't exist",
            ),
            (TxnRead::Check { node: n1(), check_id: key("x") }.into(), "check \"x\" on node \"n1\" doesn't exist"),
            (
                catalog(CatalogOperation::SetNode { node: Box::new(absent()), cas: Some(LogIndex(9)) }),
                "failed to set node \"n1\", index is stale",
            ),
            (catalog(CatalogOperation::SetNode { node: Box::default(), cas: None }), "Must provide node"),
            (
                catalog(CatalogOperation::DeleteNode { node: n1(), cas: Some(LogIndex(9)) }),
                "failed to delete node \"n1\", index is stale",
            ),
            (
                catalog(CatalogOperation::SetService { node: n1(), service: Box::default(), cas: None }),
                "Must provide service name",
            ),
            (
                catalog(CatalogOperation::SetService {
                    node: key("n9"),
                    service: Box::new(Service { name: key("web"), ..Service::default() }),
                    cas: None,
                }),
                "Missing node registration",
            ),
            (
                catalog(CatalogOperation::SetService {
                    node: n1(),
                    service: Box::new(Service { name: key("web"), ..Service::default() }),
                    cas: Some(LogIndex(0)),
                }),
                "failed to set service \"web\" on node \"n1\", index is stale",
            ),
            (
                catalog(CatalogOperation::DeleteService { node: n1(), service_id: key("web"), cas: Some(LogIndex(0)) }),
                "failed to delete service \"web\" on node \"n1\", index is stale",
            ),
            (
                catalog(CatalogOperation::SetCheck {
                    check: Box::new(Check { node: n1(), id: key("c"), ..Check::default() }),
                    cas: Some(LogIndex(0)),
                }),
                "failed to set check \"c\" on node \"n1\", index is stale",
            ),
            (
                catalog(CatalogOperation::SetCheck {
                    check: Box::new(Check { node: key("n9"), id: key("c"), ..Check::default() }),
                    cas: None,
                }),
                "Missing node registration",
            ),
            (
                catalog(CatalogOperation::DeleteCheck { node: n1(), check_id: key("c"), cas: Some(LogIndex(0)) }),
                "failed to delete check \"c\" on node \"n1\", index is stale",
            ),
        ];
        let mut scene = scene();
        let before = scene.store.view();
        // Each of them after one that would change something.
        let operations = failing.iter().flat_map(|(failing, _)| [put("fresh", None), failing.clone()]).collect();
        let errors = transact(&mut scene, operations).expect_err("it fails");
        let told: Vec<(u32, &str)> = errors.iter().map(|error| (error.operation, error.what.as_str())).collect();
        let expected: Vec<(u32, &str)> =
            (0..).zip(&failing).map(|(number, (_, sentence))| (2 * number + 1, *sentence)).collect();
        assert_eq!(told, expected);
        assert!(scene.touched.is_empty() && scene.entry("fresh").is_none());
        let all = Read::Kv(quorate_protocol::KvRead::List { prefix: String::new(), page: Page::default() });
        assert_eq!(scene.store.view().read(&all), before.read(&all));
    }

    #[test]
    fn deleting_what_is_not_there_succeeds_whatever_index_is_wanted() {
        let (mut scene, cas) = (scene(), Some(LogIndex(7)));
        let (node, id) = (|| "n9".to_owned(), || "x".to_owned());
        let operations = vec![
            TxnOperation::Kv(KvWrite::Delete { key: "x".into(), cas }),
            TxnOperation::Catalog(CatalogOperation::DeleteNode { node: node(), cas }),
            TxnOperation::Catalog(CatalogOperation::DeleteService { node: node(), service_id: id(), cas }),
            TxnOperation::Catalog(CatalogOperation::DeleteCheck { node: node(), check_id: id(), cas }),
        ];
        assert_eq!(transact(&mut scene, operations), Ok(vec![]));
        assert!(scene.touched.is_empty());
    }

    #[test]
    fn what_is_too_much_is_refused() {
        let mut scene = scene();
        let many = |number| vec![TxnOperation::from(TxnRead::CheckNotExists { key: "x".into() }); number];
        assert_eq!(transact(&mut scene, many(MAX_TXN_OPERATIONS)), Ok(vec![]));
        let sentence = "Transaction contains too many operations (4097 > 4096)";
        let refused = scene.write(&Write::Txn(many(MAX_TXN_OPERATIONS + 1)));
        assert_eq!(refused, Outcome::Refused(sentence.to_owned()));
        let reads = vec![TxnRead::CheckNotExists { key: "x".into() }; MAX_TXN_OPERATIONS + 1];
        let Answer::Txn(Err(errors)) = scene.read(&Read::Txn(reads)).0 else { panic!("it is answered") };
        assert_eq!(errors, [TxnError { operation: 0, what: sentence.to_owned() }]);

        let tree = TxnOperation::from(TxnRead::GetTree { prefix: String::new() });
        assert_eq!(shown(transact(&mut scene, vec![tree.clone(); 13])).len(), 39);
        let errors = transact(&mut scene, vec![tree; 15]).expect_err("that is too much");
        assert_eq!(errors.iter().map(|error| error.operation).collect::<Vec<_>>(), [13, 14]);
        assert!(errors[0].what.starts_with("the transaction gives back more than 2700 bytes"), "{errors:?}");
    }

    #[test]
    fn questions_alone_are_answered_from_a_view() {
        let mut scene = scene();
        let read = Read::Txn(vec![
            TxnRead::Get { key: "a".into() },
            TxnRead::GetTree { prefix: "b".into() },
            TxnRead::Node { node: "n1".into() },
        ]);
        let (Answer::Txn(answer), index) = scene.read(&read) else { panic!("not of a transaction") };
        assert_eq!((shown(answer), index), (vec![(0, "a".into(), 7), (1, "b".into(), 8), (2, "n1".into(), 2)], 8));
        scene.put("c", "");
        assert!(!scene.touched.concerns(&read) && scene.index(&read) == 8);
        scene.put("b/x", "");
        assert!(scene.touched.concerns(&read) && scene.index(&read) == 12);
    }
}
