use super::*;
use quorate_protocol::{Behavior, Check, Deregistration, Node, Pair, Registration, Status, TxnOperation, TxnRead};
use std::time::Duration;

const TTL: Duration = Duration::from_secs(3);

fn id(number: u8) -> SessionId {
    SessionId([number; 16])
}

fn pair(key: &str, value: u64) -> Pair {
    Pair { key: key.into(), flags: value, ..Pair::default() }
}

fn acquire(key: &str, value: u64, session: u8) -> Write {
    Write::Kv(KvWrite::Acquire { pair: pair(key, value), session: id(session) })
}

fn release(key: &str, value: u64, session: u8) -> Write {
    Write::Kv(KvWrite::Release { pair: pair(key, value), session: id(session) })
}

fn put(key: &str, value: u64, cas: Option<u64>) -> Write {
    Write::Kv(KvWrite::Put { pair: pair(key, value), cas: cas.map(LogIndex) })
}

fn create(number: u8, change: impl FnOnce(&mut Session)) -> Write {
    let mut session = Session { id: id(number), node: "n".into(), ttl: Some(TTL), ..Session::default() };
    change(&mut session);
    Write::Session(SessionWrite::Create(Box::new(session)))
}

fn node(status: Status) -> Write {
    let check = Check { node: "n".into(), id: "alive".into(), status, ..Check::default() };
    let node = Node { name: "n".into(), ..Node::default() };
    Write::Register(Box::new(Registration { node, checks: vec![check], ..Registration::default() }))
}

/// A model that has read a node at index 1 and then these.
fn model(writes: &[Write]) -> Model {
    let mut model = Model::default();
    for write in std::iter::once(&node(Status::Passing)).chain(writes) {
        model.read(Time::from_nanos(model.index().0), Some(write));
    }
    model
}

fn last(writes: &[Write]) -> Expectation {
    let model = model(writes);
    model.expectation(model.index()).cloned().expect("the last write says what it does")
}

fn holder_and_token(model: &Model, key: &str) -> (Option<SessionId>, u64) {
    let state = &model.state().keys[key];
    (state.holder, state.token.0)
}

#[test]
fn one_holds_until_it_lets_go() {
    let one = [create(1, |_| {}), create(2, |_| {}), acquire("k", 10, 1)];
    let and = |more: &[Write]| [&one[..], more].concat();
    assert_eq!(last(&one), Expectation::Acquired(LogIndex(4)));
    assert_eq!(last(&and(&[acquire("k", 11, 2)])), Expectation::Held(Some(id(1))));
    assert_eq!(last(&and(&[acquire("k", 11, 1)])), Expectation::Acquired(LogIndex(4)), "again: the same token");
    assert_eq!(last(&and(&[release("k", 11, 2)])), Expectation::Held(Some(id(1))));
    let again = model(&and(&[acquire("k", 10, 1)]));
    assert_eq!(again.state().keys["k"].modified, LogIndex(4), "just the same again");
    let next = and(&[release("k", 11, 1), acquire("k", 12, 2)]);
    assert_eq!(last(&next), Expectation::Acquired(LogIndex(6)));
    assert_eq!(model(&next).state().keys["k"].count, 2);
    assert_eq!(last(&[acquire("k", 1, 9)]), Expectation::Refused, "no such session");
    assert_eq!(last(&[create(1, |_| {}), release("k", 1, 1)]), Expectation::Held(None));
}

#[test]
fn what_ends_a_session_frees_its_keys() {
    let destroy = Write::Session(SessionWrite::Destroy { id: id(1) });
    let expire = |since| Write::Expire { timer: Timer::Session(id(1)), since: LogIndex(since) };
    let node_gone = Write::Deregister(Deregistration::Node { node: "n".into() });
    let held = [create(1, |session| session.node_checks = vec!["alive".into()]), acquire("k", 10, 1)];
    for end in [destroy, expire(2), node_gone, node(Status::Critical)] {
        let model = model(&[&held[..], &[end]].concat());
        assert!(model.state().sessions.is_empty());
        assert_eq!(holder_and_token(&model, "k"), (None, 3), "the token stays to be compared with");
        assert_eq!(model.state().keys["k"].modified, LogIndex(4));
    }
    let renewed = Write::Session(SessionWrite::Renew { id: id(1) });
    let late = model(&[&held[..], &[renewed, expire(2)]].concat());
    assert_eq!(late.state().sessions.len(), 1, "it was renewed since");
    assert_eq!(late.state().timers[&Timer::Session(id(1))], Armed { since: LogIndex(4), after: TTL * 2 });
}

