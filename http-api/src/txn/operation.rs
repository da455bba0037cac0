//! One operation of a transaction, read.

use crate::error::Error;
use crate::json::check::take_result;
use crate::json::fields::Fields;
use crate::json::service::take_service;
use crate::json::session::{claimed_session, session_id};
use crate::query::key_ttl;
use base64::alphabet;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use base64::{DecodeError, Engine};
use bytes::Bytes;
use quorate_protocol::go::quote;
use quorate_protocol::{CatalogOperation, KvWrite, LogIndex, Node, Pair, SessionId, TxnOperation, TxnRead};

/// As Go decodes: with padding, and whatever the last bits are.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// What is wrong with an operation.
pub(super) enum Wrong {
    /// It can be read and cannot be done: 409 with the others that cannot.
    Operation(String),
    /// The request cannot be read.
    Request(Error),
}

impl From<Error> for Wrong {
    fn from(error: Error) -> Wrong {
        Wrong::Request(error)
    }
}

fn wrong(what: impl Into<String>) -> Wrong {
    Wrong::Operation(what.into())
}

/// The operation that an object says: one of `KV`, `Node`, `Service`, `Check`.
pub(super) fn take(mut fields: Fields, max_value: usize) -> Result<TxnOperation, Wrong> {
    let kinds = [
        fields.take_object("KV")?.map(|kv| take_kv(kv, max_value)),
        fields.take_object("Node")?.map(take_node),
        fields.take_object("Service")?.map(take_service_operation),
        fields.take_object("Check")?.map(take_check),
    ];
    let mut given = kinds.into_iter().flatten();
    match (given.next(), given.next()) {
        (Some(operation), None) => {
            fields.finish()?;
            operation
        }
        _ => Err(fields.failed("an operation is one of KV, Node, Service and Check").into()),
    }
}

fn take_kv(mut fields: Fields, max_value: usize) -> Result<TxnOperation, Wrong> {
    let verb = fields.take_text("Verb")?;
    let key = fields.take_text("Key")?;
    let value = take_value(&mut fields, &key, max_value)?;
    let flags = fields.take_unsigned("Flags")?.unwrap_or(0);
    let index = LogIndex(fields.take_unsigned("Index")?.unwrap_or(0));
    let token = LogIndex(fields.take_unsigned("FencingToken")?.unwrap_or(0));
    let session = fields.take_text("Session")?;
    let ttl = Some(fields.take_text("TTL")?).filter(|ttl| !ttl.is_empty()).map(|ttl| key_ttl(&ttl)).transpose()?;
    fields.ignore(&["Namespace", "Partition"]);
    fields.finish()?;
    if key.is_empty() && verb != "delete-tree" {
        return Err(wrong("Must provide key"));
    }
    let pair = |key| Pair { key, value, flags, ttl };
    Ok(match verb.as_str() {
        "set" => TxnOperation::Kv(KvWrite::Put { pair: pair(key), cas: None }),
        "cas" => TxnOperation::Kv(KvWrite::Put { pair: pair(key), cas: Some(index) }),
        "lock" => TxnOperation::Kv(KvWrite::Acquire { session: holder(&session)?, pair: pair(key) }),
        "unlock" if session.is_empty() => return Err(wrong("missing session")),
        "unlock" => TxnOperation::Kv(KvWrite::Release { session: claimed_session(&session), pair: pair(key) }),
        "delete" => TxnOperation::Kv(KvWrite::Delete { key, cas: None }),
        "delete-cas" => TxnOperation::Kv(KvWrite::Delete { key, cas: Some(index) }),
        "delete-tree" => TxnOperation::Kv(KvWrite::DeletePrefix { prefix: key }),
        "get" => TxnRead::Get { key }.into(),
        "get-or-empty" => TxnRead::GetOrEmpty { key }.into(),
        "get-tree" => TxnRead::GetTree { prefix: key }.into(),
        "check-index" => TxnRead::CheckIndex { key, index }.into(),
        "check-session" => TxnRead::CheckSession { session: claimed_session(&session), key }.into(),
        "check-not-exists" => TxnRead::CheckNotExists { key }.into(),
        "check-token" => TxnRead::CheckToken { key, token }.into(),
        other => return Err(unknown("KV", other)),
    })
}

/// A value in base64, in exactly the memory of its bytes.
fn take_value(fields: &mut Fields, key: &str, max_value: usize) -> Result<Bytes, Wrong> {
    let text: String = fields.take_text("Value")?.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    let value = BASE64.decode(text).map_err(|why| {
        let at = if let DecodeError::InvalidByte(at, _) = why { at } else { 0 };
        fields.failed(format!("illegal base64 data at input byte {at}"))
    })?;
    if value.len() > max_value {
        let (key, size) = (quote(key), value.len());
        return Err(Error::TooMuch(format!("Value for key {key} is too large ({size} > {max_value} bytes)")).into());
    }
    Ok(Bytes::from(value.into_boxed_slice()))
}

