//! What a front door of this agent leaves out of a new session, and which TTLs are taken.

use crate::Engine;
use quorate_protocol::go::format_duration;
use quorate_protocol::session::MAX_TTL;
use quorate_protocol::{Ask, Refusal, Request, Session, SessionId, SessionWrite, Write};
use rand::RngExt;
use std::time::Duration;

impl Engine {
    /// Completes a request that came in at a front door of this agent, before it is sent anywhere: what is rolled or looked up on the way
    /// would differ between replicas.
    ///
    /// # Errors
    /// The TTL of a new session is out of bounds.
    pub(crate) fn complete(&mut self, mut request: Request) -> Result<Request, Refusal> {
        if let Ask::Write(Write::Session(SessionWrite::Create(session))) = &mut request.ask {
            check_ttl(session, self.config.session_ttl_min)?;
            if session.id == SessionId::default() {
                session.id = SessionId::from_random(self.rng.random());
            }
            if session.node.is_empty() {
                session.node.clone_from(&self.config.name);
            }
        }
        Ok(request)
    }
}

/// Consul's sentence and its rule: a TTL of nothing is none.
fn check_ttl(session: &mut Session, min: Duration) -> Result<(), Refusal> {
    session.ttl = session.ttl.filter(|ttl| !ttl.is_zero());
    match session.ttl {
        Some(ttl) if !(min..=MAX_TTL).contains(&ttl) => Err(Refusal::Invalid(format!(
            "Invalid Session TTL '{}', must be between [{}={}]",
            ttl.as_nanos(),
            format_duration(min),
            format_duration(MAX_TTL)
        ))),
        _ => Ok(()),
    }
}
