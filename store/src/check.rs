//! Checks: rows on their nodes, for the whole node or for one service.

use crate::catalog::{Catalog, carries};
use crate::edit::Edit;
use crate::index::Topic;
use crate::name::Name;
use crate::node::{OnNode, made_at};
use quorate_protocol::{Check, Row, Status};
use std::collections::BTreeMap;
use std::sync::Arc;

impl OnNode {
    /// Rebuilds the list of one service's checks with `check_id` replaced.
    fn list_check(&mut self, service_id: &str, check_id: &str, row: Option<Arc<Row<Check>>>) {
        let others = self.checks_for(service_id).iter().filter(|check| check.id != check_id).cloned();
        let mut checks: Vec<_> = others.chain(row).collect();
        checks.sort_by(|a, b| a.id.cmp(&b.id));
        if checks.is_empty() {
            self.checks_by_service.remove(service_id);
        } else {
            self.checks_by_service.insert(service_id.into(), checks.into());
        }
    }
}

impl Catalog {
    /// The checks of a service's instances, without those of their nodes.
    pub fn service_checks(&self, service: &str, node_meta: &BTreeMap<String, String>) -> Vec<Arc<Row<Check>>> {
        let instances = self.instances_of(&Name::of(service)).filter(|(on, _)| carries(&on.row.meta, node_meta));
        let mut checks: Vec<_> =
            instances.flat_map(|(on, row)| on.checks_for(&row.id).iter().map(|check| (&on.row.name, check))).collect();
        checks.sort_by_cached_key(|(node, check)| (Name::of(node), check.id.clone()));
        checks.into_iter().map(|(_, check)| Arc::clone(check)).collect()
    }

    pub fn checks_in_state(
        &self,
        status: Option<Status>,
        node_meta: &BTreeMap<String, String>,
    ) -> Vec<Arc<Row<Check>>> {
        let nodes = self.all().filter(|on| carries(&on.row.meta, node_meta));
        let checks = nodes.flat_map(|on| on.checks.values());
        checks.filter(|check| status.is_none_or(|status| check.status == status)).cloned().collect()
    }
}

