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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Scene, With, on, session, session_id};
    use quorate_protocol::{Answer, Deregistration, Read, Write};
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    /// A node with a check of its own and one of a service.
    fn scene() -> Scene {
        let mut scene = Scene::new();
        let node = on("N1", Some(1)).service("web", "web", &[]);
        scene.done(node.serf(Status::Passing).check("c", "web", Status::Warning));
        scene.done(on("n2", Some(2)));
        scene
    }

    fn bound(id: u8, node_checks: &[&str], service_checks: &[&str]) -> Session {
        let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        Session { node_checks: owned(node_checks), service_checks: owned(service_checks), ..session(id, "n1") }
    }

    fn create(scene: &mut Scene, session: Session) -> Outcome {
        scene.write(&Write::Session(SessionWrite::Create(Box::new(session))))
    }

    fn ids(scene: &Scene, read: SessionRead) -> (Vec<u8>, u64) {
        match scene.read(&Read::Session(read)) {
            (Answer::Sessions(rows), index) => (rows.iter().map(|row| row.id.0[0]).collect(), index),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_session_through_its_life() {
        let mut scene = scene();
        let timer = Timer::Session(session_id(1));
        let row = scene.session(Session { ttl: Some(10 * SECOND), ..bound(1, &["serfHealth"], &["c"]) });
        let made = scene.store.applied_index().0;
        assert_eq!((row.create_index.0, row.modify_index.0), (made, made));
        assert_eq!(scene.armed(&timer), Some((made, 20)), "two TTLs");
        assert!(scene.renew(1));
        let renewed = scene.store.applied_index().0;
        assert!(matches!(scene.touched.timers(), [(one, Some(_))] if *one == timer));
        assert_eq!(scene.armed(&timer), Some((renewed, 20)));
        assert_eq!(scene.store.view().session(session_id(1)), Some(&row), "its row is as it was");
        scene.expire(&timer, made);
        assert!(scene.lives(1) && scene.touched.is_empty(), "it was renewed since the clock rang");
        scene.expire(&timer, renewed);
        assert!(!scene.lives(1));
        assert_eq!(scene.armed(&timer), None);
        assert!(!scene.renew(1));
        scene.destroy(1);
        assert!(scene.touched.is_empty(), "destroying none succeeds");
    }

    #[test]
    fn how_long_it_lives() {
        let mut scene = scene();
        scene.session(Session { ttl: Some(10 * SECOND), exact_ttl: true, ..session(1, "n1") });
        scene.session(Session { lock_delay: 600 * SECOND, ..session(2, "n1") });
        assert_eq!(scene.armed(&Timer::Session(session_id(1))).map(|(_, after)| after), Some(10));
        assert_eq!(scene.armed(&Timer::Session(session_id(2))), None);
        let delay = scene.store.view().session(session_id(2)).map(|row| row.lock_delay);
        assert_eq!(delay, Some(60 * SECOND), "a longer one is cut");
        assert!(scene.renew(2) && scene.touched.is_empty());
    }

    #[test]
    fn what_cannot_be_made_is_refused() {
        let mut scene = scene();
        scene.session(session(7, "n1"));
        scene.done(on("n1", None).check("dead", "", Status::Critical));
        let ttl = |ttl| Session { ttl: Some(ttl), ..session(1, "n1") };
        for (session, sentence) in [
            (session(1, "nowhere"), "Missing node registration"),
            (session(1, ""), "Missing node registration"),
            (bound(1, &["x"], &[]), "Missing check 'x' registration"),
            (bound(1, &["serfHealth"], &["x"]), "Missing check 'x' registration"),
            (bound(1, &["serfHealth", "dead"], &[]), "Check 'dead' is in critical state"),
            (session(7, "n1"), "Session '07070707-0707-0707-0707-070707070707' exists already; leave the id out"),
            (session(0, "n1"), "Missing session ID"),
            (ttl(Duration::ZERO), "Invalid Session TTL '0', must be more than 0 and at most 24h0m0s"),
            (ttl(MAX_TTL + SECOND), "Invalid Session TTL '86401000000000', must be"),
            (Session { name: "x".repeat(1025), ..session(1, "n1") }, "The session name 'xxx"),
        ] {
            let Outcome::Refused(why) = create(&mut scene, session) else { panic!("{sentence}") };
            assert!(why.starts_with(sentence), "{why}");
            assert!(scene.touched.is_empty() && !scene.lives(1));
        }
        assert!(matches!(create(&mut scene, ttl(MAX_TTL)), Outcome::Session(Some(_))));
    }

    #[test]
    fn what_it_is_bound_to_ends_it() {
        let check = |status| on("n1", None).check("c", "web", status);
        let gone = |what: Deregistration| Write::Deregister(what);
        let writes = [
            (Write::Register(Box::new(on("n1", None).serf(Status::Warning))), true),
            (Write::Register(Box::new(on("n1", None).serf(Status::Critical))), false),
            (Write::Register(Box::new(check(Status::Passing))), true),
            (Write::Register(Box::new(check(Status::Critical))), false),
            (Write::Register(Box::new(on("n1", None).service("web", "api", &["t"]))), true),
            (Write::Register(Box::new(on("n9", Some(1)))), false),
            (gone(Deregistration::Check { node: "n1".into(), check_id: "c".into() }), false),
            (gone(Deregistration::Check { node: "n1".into(), check_id: "x".into() }), true),
            (gone(Deregistration::Service { node: "n1".into(), service_id: "web".into() }), false),
            (gone(Deregistration::Node { node: "N1".into() }), false),
            (gone(Deregistration::Node { node: "n2".into() }), true),
        ];
        for (write, lives) in writes {
            let mut scene = scene();
            scene.session(bound(1, &["serfHealth"], &["c"]));
            scene.acquire("a", 1);
            assert_eq!(scene.write(&write), Outcome::Done);
            assert_eq!(scene.lives(1), lives, "{write:?}");
            assert_eq!(scene.entry("a").unwrap().lock.session.is_some(), lives, "in the same write: {write:?}");
        }
    }

    #[test]
    fn a_node_whose_name_is_taken_over_ends_its_sessions() {
        let mut scene = scene();
        scene.session(session(1, "n1"));
        scene.done(on("n1", None).serf(Status::Critical));
        assert!(scene.lives(1), "it is bound to no check");
        scene.done(on("n1", Some(3)));
        assert!(!scene.lives(1), "another agent has the name now");
    }

    #[test]
    fn each_question_has_its_own_index() {
        let mut scene = scene();
        let info = |id| SessionRead::Info { id: session_id(id) };
        let node = |node: &str| SessionRead::Node { node: node.to_owned() };
        assert_eq!(ids(&scene, SessionRead::List), (vec![], 1));
        scene.session(session(2, "n1"));
        let first = scene.store.applied_index().0;
        scene.session(session(1, "n2"));
        let second = scene.store.applied_index().0;
        assert_eq!(ids(&scene, SessionRead::List), (vec![1, 2], second));
        assert_eq!((ids(&scene, node("N1")), ids(&scene, node("n2"))), ((vec![2], first), (vec![1], second)));
        assert_eq!((ids(&scene, info(2)), ids(&scene, info(3))), ((vec![2], first), (vec![], second)));
        scene.destroy(2);
        let gone = scene.store.applied_index().0;
        assert!(scene.touched.concerns(&Read::Session(info(2))) && !scene.touched.concerns(&Read::Session(info(1))));
        assert_eq!((ids(&scene, info(2)), ids(&scene, node("n1"))), ((vec![], gone), (vec![], gone)));
        assert_eq!((ids(&scene, info(1)), ids(&scene, node("n2"))), ((vec![1], second), (vec![1], second)));
    }
}
