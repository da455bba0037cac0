//! Services: rows on their nodes, and the instances of a name over all nodes.

use crate::catalog::{Catalog, carries};
use crate::edit::Edit;
use crate::index::Topic;
use crate::name::Name;
use crate::node::{OnNode, made_at};
use imbl::OrdMap;
use quorate_protocol::{Check, HealthFilter, Instance, Row, Service, Status};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Where an instance is: its node and its id there.
type Location = (Name, Arc<str>);

/// The instances of one service, at least one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Instances {
    rows: OrdMap<Location, Arc<Row<Service>>>,
    /// The tags in use, each with the number of instances that carry it.
    tags: OrdMap<Arc<str>, usize>,
}

impl Instances {
    /// The name as the first instance spells it: what is derived from rows alone cannot differ between replicas.
    fn spelling(&self) -> &str {
        self.rows.get_min().map_or("", |(_, row)| &row.name)
    }

    fn insert(&mut self, location: Location, row: Arc<Row<Service>>) {
        for tag in row.tags.iter().collect::<BTreeSet<_>>() {
            let count = self.tags.get(tag.as_str()).copied().unwrap_or_default();
            self.tags.insert(tag.as_str().into(), count + 1);
        }
        self.rows.insert(location, row);
    }

    fn remove(&mut self, location: &Location) {
        let Some(row) = self.rows.remove(location) else { return };
        for tag in row.tags.iter().collect::<BTreeSet<_>>() {
            match self.tags.get_mut(tag.as_str()) {
                Some(count) if *count > 1 => *count -= 1,
                _ => {
                    self.tags.remove(tag.as_str());
                }
            }
        }
    }
}

impl Catalog {
    pub fn services(&self, node_meta: &BTreeMap<String, String>) -> BTreeMap<String, Vec<String>> {
        let services = self.services.iter();
        if node_meta.is_empty() {
            let tags = |of: &Instances| of.tags.keys().map(|tag| tag.to_string()).collect();
            return services.map(|(_, of)| (of.spelling().to_owned(), tags(of))).collect();
        }
        let on_such_nodes = services.filter_map(|(name, of)| {
            let mut tags = None;
            for (_, row) in self.instances_of(name).filter(|(on, _)| carries(&on.row.meta, node_meta)) {
                tags.get_or_insert_with(BTreeSet::new).extend(row.tags.iter().cloned());
            }
            Some((of.spelling().to_owned(), tags?.into_iter().collect()))
        });
        on_such_nodes.collect()
    }

    pub fn instances(&self, service: &str, tags: &[String], node_meta: &BTreeMap<String, String>) -> Vec<Instance> {
        self.matching(service, tags, node_meta)
            .map(|(on, row)| Instance { node: Arc::clone(&on.row), service: Arc::clone(row), checks: vec![] })
            .collect()
    }

    /// The checks of the whole node, gossip's among them, count for every service on it.
    pub fn health(
        &self,
        service: &str,
        tags: &[String],
        node_meta: &BTreeMap<String, String>,
        health: HealthFilter,
    ) -> Vec<Instance> {
        self.matching(service, tags, node_meta)
            .map(|(on, row)| {
                let checks = on.checks_for("").iter().chain(on.checks_for(&row.id)).cloned().collect();
                Instance { node: Arc::clone(&on.row), service: Arc::clone(row), checks }
            })
            .filter(|instance| match health {
                HealthFilter::Any => true,
                HealthFilter::NotCritical => instance.status() != Status::Critical,
                HealthFilter::Passing => instance.status() == Status::Passing,
            })
            .collect()
    }

    /// The instances of a service with their nodes, by node and id.
    pub(crate) fn instances_of<'a>(
        &'a self,
        service: &Name,
    ) -> impl Iterator<Item = (&'a Arc<OnNode>, &'a Arc<Row<Service>>)> + use<'a> {
        let rows = self.services.get(service).into_iter().flat_map(|instances| instances.rows.iter());
        rows.filter_map(|((node, _), row)| Some((self.nodes.get(node)?, row)))
    }

    fn matching<'a>(
        &'a self,
        service: &str,
        tags: &'a [String],
        node_meta: &'a BTreeMap<String, String>,
    ) -> impl Iterator<Item = (&'a Arc<OnNode>, &'a Arc<Row<Service>>)> + use<'a> {
        // Without regard to case, since tags are labels of DNS names as well.
        let has = |row: &Service, tag: &String| row.tags.iter().any(|its| its.eq_ignore_ascii_case(tag));
        self.instances_of(&Name::of(service))
            .filter(move |(on, row)| carries(&on.row.meta, node_meta) && tags.iter().all(|tag| has(row, tag)))
    }
}

