//! `/v1/txn`: several operations, all or nothing.
//!
//! [`operation`] reads what is to be done. What only looks and checks is asked as a read, as fresh as the query says; anything else goes
//! through the log.

mod operation;

use crate::call::{Call, Door};
use crate::error::Error;
use crate::json::check::CheckRow;
use crate::json::fields::Fields;
use crate::json::kv::EntryRow;
use crate::json::node::NodeRow;
use crate::json::service::ServiceRow;
use crate::route::{Routes, methods};
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use operation::Wrong;
use quorate_protocol::{Answer, Outcome, Read, TxnError, TxnOperation, TxnOutcome, TxnRead, TxnResult, TxnRow, Write};
use serde::Serialize;

pub(crate) fn routes() -> Router<Door> {
    Router::new().exactly("/v1/txn", methods().put(txn))
}

async fn txn(call: Call, body: Body) -> Result<Response, Error> {
    let bodies = Fields::parse_list("Failed to parse body", &call.transaction(body).await?)?;
    let most = call.config().txn_max_ops;
    if bodies.len() > most {
        let sentence = format!("Transaction contains too many operations ({} > {most})", bodies.len());
        return Err(Error::TooMuch(sentence));
    }
    let (operations, errors) = take_operations(bodies, call.config().max_value_size)?;
    if !errors.is_empty() {
        // Whatever the others are worth, this cannot be applied.
        return conflict(call.answer(&Shown::errors(&errors))?);
    }
    match only_reads(&operations) {
        Some(reads) => look(&call, reads).await,
        None => apply(&call, operations).await,
    }
}

/// The operations, and which of them cannot be.
fn take_operations(bodies: Vec<Fields>, max_value: usize) -> Result<(Vec<TxnOperation>, Vec<TxnError>), Error> {
    let (mut operations, mut errors) = (Vec::with_capacity(bodies.len()), Vec::new());
    for (number, fields) in (0_u32..).zip(bodies) {
        match operation::take(fields, max_value) {
            Ok(operation) => operations.push(operation),
            Err(Wrong::Operation(what)) => errors.push(TxnError { operation: number, what }),
            Err(Wrong::Request(error)) => return Err(error),
        }
    }
    Ok((operations, errors))
}

fn only_reads(operations: &[TxnOperation]) -> Option<Vec<TxnRead>> {
    let read = |operation: &TxnOperation| match operation {
        TxnOperation::Read(read) => Some(read.clone()),
        TxnOperation::Kv(_) | TxnOperation::Catalog(_) => None,
    };
    operations.iter().map(read).collect()
}

async fn look(call: &Call, reads: Vec<TxnRead>) -> Result<Response, Error> {
    let found = call.read_until(Read::Txn(reads.clone()), None).await?;
    let Answer::Txn(outcome) = &found.answer else { return Err(Error::WrongReply) };
    let operations: Vec<_> = reads.into_iter().map(TxnOperation::Read).collect();
    let freshness = found.freshness;
    let shown = ShownRead {
        shown: Shown::of(outcome, &operations, call.datacenter()),
        index: 0,
        last_contact: u64::try_from(freshness.last_contact.as_nanos()).unwrap_or(u64::MAX),
        known_leader: freshness.known_leader,
        consistency_level: "",
    };
    let mut response = call.answer(&shown)?;
    freshness.write_contact_to(response.headers_mut());
    if outcome.is_err() { conflict(response) } else { Ok(response) }
}

async fn apply(call: &Call, operations: Vec<TxnOperation>) -> Result<Response, Error> {
    let written = call.write(call.dc(), Write::Txn(operations.clone())).await?;
    let Outcome::Txn(outcome) = &written.outcome else { return Err(Error::WrongReply) };
    let response = call.answer_write(written.index, &Shown::of(outcome, &operations, call.datacenter()))?;
    if outcome.is_err() { conflict(response) } else { Ok(response) }
}

fn conflict(mut response: Response) -> Result<Response, Error> {
    *response.status_mut() = StatusCode::CONFLICT;
    Ok(response)
}

/// What became of it: either is null.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown<'a> {
    results: Option<Vec<ResultRow<'a>>>,
    errors: Option<Vec<ErrorRow<'a>>>,
}

/// What became of one that only looked. Consul shows here what other reads have in headers, save an index to wait for.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShownRead<'a> {
    #[serde(flatten)]
    shown: Shown<'a>,
    index: u64,
    /// In nanoseconds.
    last_contact: u64,
    known_leader: bool,
    consistency_level: &'static str,
}

#[derive(Serialize)]
enum ResultRow<'a> {
    #[serde(rename = "KV")]
    Kv(EntryRow<'a>),
    Node(NodeRow<'a>),
    Service(ServiceRow<'a>),
    Check(CheckRow<'a>),
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorRow<'a> {
    op_index: u32,
    what: &'a str,
}

impl<'a> Shown<'a> {
    fn of(outcome: &'a TxnOutcome, operations: &'a [TxnOperation], datacenter: &'a str) -> Shown<'a> {
        match outcome {
            Ok(results) => Shown { results: Some(rows(results, operations, datacenter)), errors: None },
            Err(errors) => Shown::errors(errors),
        }
    }

    fn errors(errors: &'a [TxnError]) -> Shown<'a> {
        let row = |error: &'a TxnError| ErrorRow { op_index: error.operation, what: &error.what };
        Shown { results: None, errors: Some(errors.iter().map(row).collect()) }
    }
}

/// The results in order. `get-or-empty` that found nothing gives an empty row, which the store does not make up.
fn rows<'a>(results: &'a [TxnResult], operations: &'a [TxnOperation], datacenter: &'a str) -> Vec<ResultRow<'a>> {
    let mut left = results.iter().peekable();
    let mut rows = Vec::with_capacity(results.len());
    for (number, operation) in (0_u32..).zip(operations) {
        let before = rows.len();
        while let Some(result) = left.next_if(|result| result.operation <= number) {
            rows.push(row(result, operation, datacenter));
        }
        if let (true, TxnOperation::Read(TxnRead::GetOrEmpty { key })) = (rows.len() == before, operation) {
            rows.push(ResultRow::Kv(EntryRow::absent(key)));
        }
    }
    rows
}

fn row<'a>(result: &'a TxnResult, operation: &TxnOperation, datacenter: &'a str) -> ResultRow<'a> {
    let gets = matches!(
        operation,
        TxnOperation::Read(TxnRead::Get { .. } | TxnRead::GetOrEmpty { .. } | TxnRead::GetTree { .. })
    );
    match &result.row {
        TxnRow::Entry(entry) if gets => ResultRow::Kv(EntryRow::of(entry)),
        TxnRow::Entry(entry) => ResultRow::Kv(EntryRow::without_value(entry)),
        TxnRow::Node(node) => ResultRow::Node(NodeRow::of(node, datacenter)),
        TxnRow::Service(_, service) => ResultRow::Service(ServiceRow::of(service)),
        TxnRow::Check(check) => ResultRow::Check(CheckRow::of(check)),
    }
}
