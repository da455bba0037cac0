//! The short cuts (by service name, by service id, counted tags) answer as a look at every row would.

use super::*;
use crate::name::Name;

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn answers_follow_from_the_rows(steps in vec(step(), 1..40)) {
        let reads = all_reads();
        let mut store = begin();
        for step in &steps {
            let (write, ..) = take(&mut store, step);
            let view = store.view();
            for read in &reads {
                if let Some(expected) = naive(&view, read) {
                    prop_assert_eq!(view.read(read).0, expected, "{:?} after {:?}", read, write);
                }
            }
            rows_are_in_step(&view)?;
        }
    }
}

/// The answer by a look at every row; none for keys, which have a model of their own, and for what is one row.
fn naive(view: &View, read: &Read) -> Option<Answer> {
    let carries =
        |node: &Node, wanted: &BTreeMap<String, String>| wanted.iter().all(|(k, v)| node.meta.get(k) == Some(v));
    let nodes = |meta: &BTreeMap<String, String>| -> Vec<_> {
        view.nodes().filter(|node| carries(node, meta)).cloned().collect()
    };
    let instances = |name: &str, tags: &[String], meta: &BTreeMap<String, String>, checked: bool| {
        let mut found = Vec::new();
        for node in nodes(meta) {
            for service in view.services_of(&node.name) {
                let its: BTreeSet<String> = service.tags.iter().map(|tag| tag.to_lowercase()).collect();
                if service.name.eq_ignore_ascii_case(name) && tags.iter().all(|tag| its.contains(&tag.to_lowercase())) {
                    // Those of the node first.
                    let mut checks: Vec<_> = view.checks_of(&node.name).filter(|_| checked).cloned().collect();
                    checks.retain(|check| check.service_id.is_empty() || check.service_id == service.id);
                    checks.sort_by_key(|check| !check.service_id.is_empty());
                    found.push(Instance { node: node.clone(), service: service.clone(), checks });
                }
            }
        }
        found
    };
    let checks = |meta: &BTreeMap<String, String>, keep: &dyn Fn(&Check) -> bool| {
        let all = nodes(meta).into_iter().flat_map(|node| view.checks_of(&node.name).cloned().collect::<Vec<_>>());
        Answer::Checks(all.filter(|check| keep(check)).collect())
    };
    let sessions = |keep: &dyn Fn(&Session) -> bool| {
        let all = (0..=u8::MAX).filter_map(|id| view.session(SessionId([id; 16])));
        Answer::Sessions(all.filter(|session| keep(session)).cloned().collect())
    };
    Some(match read {
        Read::Session(SessionRead::Info { id }) => sessions(&|session| session.id == *id),
        Read::Session(SessionRead::Node { node }) => sessions(&|session| session.node.eq_ignore_ascii_case(node)),
        Read::Session(SessionRead::List) => sessions(&|_| true),
        Read::Kv(_) | Read::Txn(_) | Read::Autopilot => return None,
        Read::Nodes { node_meta } => Answer::Nodes(nodes(node_meta)),
        Read::NodeServices { node } => Answer::NodeServices(
            view.nodes()
                .find(|row| row.name.eq_ignore_ascii_case(node))
                .map(|row| NodeServices { node: row.clone(), services: view.services_of(node).cloned().collect() }),
        ),
        Read::Services { node_meta } => {
            let mut spelling: BTreeMap<Name, String> = BTreeMap::new();
            let mut tags: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
            for service in view.nodes().flat_map(|node| view.services_of(&node.name)) {
                spelling.entry(Name::of(&service.name)).or_insert_with(|| service.name.clone());
            }
            for service in nodes(node_meta).iter().flat_map(|node| view.services_of(&node.name)) {
                let name = spelling[&Name::of(&service.name)].clone();
                tags.entry(name).or_default().extend(service.tags.iter().cloned());
            }
            Answer::Services(tags.into_iter().map(|(name, tags)| (name, tags.into_iter().collect())).collect())
        }
        Read::ServiceInstances { service, tags, node_meta } => {
            Answer::Instances(instances(service, tags, node_meta, false))
        }
        Read::ServiceHealth { service, tags, node_meta, health } => {
            let mut found = instances(service, tags, node_meta, true);
            found.retain(|one| match health {
                HealthFilter::Any => true,
                HealthFilter::NotCritical => one.checks.iter().all(|check| check.status < Status::Critical),
                HealthFilter::Passing => one.checks.iter().all(|check| check.status == Status::Passing),
            });
            Answer::Instances(found)
        }
        Read::NodeChecks { node } => checks(&BTreeMap::new(), &|check| check.node.eq_ignore_ascii_case(node)),
        Read::ServiceChecks { service, node_meta } => {
            checks(node_meta, &|check| check.service_name.eq_ignore_ascii_case(service))
        }
        Read::ChecksInState { status, node_meta } => {
            checks(node_meta, &|check| status.is_none_or(|status| check.status == status))
        }
    })
}

/// Rows that repeat each other agree, every identity leads to its node, sessions are bound to what is well, timers are those of
/// rows that have one, and no index is kept for what is gone.
fn rows_are_in_step(view: &View) -> Result<(), TestCaseError> {
    let mut ids = BTreeSet::new();
    let mut services = BTreeSet::new();
    for node in view.nodes() {
        if let Some(id) = node.id {
            prop_assert!(ids.insert(id), "two nodes are {id}");
            prop_assert_eq!(view.node_by_id(id), Some(node));
        }
        services.extend(view.services_of(&node.name).map(|service| Name::of(&service.name)));
        for check in view.checks_of(&node.name) {
            prop_assert_eq!(&check.node, &node.name);
            let service = view.services_of(&node.name).find(|service| service.id == check.service_id);
            prop_assert_eq!(service.is_none(), check.service_id.is_empty());
            prop_assert_eq!(&check.service_name, service.map_or("", |service| &service.name));
            prop_assert_eq!(&check.service_tags[..], service.map_or(&[][..], |service| &service.tags));
        }
    }
    let catalog = &view.state.catalog;
    prop_assert_eq!(catalog.by_id.keys().copied().collect::<BTreeSet<_>>(), ids);
    prop_assert_eq!(catalog.services.keys().cloned().collect::<BTreeSet<_>>(), services);
    let mut timers = BTreeSet::new();
    for session in (0..=u8::MAX).filter_map(|id| view.session(SessionId([id; 16]))) {
        for id in session.node_checks.iter().chain(&session.service_checks) {
            let check = view.checks_of(&session.node).find(|check| check.id == *id);
            prop_assert!(check.is_some_and(|check| check.status != Status::Critical), "{session:?} outlived {id}");
        }
        prop_assert!(view.node(&session.node).is_some(), "{session:?} outlived its node");
        timers.extend(session.ttl.map(|_| Timer::Session(session.id)));
    }
    for row in KEYS.iter().filter_map(|key| view.entry(key)) {
        prop_assert!(row.lock.session.is_none_or(|holder| view.session(holder).is_some()), "{row:?}");
        timers.extend(row.ttl.map(|_| Timer::Key(row.key.clone())));
    }
    let armed = view.timers().into_iter().map(|(timer, _)| timer);
    prop_assert_eq!(armed.filter(|timer| !matches!(timer, Timer::LockDelay(_))).collect::<BTreeSet<_>>(), timers);
    for (topic, _) in view.state.indexes.after(std::ops::Bound::Unbounded) {
        prop_assert!(view.state.is_there(topic), "{topic:?} is gone");
    }
    Ok(())
}
