//! Requests and replies as one line of the trace: values of keys, which may be long, by their number only.

use quorate_protocol::{Answer, Ask, Entry, KvWrite, Reply, Row, Write};

/// What is asked.
pub fn ask(ask: &Ask) -> String {
    match ask {
        Ask::Write(Write::Kv(KvWrite::Put { pair, cas })) => {
            format!("Put {} = {} cas {cas:?}", pair.key, pair.flags)
        }
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
        other => format!("{other:?}"),
    }
}

fn row_of(row: &Row<Entry>) -> String {
    format!("{} = {} of {}", row.key, row.flags, row.modify_index)
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
        let pair = quorate_protocol::Pair { key: "k".into(), value: value.clone(), flags: 3, ttl: None };
        let entry = Entry { key: "k".into(), value, flags: 3, ..Entry::default() };
        let put = KvWrite::Put { pair, cas: None };
        assert_eq!(ask(&Ask::Write(Write::Kv(put))), "Put k = 3 cas None");
        let row = Row { value: entry, create_index: LogIndex(1), modify_index: LogIndex(2) };
        let answer = Answer::Entries(vec![Arc::new(row)]);
        let read = Reply::Read { answer, index: LogIndex(2), known_leader: true, last_contact: Duration::ZERO };
        assert_eq!(reply(&read), "[\"k = 3 of 2\"] at 2");
    }
}
