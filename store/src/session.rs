//! Sessions: who may hold keys, what they are bound to, and what becomes of their keys when they end.

use crate::edit::Edit;
use crate::index::Topic;
use crate::name::{Name, fits};
use crate::planted::Bug;
use imbl::{OrdMap, OrdSet};
use quorate_protocol::session::{MAX_LOCK_DELAY, MAX_TTL};
use quorate_protocol::{Behavior, Outcome, Row, Session, SessionId, SessionRead, SessionWrite, Status, Timer};
use std::ops::Bound;
use std::sync::Arc;

/// Sessions.
///
/// * Each is bound to a node that is there, and to checks on it that are there and not critical.
/// * `by_node` and `by_check` say the same as the rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sessions {
    rows: OrdMap<SessionId, Arc<Row<Session>>>,
    by_node: OrdSet<(Name, SessionId)>,
    /// By the node's name and the check's id.
    by_check: OrdSet<(Name, Arc<str>, SessionId)>,
}

/// Before every identity.
const FIRST: SessionId = SessionId([0; 16]);

impl Sessions {
    pub fn get(&self, id: SessionId) -> Option<&Arc<Row<Session>>> {
        self.rows.get(&id)
    }

    pub fn read(&self, read: &SessionRead) -> Vec<Arc<Row<Session>>> {
        match read {
            SessionRead::Info { id } => self.get(*id).into_iter().cloned().collect(),
            SessionRead::Node { node } => {
                self.on(&Name::of(node)).filter_map(|id| self.rows.get(&id)).cloned().collect()
            }
            SessionRead::List => self.rows.values().cloned().collect(),
        }
    }

    /// Those bound to a node, by identity.
    pub fn on<'a>(&'a self, node: &'a Name) -> impl Iterator<Item = SessionId> + use<'a> {
        let from = (Bound::Included((node.clone(), FIRST)), Bound::Unbounded);
        self.by_node.range::<_, (Name, SessionId)>(from).take_while(move |(on, _)| on == node).map(|(_, id)| *id)
    }

    /// Every one whose identity comes after `after`.
    pub fn after(&self, after: Bound<SessionId>) -> impl Iterator<Item = &Arc<Row<Session>>> + use<'_> {
        self.rows.range::<_, SessionId>((after, Bound::Unbounded)).map(|(_, row)| row)
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// The nodes that sessions are bound to.
    pub fn nodes(&self) -> impl Iterator<Item = &Name> {
        self.by_node.iter().map(|(node, _)| node)
    }

    pub fn insert(&mut self, row: Arc<Row<Session>>) {
        let node = Name::of(&row.node);
        self.by_node.insert((node.clone(), row.id));
        for check in checks(&row) {
            self.by_check.insert((node.clone(), check.as_str().into(), row.id));
        }
        self.rows.insert(row.id, row);
    }

    fn remove(&mut self, id: SessionId) -> Option<Arc<Row<Session>>> {
        let row = self.rows.remove(&id)?;
        let node = Name::of(&row.node);
        for check in checks(&row) {
            self.by_check.remove(&(node.clone(), Arc::from(check.as_str()), id));
        }
        self.by_node.remove(&(node, id));
        Some(row)
    }

    fn bound_to_check(&self, node: &Name, check: &str) -> Vec<SessionId> {
        let from = (Bound::Included((node.clone(), Arc::from(check), FIRST)), Bound::Unbounded);
        let all = self.by_check.range::<_, (Name, Arc<str>, SessionId)>(from);
        all.take_while(|(on, its, _)| on == node && **its == *check).map(|(.., id)| *id).collect()
    }
}

fn checks(session: &Session) -> impl Iterator<Item = &String> {
    session.node_checks.iter().chain(&session.service_checks)
}