impl Edit<'_> {
    /// Upserts a service on a node that is there.
    pub(crate) fn put_service(&mut self, node: &Name, service: Service) {
        let existing = self.state.catalog.nodes.get(node).and_then(|on| on.services.get(service.id.as_str()));
        if existing.is_some_and(|row| row.value == service) {
            return;
        }
        let create_index = made_at(existing, self.index);
        self.place_service(node, Arc::new(Row { value: service, create_index, modify_index: self.index }));
    }

    /// Puts a row on a node, in place of the one with its id, and keeps that service's checks in step.
    pub(crate) fn place_service(&mut self, node: &Name, row: Arc<Row<Service>>) {
        let id: Arc<str> = row.id.as_str().into();
        let Some(on) = self.on_mut(node) else { return };
        let before = on.services.insert(Arc::clone(&id), Arc::clone(&row));
        let location = (node.clone(), id);
        self.list_instance(&location, before.as_deref(), Some(&row));
        self.fill_in_checks(node, &row);
    }

    /// Removes a service with its checks.
    pub(crate) fn remove_service(&mut self, node: &Name, id: &str) {
        let Some(on) = self.state.catalog.nodes.get(node).filter(|on| on.services.contains_key(id)).cloned() else {
            return;
        };
        for check in on.checks_for(id) {
            self.remove_check(node, &check.id);
        }
        let removed = self.on_mut(node).and_then(|on| on.services.remove_with_key(id));
        if let Some((id, row)) = removed {
            self.list_instance(&(node.clone(), id), Some(&row), None);
        }
    }

    /// Lists an instance under its name in place of what it was before, and marks whatever that changes.
    fn list_instance(&mut self, location: &Location, before: Option<&Row<Service>>, after: Option<&Arc<Row<Service>>>) {
        let name_before = before.map(|row| Name::of(&row.name));
        let name_after = after.map(|row| Name::of(&row.name));
        self.touch([Topic::Node(location.0.clone())]);
        if name_before != name_after {
            let both = || name_before.iter().chain(&name_after).cloned();
            self.touch(both().map(Topic::ServiceChecks));
        }
        let shown = |row: &Row<Service>| (row.name.clone(), row.tags.clone());
        if before.map(shown) != after.map(|row| shown(row)) {
            self.touch([Topic::Instances]);
        }
        let names: BTreeSet<Name> = name_before.into_iter().chain(name_after.clone()).collect();
        for name in names {
            let old = self.state.catalog.services.get(&name).cloned();
            let mut new = old.as_deref().cloned().unwrap_or_default();
            new.remove(location);
            if let Some(row) = after.filter(|_| name_after.as_ref() == Some(&name)) {
                new.insert(location.clone(), Arc::clone(row));
            }
            let same = old.is_some_and(|old| old.spelling() == new.spelling() && old.tags.keys().eq(new.tags.keys()));
            if !same {
                self.touch([Topic::Services]);
            }
            self.touch([Topic::ServiceInstances(name.clone()), Topic::ServiceHealth(name.clone())]);
            if new.rows.is_empty() {
                self.state.catalog.services.remove(&name);
            } else {
                self.state.catalog.services.insert(name, Arc::new(new));
            }
        }
    }

    /// Checks carry the name and the tags of their service as they are now.
    fn fill_in_checks(&mut self, node: &Name, service: &Row<Service>) {
        let Some(on) = self.state.catalog.nodes.get(node).cloned() else { return };
        for row in on.checks_for(&service.id) {
            let mut value: Check = row.value.clone();
            value.service_name.clone_from(&service.name);
            value.service_tags.clone_from(&service.tags);
            if value != row.value {
                self.place_check(node, Row { value, create_index: row.create_index, modify_index: self.index });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Scene, With, health, on, service_checks};
    use quorate_protocol::{Answer, Deregistration, HealthFilter, Read, Status};
    use std::collections::BTreeMap;

    fn catalogue(service: &str) -> Read {
        Read::ServiceInstances { service: service.into(), tags: vec![], node_meta: BTreeMap::new() }
    }

    fn names() -> Read {
        Read::Services { node_meta: BTreeMap::new() }
    }

    fn at(scene: &Scene, reads: &[Read]) -> Vec<u64> {
        reads.iter().map(|read| scene.index(read)).collect()
    }

    #[test]
    fn names_with_their_tags_in_order_and_once() {
        let mut scene = Scene::new();
        scene.done(on("n1", None).service("w1", "Web", &["b", "a", "a"]));
        scene.done(on("n1", None).service("w2", "web", &["c", "a"]));
        scene.done(on("n2", None).service("db", "db", &[]));
        let expected = |tags: &[&str]| {
            let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
            vec![("Web".to_owned(), tags), ("db".to_owned(), vec![])]
        };
        assert_eq!(scene.services(), expected(&["a", "b", "c"]), "one service, whatever the case");
        scene.deregister(Deregistration::Service { node: "n1".into(), service_id: "w2".into() });
        assert_eq!(scene.services(), expected(&["a", "b"]));
        assert_eq!(scene.instances("WEB").len(), 1);
    }

    #[test]
    fn each_question_has_its_own_index() {
        let mut scene = Scene::new();
        let made = scene.done(on("n1", None).service("web", "web", &["a"]));
        let web = [catalogue("web"), health("web"), service_checks("web"), names()];
        assert_eq!(at(&scene, &web), [made; 4]);

        let elsewhere = scene.done(on("n2", None).service("db", "db", &[]).check("c1", "db", Status::Passing));
        assert_eq!(at(&scene, &web), [made, made, made, elsewhere]);
        assert!(web[..3].iter().all(|read| !scene.touched.concerns(read)));

        let alike = scene.done(on("n2", None).service("web", "web", &["a"]));
        assert_eq!(
            at(&scene, &web),
            [alike, alike, alike, elsewhere],
            "one more of the same changes no name and no tag"
        );

        let checked = scene.done(on("n2", None).check("c2", "web", Status::Warning));
        assert_eq!(at(&scene, &web), [alike, checked, checked, elsewhere]);

        let alive = scene.done(on("n2", None).serf(Status::Passing));
        assert_eq!(at(&scene, &web), [alike, alive, checked, elsewhere], "a check of the node is one of health");

        let mut node = on("n2", None);
        node.node.address = "10.0.0.7".into();
        let moved = scene.done(node);
        assert_eq!(at(&scene, &web), [moved, moved, checked, elsewhere], "the node is part of the answer");

        let unrelated = scene.done(on("n3", None));
        assert!(at(&scene, &web).iter().all(|index| *index < unrelated));
    }

    #[test]
    fn an_unknown_service_can_be_waited_for() {
        let mut scene = Scene::new();
        let other = scene.done(on("n1", None).service("db", "db", &[]));
        assert_eq!(at(&scene, &[health("web")]), [other], "the index of the names");
        let made = scene.done(on("n1", None).service("web", "web", &[]));
        assert!(scene.touched.concerns(&health("web")) && !scene.touched.concerns(&health("api")));
        assert_eq!(at(&scene, &[health("web"), health("api")]), [made, made]);
        scene.deregister(Deregistration::Service { node: "n1".into(), service_id: "web".into() });
        let gone = scene.store.applied_index().0;
        assert!(scene.touched.concerns(&health("web")));
        assert_eq!(at(&scene, &[catalogue("web"), health("web"), service_checks("web")]), [gone; 3]);
        assert_eq!(at(&scene, &[health("db")]), [other]);
    }

    #[test]
    fn filters() {
        let mut scene = Scene::new();
        let meta = |rack: &str| BTreeMap::from([("rack".to_owned(), rack.to_owned())]);
        for (node, rack, tags, status) in [
            ("n1", "1", &["a", "B"][..], Status::Passing),
            ("n2", "1", &["a"], Status::Warning),
            ("n3", "2", &[], Status::Critical),
        ] {
            let mut registration = on(node, None).service("web", "web", tags).check("c", "web", status);
            registration.node.meta = meta(rack);
            scene.done(registration);
        }
        let found = |tags: &[&str], node_meta: BTreeMap<String, String>, health: HealthFilter| {
            let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
            match scene.read(&Read::ServiceHealth { service: "web".into(), tags, node_meta, health }).0 {
                Answer::Instances(found) => found.iter().map(|one| one.node.name.clone()).collect::<Vec<_>>().join(" "),
                other => panic!("{other:?}"),
            }
        };
        use HealthFilter::{Any, NotCritical, Passing};
        for (tags, node_meta, health, expected) in [
            (&[][..], BTreeMap::new(), Any, "n1 n2 n3"),
            (&[], BTreeMap::new(), NotCritical, "n1 n2"),
            (&[], BTreeMap::new(), Passing, "n1"),
            (&["a"], BTreeMap::new(), Any, "n1 n2"),
            (&["a", "b"], BTreeMap::new(), Any, "n1"),
            (&["x"], BTreeMap::new(), Any, ""),
            (&[], meta("1"), Any, "n1 n2"),
            (&[], meta("1"), Passing, "n1"),
            (&["b"], meta("2"), Any, ""),
            (&[], meta("3"), Any, ""),
        ] {
            assert_eq!(found(tags, node_meta.clone(), health), expected, "{tags:?} {node_meta:?} {health:?}");
        }
        let tags_on = |rack: &str| match scene.read(&Read::Services { node_meta: meta(rack) }).0 {
            Answer::Services(services) => services.get("web").cloned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(tags_on("1"), Some(vec!["B".to_owned(), "a".to_owned()]));
        assert_eq!((tags_on("2"), tags_on("3")), (Some(vec![]), None));
    }

    #[test]
    fn a_service_that_changes_its_name_moves() {
        let mut scene = Scene::new();
        scene.done(on("n1", None).service("s", "web", &["a"]).check("c", "s", Status::Passing));
        let renamed = scene.done(on("n1", None).service("s", "api", &["b"]));
        assert_eq!(scene.services(), [("api".to_owned(), vec!["b".to_owned()])]);
        assert_eq!((scene.instances("web").len(), scene.instances("api").len()), (0, 1));
        let check = scene.store.view().checks_of("n1").next().cloned().unwrap();
        assert_eq!((check.service_name.as_str(), &check.service_tags[..]), ("api", &["b".to_owned()][..]));
        assert_eq!(check.modify_index.0, renamed);
        assert_eq!(at(&scene, &[health("web"), service_checks("api"), service_checks("web")]), [renamed; 3]);
    }
}
