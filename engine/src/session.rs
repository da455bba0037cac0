//! What the agent that is asked fills in: whose session it is, and under which identity.

use crate::Engine;
use quorate_protocol::{Ask, Request, Session, SessionId, SessionWrite, Write};
use rand::RngExt;

impl Engine {
    /// Completes a request that came from one of this agent's front doors.
    pub(crate) fn complete(&mut self, mut request: Request) -> Request {
        if let Ask::Write(Write::Session(SessionWrite::Create(session))) = &mut request.ask {
            self.complete_session(session);
        }
        request
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
