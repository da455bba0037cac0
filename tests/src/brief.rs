//! Requests and replies as one line of the trace: values of keys and parts of snapshots, which may be long, by their number only.

use quorate_protocol::{
    Answer, Ask, Change, Changes, Entry, KvWrite, Outcome, Pair, Reply, RestoreWrite, Row, TxnOperation, TxnResult,
    TxnRow, Write,
};

/// What is asked.
pub fn ask(ask: &Ask) -> String {
    match ask {
        Ask::Write(Write::Kv(write)) => kv(write),
        Ask::Write(Write::Txn(operations)) => {
            let operations: Vec<String> = operations.iter().map(operation).collect();
            format!("Txn [{}]", operations.join(", "))
        }
        Ask::Write(Write::Restore(RestoreWrite::Chunk { id, number, bytes })) => {
            format!("restore {id}, part {number} of {} bytes", bytes.len())
        }
        Ask::Lock(lock) => format!("Lock {} for {} within {:?}", pair(&lock.pair), lock.session, lock.wait),
        other => format!("{other:?}"),
    }
}

/// What is told.
pub fn reply(reply: &Reply) -> String {
    match reply {
        Reply::Read { answer: Answer::Entries(rows), index, .. } => {
            let rows: Vec<String> = rows.iter().map(|row| row_of(row)).collect();
            format!("{rows:?} at {index}")
        }
        Reply::Read { answer: Answer::Changes(Changes::Known { changes, up_to }), index, .. } => {
            let changes: Vec<String> = changes.iter().map(change).collect();
            format!("changes up to {up_to} {changes:?} at {index}")
        }
        Reply::Read { answer: Answer::Txn(Ok(rows)), index, .. } => format!("{:?} at {index}", results(rows)),
        Reply::Written { outcome: Outcome::Txn(Ok(rows)), index } => format!("{:?} written at {index}", results(rows)),
        Reply::SnapshotChunk { bytes, last } => format!("{} bytes of a snapshot, last {last}", bytes.len()),
        other => format!("{other:?}"),
    }
}

fn kv(write: &KvWrite) -> String {
    match write {
        KvWrite::Put { pair: put, cas } => format!("Put {} cas {cas:?}", pair(put)),
        KvWrite::AcquireOnce { pair: put, session } => format!("AcquireOnce {} for {session}", pair(put)),
        KvWrite::Acquire { pair: put, session } => format!("Acquire {} for {session}", pair(put)),
        KvWrite::Release { pair: put, session } => format!("Release {} of {session}", pair(put)),
        KvWrite::Delete { .. } | KvWrite::DeletePrefix { .. } => format!("{write:?}"),
    }
}

fn pair(pair: &Pair) -> String {
    match pair.ttl {
        Some(ttl) => format!("{} = {} for {ttl:?}", pair.key, pair.flags),
        None => format!("{} = {}", pair.key, pair.flags),
    }
}

fn operation(operation: &TxnOperation) -> String {
    match operation {
        TxnOperation::Kv(write) => kv(write),
        TxnOperation::Read(read) => format!("{read:?}"),
        TxnOperation::Catalog(change) => format!("{change:?}"),
    }
}

fn results(results: &[TxnResult]) -> Vec<String> {
    let row = |result: &TxnResult| match &result.row {
        TxnRow::Entry(row) => row_of(row),
        other => format!("{other:?}"),
    };
    results.iter().map(row).collect()
}

fn change(change: &Change) -> String {
    match change {
        Change::Put(row) => row_of(row),
        Change::Delete { key, index } => format!("{key} deleted at {index}"),
    }
}

fn row_of(row: &Row<Entry>) -> String {
    let held = row.lock.session.map(|session| format!(" held by {session} with {}", row.lock.token));
    format!("{} = {} of {}{}", row.key, row.flags, row.modify_index, held.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_protocol::LogIndex;
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn long_values_stay_out() {
        let value = bytes::Bytes::from(vec![7; 100_000]);
        let pair = Pair { key: "k".into(), value: value.clone(), flags: 3, ttl: None };
        let entry = Entry { key: "k".into(), value: value.clone(), flags: 3, ..Entry::default() };
        let put = KvWrite::Put { pair: pair.clone(), cas: None };
        let short = Pair { ttl: Some(Duration::from_secs(1)), ..pair };
        let in_txn = TxnOperation::Kv(KvWrite::Acquire { pair: short, session: quorate_protocol::SessionId([0; 16]) });
        assert_eq!(ask(&Ask::Write(Write::Kv(put))), "Put k = 3 cas None");
        let acquire = "Txn [Acquire k = 3 for 1s for 00000000-0000-0000-0000-000000000000]";
        assert_eq!(ask(&Ask::Write(Write::Txn(vec![in_txn]))), acquire);
        let row = Arc::new(Row { value: entry, create_index: LogIndex(1), modify_index: LogIndex(2) });
        let read =
            |answer| Reply::Read { answer, index: LogIndex(2), known_leader: true, last_contact: Duration::ZERO };
        assert_eq!(reply(&read(Answer::Entries(vec![Arc::clone(&row)]))), "[\"k = 3 of 2\"] at 2");
        let changes = vec![Change::Put(row), Change::Delete { key: "k".into(), index: LogIndex(3) }];
        let changes = Answer::Changes(Changes::Known { changes, up_to: LogIndex(4) });
        assert_eq!(reply(&read(changes)), "changes up to 4 [\"k = 3 of 2\", \"k deleted at 3\"] at 2");
        assert_eq!(reply(&Reply::SnapshotChunk { bytes: value, last: true }), "100000 bytes of a snapshot, last true");
    }
}
