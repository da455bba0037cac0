//! The door from outside: HTTP requests against a scripted cluster that records what it is asked.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod agent;
mod catalog;
mod connection;
mod coordinate;
mod event;
mod fake;
mod health;
mod hostile;
mod keyring;
mod kv;
mod lock;
mod operator;
mod query;
mod session;
mod snapshot;
mod status;
mod stream;
mod txn;
