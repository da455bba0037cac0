//! What the agent that is asked fills in: whose session it is, and under which identity.

use crate::Engine;
use quorate_protocol::session::MAX_TTL;
use quorate_protocol::{Ask, Refusal, Reply, Request, Session, SessionId, SessionWrite, Write, go};
use rand::RngExt;
use std::time::Duration;

impl Engine {
    /// Completes a request that came from one of this agent's front doors. None where it was refused: then the reply is given.
    pub(crate) fn complete(&mut self, mut request: Request) -> Result<Request, Reply> {
        if let Ask::Write(Write::Session(SessionWrite::Create(session))) = &mut request.ask {
            if let Some(why) = session.ttl.and_then(|ttl| refuse_ttl(ttl, self.config.session_ttl_min)) {
                return Err(Reply::Refused(Refusal::Invalid(why)));
            }
            self.complete_session(session);
        }
        Ok(request)
    }

    fn complete_session(&mut self, session: &mut Session) {
        if session.id == SessionId::default() {
            session.id = SessionId::from_random(self.rng.random());
        }
        if session.node.is_empty() {
            session.node.clone_from(&self.config.name);
        }
    }
}

/// Why a session may not have this TTL, in Consul's words.
fn refuse_ttl(ttl: Duration, least: Duration) -> Option<String> {
    let allowed = (least..=MAX_TTL).contains(&ttl);
    (!allowed).then(|| {
        let (least, most) = (go::format_duration(least), go::format_duration(MAX_TTL));
        format!("Invalid Session TTL '{}', must be between [{least}={most}]", ttl.as_nanos())
    })
}
