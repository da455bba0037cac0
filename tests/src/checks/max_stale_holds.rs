//! Whoever asks for an answer that is not older than so much gets none from a server that heard its leader longer ago.

use super::{Checked, Violation};
use quorate_protocol::{Consistency, ReadRequest};
use std::time::Duration;

/// A question was answered by a server that heard its leader so long ago.
///
/// # Errors
/// When that is longer than the question allowed.
pub fn check(request: &ReadRequest, last_contact: Duration) -> Checked {
    match request.max_stale.filter(|_| request.consistency == Consistency::Stale) {
        Some(most) if last_contact > most => {
            let seen = format!("{:?} may be {most:?} old, and the leader was heard {last_contact:?} ago", request.read);
            Violation::seen("max_stale_holds", seen)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_protocol::{KvRead, Read};

    #[test]
    fn an_answer_that_is_too_old_is_seen() {
        let millis = Duration::from_millis;
        let request = |consistency| ReadRequest {
            consistency,
            max_stale: Some(millis(200)),
            ..ReadRequest::now(Read::Kv(KvRead::Get { key: "k".into() }))
        };
        assert_eq!(check(&request(Consistency::Stale), millis(200)), Ok(()));
        assert!(check(&request(Consistency::Stale), millis(201)).is_err());
        assert_eq!(check(&request(Consistency::Default), millis(900)), Ok(()), "a leader answers for itself");
    }
}