fn holder(text: &str) -> Result<SessionId, Wrong> {
    if text.is_empty() { Err(wrong("missing session")) } else { session_id(text).map_err(Wrong::Operation) }
}

fn take_node(mut fields: Fields) -> Result<TxnOperation, Wrong> {
    let verb = fields.take_text("Verb")?;
    let mut row = row(&mut fields, "Node")?;
    fields.finish()?;
    let id = row.take_text("ID")?;
    let node = Node {
        id: None,
        name: row.take_text("Node")?,
        address: row.take_text("Address")?,
        tagged_addresses: row.take_text_map("TaggedAddresses")?,
        meta: row.take_text_map("Meta")?,
    };
    let index = LogIndex(row.take_unsigned("ModifyIndex")?.unwrap_or(0));
    row.ignore(&["CreateIndex", "Datacenter", "Partition", "PeerName", "Locality"]);
    row.finish()?;
    if node.name.is_empty() {
        return Err(wrong("Must provide node"));
    }
    let set = |cas| {
        let id = match id.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|why| wrong(format!("Invalid node ID: {why}")))?),
        };
        let node = Box::new(Node { id, ..node.clone() });
        Ok::<_, Wrong>(TxnOperation::Catalog(CatalogOperation::SetNode { node, cas }))
    };
    let delete = |cas| TxnOperation::Catalog(CatalogOperation::DeleteNode { node: node.name.clone(), cas });
    match verb.as_str() {
        "set" => set(None),
        "cas" => set(Some(index)),
        "get" => Ok(TxnRead::Node { node: node.name.clone() }.into()),
        "delete" => Ok(delete(None)),
        "delete-cas" => Ok(delete(Some(index))),
        other => Err(unknown("Node", other)),
    }
}

fn take_service_operation(mut fields: Fields) -> Result<TxnOperation, Wrong> {
    let verb = fields.take_text("Verb")?;
    let node = fields.take_text("Node")?;
    let mut row = row(&mut fields, "Service")?;
    fields.finish()?;
    let mut service = take_service(&mut row, "Service")?;
    let index = LogIndex(row.take_unsigned("ModifyIndex")?.unwrap_or(0));
    row.ignore(&["CreateIndex", "Datacenter"]);
    row.finish()?;
    if service.name.is_empty() && verb != "get" {
        return Err(wrong("Must provide service name with ID"));
    }
    if service.id.is_empty() {
        service.id.clone_from(&service.name);
    }
    let service_id = service.id.clone();
    Ok(match verb.as_str() {
        "set" => set_service(node, service, None),
        "cas" => set_service(node, service, Some(index)),
        "get" => TxnRead::Service { node, service_id }.into(),
        "delete" => TxnOperation::Catalog(CatalogOperation::DeleteService { node, service_id, cas: None }),
        "delete-cas" => TxnOperation::Catalog(CatalogOperation::DeleteService { node, service_id, cas: Some(index) }),
        other => return Err(unknown("Service", other)),
    })
}

fn set_service(node: String, service: quorate_protocol::Service, cas: Option<LogIndex>) -> TxnOperation {
    TxnOperation::Catalog(CatalogOperation::SetService { node, service: Box::new(service), cas })
}

fn take_check(mut fields: Fields) -> Result<TxnOperation, Wrong> {
    let verb = fields.take_text("Verb")?;
    let mut row = row(&mut fields, "Check")?;
    fields.finish()?;
    let node = row.take_text("Node")?;
    let index = LogIndex(row.take_unsigned("ModifyIndex")?.unwrap_or(0));
    let check = take_result(row, &node)?;
    if check.id.is_empty() {
        return Err(wrong("Must provide check name or CheckID"));
    }
    let check_id = check.id.clone();
    let set = |check, cas| TxnOperation::Catalog(CatalogOperation::SetCheck { check: Box::new(check), cas });
    Ok(match verb.as_str() {
        "set" => set(check, None),
        "cas" => set(check, Some(index)),
        "get" => TxnRead::Check { node, check_id }.into(),
        "delete" => TxnOperation::Catalog(CatalogOperation::DeleteCheck { node, check_id, cas: None }),
        "delete-cas" => TxnOperation::Catalog(CatalogOperation::DeleteCheck { node, check_id, cas: Some(index) }),
        other => return Err(unknown("Check", other)),
    })
}

/// The row that an operation is about. On which node it is, the store judges.
fn row(fields: &mut Fields, name: &str) -> Result<Fields, Wrong> {
    match fields.take_object(name)? {
        Some(row) => Ok(row),
        None => Err(wrong(format!("Must provide {}", name.to_ascii_lowercase()))),
    }
}

fn unknown(kind: &str, verb: &str) -> Wrong {
    wrong(format!("unknown {kind} verb {}", quote(verb)))
}