impl Edit<'_> {
    /// Upserts a check on a node that is there; a service that it speaks for must be there too.
    pub(crate) fn put_check(&mut self, node: &Name, check: &Check) -> Result<(), String> {
        let Some(on) = self.state.catalog.nodes.get(node) else { return Err("Missing node registration".to_owned()) };
        let (service_name, service_tags) = match on.services.get(check.service_id.as_str()) {
            Some(service) => (service.name.clone(), service.tags.clone()),
            None if check.service_id.is_empty() => (String::new(), Vec::new()),
            None => {
                return Err(format!(
                    "Missing service registration: node {} has no service with the id '{}', which check '{}' speaks for; \
                     register it first or in the same request",
                    on.row.name, check.service_id, check.id
                ));
            }
        };
        let value = Check { node: on.row.name.clone(), service_name, service_tags, ..check.clone() };
        let existing = on.checks.get(check.id.as_str());
        if existing.is_some_and(|row| row.value == value) {
            return Ok(());
        }
        let create_index = made_at(existing, self.index);
        self.place_check(node, Row { value, create_index, modify_index: self.index });
        Ok(())
    }

    /// Puts a row on a node, in place of the one with its id.
    pub(crate) fn place_check(&mut self, node: &Name, row: Row<Check>) {
        let row = Arc::new(row);
        let Some(on) = self.on_mut(node) else { return };
        let before = on.checks.insert(row.id.as_str().into(), Arc::clone(&row));
        if let Some(before) = &before {
            on.list_check(&before.service_id, &row.id, None);
        }
        on.list_check(&row.service_id, &row.id, Some(Arc::clone(&row)));
        if let Some(before) = before {
            self.touch_check(node, &before);
        }
        self.touch_check(node, &row);
        if row.status == Status::Critical {
            self.end_sessions_bound_to(node, &row.id);
        }
    }

    pub(crate) fn remove_check(&mut self, node: &Name, id: &str) {
        let Some(on) = self.on_mut(node) else { return };
        let Some(row) = on.checks.remove(id) else { return };
        on.list_check(&row.service_id, id, None);
        self.touch_check(node, &row);
        self.end_sessions_bound_to(node, id);
    }

    fn touch_check(&mut self, node: &Name, check: &Check) {
        self.touch([Topic::NodeChecks(node.clone()), Topic::Checks, Topic::ChecksIn(check.status)]);
        if check.service_id.is_empty() {
            let on_it: Vec<Name> =
                self.state.catalog.nodes.get(node).into_iter().flat_map(|on| on.service_names()).collect();
            self.touch(on_it.into_iter().map(Topic::ServiceHealth));
        } else {
            let service = Name::of(&check.service_name);
            self.touch([Topic::ServiceChecks(service.clone()), Topic::ServiceHealth(service)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Scene, With, health, node_checks, on, service_checks};
    use quorate_protocol::{Check, Deregistration, Read, Registration, Status};
    use std::collections::BTreeMap;

    fn in_state(status: Option<Status>) -> Read {
        Read::ChecksInState { status, node_meta: BTreeMap::new() }
    }

    #[test]
    fn the_store_fills_in_what_a_check_speaks_for() {
        let mut scene = Scene::new();
        scene.done(on("N1", None).service("w1", "web", &["a"]).check("c", "w1", Status::Passing).check(
            "disk",
            "",
            Status::Passing,
        ));
        let rows: Vec<Check> = scene.store.view().checks_of("n1").map(|row| row.value.clone()).collect();
        let filled: Vec<_> =
            rows.iter().map(|row| (&*row.node, &*row.service_name, row.service_tags.join(","))).collect();
        assert_eq!(filled, [("N1", "web", "a".to_owned()), ("N1", "", String::new())]);

        // What comes back from the catalogue is what is there already.
        scene.done(Registration { checks: rows, ..on("N1", None) });
        assert!(scene.touched.is_empty());

        let tagged = scene.done(on("N1", None).service("w1", "web", &["b"]));
        let row = scene.store.view().checks_of("n1").next().cloned().unwrap();
        assert_eq!((row.service_tags.join(","), row.modify_index.0), ("b".to_owned(), tagged));
    }

    #[test]
    fn checks_of_the_node_count_for_its_services() {
        let mut scene = Scene::new();
        scene.done(on("n1", None).service("w1", "web", &[]).check("c1", "w1", Status::Passing));
        scene.done(on("n1", None).service("w2", "web", &[]).check("c2", "w2", Status::Warning));
        scene.done(on("n1", None).serf(Status::Passing));
        let shown = |scene: &Scene| -> Vec<(String, Status)> {
            let checks = |checks: &[std::sync::Arc<_>]| {
                checks
                    .iter()
                    .map(|check: &std::sync::Arc<quorate_protocol::Row<Check>>| check.id.clone())
                    .collect::<Vec<_>>()
            };
            scene.instances("web").iter().map(|one| (checks(&one.checks).join(" "), one.status())).collect()
        };
        assert_eq!(
            shown(&scene),
            [("serfHealth c1".to_owned(), Status::Passing), ("serfHealth c2".to_owned(), Status::Warning)]
        );
        scene.done(on("n1", None).serf(Status::Critical));
        assert!(scene.touched.concerns(&health("web")) && !scene.touched.concerns(&service_checks("web")));
        assert!(shown(&scene).iter().all(|(_, status)| *status == Status::Critical));
        assert_eq!(scene.checks(&service_checks("web")), ["n1/c1", "n1/c2"], "without those of the node");
    }

    #[test]
    fn states_have_their_own_indexes() {
        let mut scene = Scene::new();
        let first = scene.done(on("n1", None).check("a", "", Status::Passing));
        let second = scene.done(on("n1", None).check("b", "", Status::Critical));
        let states = [None, Some(Status::Passing), Some(Status::Warning), Some(Status::Critical)].map(in_state);
        let indexes = |scene: &Scene| states.each_ref().map(|read| scene.index(read));
        assert_eq!(indexes(&scene), [second, first, 1, second]);
        let flipped = scene.done(on("n1", None).check("a", "", Status::Warning));
        assert_eq!(indexes(&scene), [flipped, flipped, flipped, second]);
        assert_eq!(scene.checks(&states[3]), ["n1/b"]);
        assert_eq!(scene.checks(&states[1]), [""; 0]);

        assert!(scene.deregister(Deregistration::Check { node: "n1".into(), check_id: "b".into() }));
        let gone = scene.store.applied_index().0;
        assert_eq!(indexes(&scene), [gone, flipped, flipped, gone]);
        assert_eq!(scene.index(&node_checks("n1")), gone);
        assert!(!scene.deregister(Deregistration::Check { node: "n1".into(), check_id: "b".into() }));
    }

    #[test]
    fn a_check_may_speak_for_something_else() {
        let mut scene = Scene::new();
        scene.done(on("n1", None).service("web", "web", &[]).check("c", "web", Status::Critical));
        scene.done(on("n1", None).service("db", "db", &[]));
        scene.done(on("n1", None).check("c", "db", Status::Critical));
        assert!(scene.touched.concerns(&health("web")) && scene.touched.concerns(&health("db")));
        assert_eq!(scene.instances("web")[0].status(), Status::Passing);
        assert_eq!(scene.checks(&service_checks("db")), ["n1/c"]);
        scene.deregister(Deregistration::Service { node: "n1".into(), service_id: "db".into() });
        assert_eq!(scene.checks(&node_checks("n1")), [""; 0], "it goes with its service");
    }
}