#[test]
fn the_delay_after_an_end() {
    let delayed = |behavior| {
        let create_one = create(1, |session| {
            session.lock_delay = Duration::from_secs(2);
            session.behavior = behavior;
        });
        let destroy = Write::Session(SessionWrite::Destroy { id: id(1) });
        [create_one, create(2, |_| {}), acquire("k", 10, 1), destroy, acquire("k", 11, 2)]
    };
    assert_eq!(last(&delayed(Behavior::Release)), Expectation::Held(None));
    assert_eq!(last(&delayed(Behavior::Delete)), Expectation::Held(None));
    assert!(model(&delayed(Behavior::Delete)).state().keys.is_empty());
    let over = Write::Expire { timer: Timer::LockDelay("k".into()), since: LogIndex(5) };
    let free = [&delayed(Behavior::Release)[..], &[over, acquire("k", 12, 2)]].concat();
    assert_eq!(last(&free), Expectation::Acquired(LogIndex(8)));
}

#[test]
fn keys_compared_set_and_ended() {
    assert_eq!(last(&[put("k", 1, Some(0))]), Expectation::Done);
    assert_eq!(last(&[put("k", 1, None), put("k", 2, Some(0))]), Expectation::Unmatched(LogIndex(2)));
    let short = Pair { ttl: Some(TTL), ..pair("k", 1) };
    let short = Write::Kv(KvWrite::Put { pair: short, cas: None });
    let expire = Write::Expire { timer: Timer::Key("k".into()), since: LogIndex(2) };
    assert!(model(&[short.clone(), expire.clone()]).state().keys.is_empty());
    assert_eq!(model(&[short, put("k", 2, None), expire]).state().keys.len(), 1, "it was set again, for ever");
}

#[test]
fn all_or_nothing() {
    let txn = |index| {
        let check = TxnRead::CheckIndex { key: "k".into(), index: LogIndex(index) };
        let set = KvWrite::Put { pair: pair("l", 7), cas: None };
        Write::Txn(vec![check.into(), TxnOperation::Kv(set)])
    };
    let done = model(&[put("k", 1, None), txn(2)]);
    let row = |number, key| (number, done.state().keys[key].clone());
    assert_eq!(done.expectation(LogIndex(3)), Some(&Expectation::Txn(Some(vec![row(0, "k"), row(1, "l")]))));
    let failed = model(&[put("k", 1, None), txn(9)]);
    assert_eq!(failed.expectation(LogIndex(3)), Some(&Expectation::Txn(None)));
    assert!(!failed.state().keys.contains_key("l"));
}

#[test]
fn changes_in_order() {
    let delete = Write::Kv(KvWrite::DeletePrefix { prefix: "a/".into() });
    let model = model(&[put("a/2", 1, None), put("a/1", 2, None), put("b", 3, None), delete]);
    let indexes = |after, up_to| -> Option<Vec<(&str, u64, bool)>> {
        let changes = model.changes(|key| key.starts_with("a/"), LogIndex(after), LogIndex(up_to))?;
        Some(changes.into_iter().map(|(key, version)| (key, version.index.0, version.state.is_some())).collect())
    };
    assert_eq!(indexes(0, 4), Some(vec![("a/2", 2, true), ("a/1", 3, true)]));
    assert_eq!(indexes(2, 5), Some(vec![("a/1", 3, true), ("a/1", 5, false), ("a/2", 5, false)]));
    assert_eq!(indexes(0, 6), None, "nobody has applied that yet");
    assert_eq!(model.applied_at(LogIndex(2)), Some(Time::from_nanos(1)));
    assert_eq!(model.applied_at(LogIndex(9)), None);
}
