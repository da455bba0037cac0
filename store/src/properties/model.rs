//! Keys, locks, sessions and transactions behave as a simple model of them, that looks at everything and shares nothing with the store.

use super::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_behaves_as_the_model(steps in vec(modelled(), 1..80)) {
        let (mut store, mut model) = (begin(), Model::default());
        for step in &steps {
            let write = step.write(&store.view());
            model.index = store.applied_index().next();
            let before = model.clone();
            let (outcome, touched) = store.apply(model.index, &write);
            prop_assert_eq!(outcome, model.write(&write), "{:?}", write);
            prop_assert!(!touched.is_empty() || before.rows() == model.rows(), "{:?} touches nothing", write);
            let view = store.view();
            let rows = |read| match view.read(&Read::Kv(read)).0 {
                Answer::Entries(rows) => rows.iter().map(|row| Row::clone(row)).collect::<Vec<_>>(),
                other => panic!("{other:?}"),
            };
            let all = KvRead::List { prefix: String::new(), page: Page::default() };
            prop_assert_eq!(rows(all), model.keys.values().cloned().collect::<Vec<_>>(), "after {:?}", write);
            let Answer::Sessions(sessions) = view.read(&Read::Session(SessionRead::List)).0 else { panic!() };
            let sessions: Vec<_> = sessions.iter().map(|row| Row::clone(row)).collect();
            prop_assert_eq!(sessions, model.sessions.values().cloned().collect::<Vec<_>>(), "after {:?}", write);
            prop_assert_eq!(view.timers().into_iter().collect::<BTreeMap<_, _>>(), model.timers.clone(), "after {:?}", write);
        }
    }
}

/// What the model knows: keys, sessions, and nodes of which one has the checks that sessions are bound to.
fn modelled() -> impl Strategy<Value = Step> {
    let checks = vec((text(CHECK_IDS), select(&[Status::Passing, Status::Critical][..])), 0..3);
    let register = (text(&["n1", "n2"]), checks).prop_map(|(name, checks)| {
        let node = Node { name, ..Node::default() };
        let check = |(id, status)| Check { id, status, ..Check::default() };
        let checks = checks.into_iter().map(check).collect();
        Write::Register(Box::new(Registration { node, checks, ..Registration::default() }))
    });
    let deregister = (text(&["n1", "n2"]), option::weighted(0.7, text(CHECK_IDS))).prop_map(|(node, check)| {
        Write::Deregister(match check {
            Some(check_id) => Deregistration::Check { node, check_id },
            None => Deregistration::Node { node },
        })
    });
    let operation = prop_oneof![
        1 => look_at_keys().prop_map(TxnOperation::Read),
        2 => kv_write().prop_map(TxnOperation::Kv),
    ];
    let write = prop_oneof![
        8 => kv_write().prop_map(Write::Kv),
        5 => session_write().prop_map(Write::Session),
        3 => vec(operation, 0..4).prop_map(Write::Txn),
        3 => register,
        1 => deregister,
    ];
    prop_oneof![
        8 => write.prop_map(Step::Write),
        2 => (any::<Index>(), prop::bool::weighted(0.2)).prop_map(|(which, late)| Step::Ring(which, late)),
    ]
}

/// The store as it is known to work.
#[derive(Default, Clone)]
struct Model {
    index: LogIndex,
    keys: BTreeMap<String, Row<Entry>>,
    sessions: BTreeMap<SessionId, Row<Session>>,
    timers: BTreeMap<Timer, Armed>,
    /// The checks of each node.
    nodes: BTreeMap<String, BTreeMap<String, Status>>,
}