impl Edit<'_> {
    pub fn write_session(&mut self, write: &SessionWrite) -> Outcome {
        match write {
            SessionWrite::Create(session) => match self.create_session(session) {
                Ok(row) => Outcome::Session(Some(row)),
                Err(why) => Outcome::Refused(why),
            },
            SessionWrite::Destroy { id } => {
                self.end_session(*id);
                Outcome::Done
            }
            SessionWrite::Renew { id } => Outcome::Session(self.renew_session(*id)),
        }
    }

    fn create_session(&mut self, session: &Session) -> Result<Arc<Row<Session>>, String> {
        self.may_be_made(session)?;
        let value = Session { lock_delay: session.lock_delay.min(MAX_LOCK_DELAY), ..session.clone() };
        let row = Arc::new(Row { value, create_index: self.index, modify_index: self.index });
        self.state.sessions.insert(Arc::clone(&row));
        self.touch_session(&row);
        self.begin_lifetime(&row);
        Ok(row)
    }

    fn may_be_made(&self, session: &Session) -> Result<(), String> {
        if session.id == SessionId::default() {
            return Err("Missing session ID".to_owned());
        }
        if self.state.sessions.get(session.id).is_some() {
            return Err(format!(
                "Session '{}' exists already; leave the id out, so that the agent makes a new one",
                session.id
            ));
        }
        fits("session name", &session.name)?;
        if let Some(ttl) = session.ttl.filter(|ttl| ttl.is_zero() || *ttl > MAX_TTL) {
            return Err(format!("Invalid Session TTL '{}', must be more than 0 and at most 24h0m0s", ttl.as_nanos()));
        }
        let Some(on) = self.state.catalog.on(&session.node) else { return Err("Missing node registration".to_owned()) };
        for id in checks(session) {
            match on.checks.get(id.as_str()).map(|check| check.status) {
                None => return Err(format!("Missing check '{id}' registration")),
                Some(Status::Critical) => return Err(format!("Check '{id}' is in {} state", Status::Critical)),
                Some(Status::Passing | Status::Warning) => {}
            }
        }
        Ok(())
    }

    /// Its row stays as it is: a renewal wakes nobody.
    fn renew_session(&mut self, id: SessionId) -> Option<Arc<Row<Session>>> {
        let row = self.state.sessions.get(id).cloned()?;
        if !self.state.planted.has(Bug::RenewalLost) {
            self.begin_lifetime(&row);
        }
        Some(row)
    }

    fn begin_lifetime(&mut self, session: &Session) {
        if let Some(lifetime) = session.lifetime() {
            self.arm(Timer::Session(session.id), lifetime);
        }
    }

    /// Invalidates a session, whatever the reason: its keys are let go of or removed, and cannot be acquired during its lock
    /// delay, for its holder may not know yet that it holds them no longer.
    pub(crate) fn end_session(&mut self, id: SessionId) {
        let Some(row) = self.state.sessions.remove(id) else { return };
        self.disarm(Timer::Session(id));
        self.touch_session(&row);
        for key in self.state.kv.held_by(id) {
            match row.behavior {
                Behavior::Release => self.let_go(&key),
                Behavior::Delete => self.remove_key(&key),
            }
            if !row.lock_delay.is_zero() {
                self.arm(Timer::LockDelay(key.as_ref().to_owned()), row.lock_delay);
            }
        }
    }

    /// A node is gone, and with it those bound to it.
    pub(crate) fn end_sessions_on(&mut self, node: &Name) {
        let ended: Vec<SessionId> = self.state.sessions.on(node).collect();
        for id in ended {
            self.end_session(id);
        }
    }

    /// A check is critical or gone, and with it those bound to it.
    pub(crate) fn end_sessions_bound_to(&mut self, node: &Name, check: &str) {
        for id in self.state.sessions.bound_to_check(node, check) {
            self.end_session(id);
        }
    }

    fn touch_session(&mut self, session: &Session) {
        self.touch([Topic::Session(session.id), Topic::SessionsOn(Name::of(&session.node)), Topic::Sessions]);
    }
}