impl Model {
    fn rows(&self) -> impl PartialEq + use<'_> {
        (&self.keys, &self.sessions, &self.timers, &self.nodes)
    }

    fn write(&mut self, write: &Write) -> Outcome {
        match write {
            Write::Kv(write) => return self.kv(write),
            Write::Session(write) => return self.session(write),
            Write::Txn(operations) => return Outcome::Txn(self.txn(operations)),
            Write::Expire { timer, since } => self.expire(timer, *since),
            Write::Register(registration) => {
                let node = self.nodes.entry(registration.node.name.clone()).or_default();
                let mut critical_once = Vec::new();
                for check in &registration.checks {
                    node.insert(check.id.clone(), check.status);
                    critical_once.extend((check.status == Status::Critical).then(|| check.id.clone()));
                }
                let node = registration.node.name.clone();
                self.end_where(|session| {
                    let mut bound = session.node_checks.iter().chain(&session.service_checks);
                    session.node.eq_ignore_ascii_case(&node) && bound.any(|id| critical_once.contains(id))
                });
            }
            Write::Deregister(Deregistration::Node { node }) => {
                self.nodes.remove(node);
            }
            Write::Deregister(Deregistration::Check { node, check_id }) => {
                self.nodes.get_mut(node).and_then(|checks| checks.remove(check_id));
            }
            other => panic!("{other:?}"),
        }
        let nodes = self.nodes.clone();
        self.end_where(|session| !is_well(&nodes, session));
        Outcome::Done
    }

    fn kv(&mut self, write: &KvWrite) -> Outcome {
        match write {
            KvWrite::Put { pair, cas } => {
                let found = self.modify_index(&pair.key);
                if cas.is_some_and(|cas| cas != found) {
                    return Outcome::Unmatched { found };
                }
                self.set(pair, self.lock(&pair.key));
                Outcome::Done
            }
            KvWrite::Acquire { pair, session } => {
                let mut lock = self.lock(&pair.key);
                let delayed = self.timers.contains_key(&Timer::LockDelay(pair.key.clone()));
                match lock.session {
                    _ if !self.sessions.contains_key(session) => {
                        return Outcome::Refused(format!("invalid session \"{session}\""));
                    }
                    Some(holder) if holder != *session => return Outcome::Held { by: Some(holder) },
                    None if delayed => return Outcome::Held { by: None },
                    None => lock = Lock { count: lock.count + 1, session: Some(*session), token: self.index },
                    Some(_) => {}
                }
                self.set(pair, lock);
                Outcome::Acquired { token: lock.token }
            }
            KvWrite::AcquireOnce { pair, session } => match self.lock(&pair.key) {
                Lock { session: Some(holder), token, .. } if holder == *session => Outcome::Holds { token },
                _ => self.kv(&KvWrite::Acquire { pair: pair.clone(), session: *session }),
            },
            KvWrite::Release { pair, session } => {
                let lock = self.lock(&pair.key);
                if lock.session != Some(*session) {
                    return Outcome::Held { by: lock.session };
                }
                self.set(pair, Lock { session: None, ..lock });
                Outcome::Done
            }
            KvWrite::Delete { key, cas } => {
                let found = self.modify_index(key);
                if self.keys.contains_key(key) && cas.is_some_and(|cas| cas != found) {
                    return Outcome::Unmatched { found };
                }
                self.delete(|one| one == key);
                Outcome::Done
            }
            KvWrite::DeletePrefix { prefix } => {
                self.delete(|key| key.starts_with(prefix));
                Outcome::Done
            }
        }
    }

    fn modify_index(&self, key: &str) -> LogIndex {
        self.keys.get(key).map_or(LogIndex(0), |row| row.modify_index)
    }

    fn lock(&self, key: &str) -> Lock {
        self.keys.get(key).map_or(Lock::default(), |row| row.lock)
    }

    fn set(&mut self, pair: &Pair, lock: Lock) {
        let Pair { key, value, flags, ttl } = pair.clone();
        let there = self.keys.get(&key);
        let value = Entry { key: key.clone(), value, flags, ttl, lock };
        if ttl.is_none() && there.is_some_and(|row| row.value == value) {
            return;
        }
        let create_index = there.map_or(self.index, |row| row.create_index);
        self.keys.insert(key.clone(), Row { value, create_index, modify_index: self.index });
        self.timers.remove(&Timer::Key(key.clone()));
        if let Some(after) = ttl {
            self.timers.insert(Timer::Key(key), Armed { since: self.index, after });
        }
    }

    fn delete(&mut self, is_doomed: impl Fn(&str) -> bool) {
        self.keys.retain(|key, _| !is_doomed(key));
        self.timers.retain(|timer, _| !matches!(timer, Timer::Key(key) if is_doomed(key)));
    }

    fn session(&mut self, write: &SessionWrite) -> Outcome {
        match write {
            SessionWrite::Create(session) => {
                let refused = |why: String| Outcome::Refused(why);
                let id = session.id;
                if self.sessions.contains_key(&id) {
                    let why = "exists already; leave the id out, so that the agent makes a new one";
                    return refused(format!("Session '{id}' {why}"));
                }
                if session.ttl == Some(Duration::ZERO) {
                    return refused("Invalid Session TTL '0', must be more than 0 and at most 24h0m0s".to_owned());
                }
                let Some(checks) = self.nodes.get(&session.node.to_lowercase()) else {
                    return refused("Missing node registration".to_owned());
                };
                for check in session.node_checks.iter().chain(&session.service_checks) {
                    match checks.get(check) {
                        None => return refused(format!("Missing check '{check}' registration")),
                        Some(Status::Critical) => return refused(format!("Check '{check}' is in critical state")),
                        Some(_) => {}
                    }
                }
                let lock_delay = session.lock_delay.min(Duration::from_secs(60));
                let value = Session { lock_delay, ..Session::clone(session) };
                let row = Row { value, create_index: self.index, modify_index: self.index };
                self.sessions.insert(id, row.clone());
                self.renew(id);
                Outcome::Session(Some(row.into()))
            }
            SessionWrite::Destroy { id } => {
                self.end_where(|session| session.id == *id);
                Outcome::Done
            }
            SessionWrite::Renew { id } => {
                self.renew(*id);
                Outcome::Session(self.sessions.get(id).cloned().map(Into::into))
            }
        }
    }

    fn renew(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else { return };
        if let Some(ttl) = session.ttl {
            let after = if session.exact_ttl { ttl } else { ttl * 2 };
            self.timers.insert(Timer::Session(id), Armed { since: self.index, after });
        }
    }

    fn end_where(&mut self, ends: impl Fn(&Session) -> bool) {
        let ended: Vec<Session> = self.sessions.values().filter(|row| ends(row)).map(|row| row.value.clone()).collect();
        for session in ended {
            self.sessions.remove(&session.id);
            self.timers.remove(&Timer::Session(session.id));
            let keys = self.keys.values_mut().filter(|row| row.lock.session == Some(session.id));
            let mut held = Vec::new();
            for row in keys {
                row.value.lock.session = None;
                row.modify_index = self.index;
                held.push(row.key.clone());
            }
            if session.behavior == Behavior::Delete {
                self.delete(|key| held.iter().any(|held| held == key));
            }
            if session.lock_delay > Duration::ZERO {
                let armed = Armed { since: self.index, after: session.lock_delay };
                self.timers.extend(held.into_iter().map(|key| (Timer::LockDelay(key), armed)));
            }
        }
    }

    fn expire(&mut self, timer: &Timer, since: LogIndex) {
        if self.timers.get(timer).is_none_or(|armed| armed.since != since) {
            return;
        }
        self.timers.remove(timer);
        match timer {
            Timer::Session(id) => self.end_where(|session| session.id == *id),
            Timer::Key(key) => self.delete(|one| one == key),
            Timer::LockDelay(_) => {}
        }
    }

    fn txn(&mut self, operations: &[TxnOperation]) -> TxnOutcome {
        let before = self.clone();
        let (mut results, mut errors) = (Vec::new(), Vec::new());
        for (operation, what) in (0..).zip(operations) {
            match self.operate(what) {
                Ok(rows) => results.extend(rows.into_iter().map(|row| TxnResult { operation, row })),
                Err(what) => errors.push(TxnError { operation, what }),
            }
        }
        if errors.is_empty() {
            return Ok(results);
        }
        *self = before;
        Err(errors)
    }

    fn operate(&mut self, operation: &TxnOperation) -> Result<Vec<TxnRow>, String> {
        let rows = |model: &Model, keep: &dyn Fn(&str) -> bool| -> Vec<TxnRow> {
            let kept = model.keys.values().filter(|row| keep(&row.key));
            kept.map(|row| TxnRow::Entry(row.clone().into())).collect()
        };
        match operation {
            TxnOperation::Read(read) => self.look(read),
            TxnOperation::Kv(write) => {
                let outcome = self.kv(write);
                let (verb, key) = match write {
                    KvWrite::Put { pair, .. } => ("set", &pair.key),
                    KvWrite::Acquire { pair, .. } | KvWrite::AcquireOnce { pair, .. } => ("lock", &pair.key),
                    KvWrite::Release { pair, .. } => ("unlock", &pair.key),
                    KvWrite::Delete { key, .. } => ("delete", key),
                    KvWrite::DeletePrefix { prefix } => ("delete", prefix),
                };
                let why = match outcome {
                    Outcome::Done | Outcome::Acquired { .. } if verb == "delete" => return Ok(vec![]),
                    Outcome::Done | Outcome::Acquired { .. } | Outcome::Holds { .. } => {
                        return Ok(rows(self, &|one| one == key));
                    }
                    Outcome::Refused(why) => return Err(why),
                    Outcome::Unmatched { .. } => ", index is stale",
                    Outcome::Held { .. } if verb == "unlock" => ", lock isn't held, or is held by another session",
                    Outcome::Held { by: Some(_) } => ", lock is already held",
                    Outcome::Held { by: None } => " due to lock delay",
                    other => panic!("{other:?}"),
                };
                Err(format!("failed to {verb} key \"{key}\"{why}"))
            }
            TxnOperation::Catalog(_) => panic!("not modelled"),
        }
    }

    fn look(&self, read: &TxnRead) -> Result<Vec<TxnRow>, String> {
        let entry = |key: &str| self.keys.get(key).map(|row| TxnRow::Entry(row.clone().into()));
        let missing = |key: &str| format!("key \"{key}\" doesn't exist");
        let checked = |kind: &str, key: &str, is_so: bool, otherwise: String| match entry(key) {
            None => Err(format!("failed to check {kind}, {}", missing(key))),
            Some(row) if is_so => Ok(vec![row]),
            Some(_) => Err(format!("failed {kind} check for key \"{key}\", {otherwise}")),
        };
        match read {
            TxnRead::Get { key } => entry(key).map(|row| vec![row]).ok_or(missing(key)),
            TxnRead::GetOrEmpty { key } => Ok(vec![entry(key).unwrap_or_else(|| {
                let value = Entry { key: key.clone(), ..Entry::default() };
                TxnRow::Entry(Row { value, create_index: LogIndex(0), modify_index: LogIndex(0) }.into())
            })]),
            TxnRead::GetTree { prefix } => Ok(self
                .keys
                .values()
                .filter(|row| row.key.starts_with(prefix))
                .map(|row| TxnRow::Entry(row.clone().into()))
                .collect()),
            TxnRead::CheckIndex { key, index } => {
                let found = self.modify_index(key);
                checked("index", key, found == *index, format!("current modify index {found} != {index}"))
            }
            TxnRead::CheckSession { key, session } => {
                let holder = self.lock(key).session;
                let found = holder.map(|holder| holder.to_string()).unwrap_or_default();
                let otherwise = format!("current session \"{found}\" != \"{session}\"");
                checked("session", key, holder == Some(*session), otherwise)
            }
            TxnRead::CheckNotExists { key } if entry(key).is_some() => Err(format!("key \"{key}\" exists")),
            TxnRead::CheckNotExists { .. } => Ok(vec![]),
            TxnRead::CheckToken { key, token } => {
                let lock = self.lock(key);
                let otherwise = match lock.session {
                    None => "nobody holds it".to_owned(),
                    Some(_) => format!("current token {} != {token}", lock.token),
                };
                checked("token", key, lock.session.is_some() && lock.token == *token, otherwise)
            }
            TxnRead::Node { .. } | TxnRead::Service { .. } | TxnRead::Check { .. } => panic!("not modelled"),
        }
    }
}

fn is_well(nodes: &BTreeMap<String, BTreeMap<String, Status>>, session: &Session) -> bool {
    let mut bound = session.node_checks.iter().chain(&session.service_checks);
    nodes
        .get(&session.node.to_lowercase())
        .is_some_and(|checks| bound.all(|id| checks.get(id).is_some_and(|status| *status != Status::Critical)))
}
