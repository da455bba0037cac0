//! Nodes: rows, identities, names that are taken, and renaming.

use crate::catalog::{Catalog, carries};
use crate::edit::Edit;
use crate::index::Topic;
use crate::name::Name;
use imbl::OrdMap;
use quorate_protocol::check::SERF_HEALTH;
use quorate_protocol::{Check, LogIndex, Node, NodeId, NodeServices, Row, Service, Status};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A node with what is on it.
#[derive(Debug, Clone)]
pub(crate) struct OnNode {
    pub row: Arc<Row<Node>>,
    /// By id.
    pub services: OrdMap<Arc<str>, Arc<Row<Service>>>,
    /// By id.
    pub checks: OrdMap<Arc<str>, Arc<Row<Check>>>,
    /// The same checks by the id of their service (empty for those of the whole node), no list empty. Without it, the health of n instances on one node would look at n² checks.
    pub checks_by_service: OrdMap<Arc<str>, CheckList>,
}

/// A few checks, by id.
type CheckList = Arc<[Arc<Row<Check>>]>;

impl OnNode {
    fn new(row: Row<Node>) -> OnNode {
        OnNode { row: Arc::new(row), services: OrdMap::new(), checks: OrdMap::new(), checks_by_service: OrdMap::new() }
    }

    /// The checks of one service, or of the whole node for the empty id.
    pub fn checks_for(&self, service_id: &str) -> &[Arc<Row<Check>>] {
        self.checks_by_service.get(service_id).map_or(&[], |checks| checks)
    }

    pub fn service_names(&self) -> impl Iterator<Item = Name> {
        self.services.values().map(|service| Name::of(&service.name))
    }

    fn serf_health(&self) -> Option<Status> {
        self.checks.get(SERF_HEALTH).map(|check| check.status)
    }
}

impl Catalog {
    pub fn nodes(&self, node_meta: &BTreeMap<String, String>) -> Vec<Arc<Row<Node>>> {
        self.all().map(|on| &on.row).filter(|row| carries(&row.meta, node_meta)).cloned().collect()
    }

    pub fn node_services(&self, node: &str) -> Option<NodeServices> {
        let on = self.on(node)?;
        Some(NodeServices { node: Arc::clone(&on.row), services: on.services.values().cloned().collect() })
    }
}

impl Edit<'_> {
    /// Upserts the row of a node, unless there is one and it is to be left as it is. A known identity under a new name is
    /// a node that was renamed, and takes along what is on it.
    pub(crate) fn register_node(&mut self, node: &Node, leave_existing: bool) -> Result<Name, String> {
        let name = Name::of(&node.name);
        if let Some(owner) = self.state.catalog.nodes.get(&name) {
            may_use_name(node, owner)?;
            let is_another = is_another(node.id, owner);
            // The row of another identity is not this node's row, so it is not the one to leave: it would be credited with
            // the services and the health of its successor.
            if leave_existing && !is_another {
                return Ok(name);
            }
            if is_another && owner.serf_health() == Some(Status::Critical) {
                // The agent behind it died, and what it ran died with it. The next one must not inherit that as healthy.
                self.remove_node(&name);
            }
        }
        match node.id.and_then(|id| self.state.catalog.by_id.get(&id)).filter(|known_as| **known_as != name).cloned() {
            Some(known_as) => self.rename_node(&known_as, &name, node),
            None => self.put_node(&name, node),
        }
        Ok(name)
    }

    /// Removes a node with all that is on it, and ends the sessions that are bound to it.
    pub(crate) fn remove_node(&mut self, name: &Name) -> Option<Arc<OnNode>> {
        let on = self.state.catalog.nodes.get(name).cloned()?;
        for id in on.checks.keys() {
            self.remove_check(name, id);
        }
        for id in on.services.keys() {
            self.remove_service(name, id);
        }
        self.state.catalog.nodes.remove(name);
        if let Some(id) = on.row.id {
            self.state.catalog.by_id.remove(&id);
        }
        self.touch_node(name);
        self.touch([Topic::NodeChecks(name.clone())]);
        self.end_sessions_on(name);
        Some(on)
    }

    fn put_node(&mut self, name: &Name, node: &Node) {
        let existing = self.state.catalog.nodes.get(name).map(|on| Arc::clone(&on.row));
        // Registering by hand, without an id, does not take its identity from an agent's node.
        let known_id = existing.as_ref().and_then(|row| row.id);
        let value = Node { id: node.id.or(known_id), ..node.clone() };
        match existing {
            Some(row) if row.value == value => {}
            Some(row) => {
                let create_index = row.create_index;
                self.place_node(name, Row { value, create_index, modify_index: self.index });
            }
            None => {
                self.touch([Topic::NodeChecks(name.clone())]);
                self.place_node(name, Row { value, create_index: self.index, modify_index: self.index });
            }
        }
    }

    fn rename_node(&mut self, from: &Name, to: &Name, node: &Node) {
        let Some(moved) = self.remove_node(from) else { return };
        self.touch([Topic::NodeChecks(to.clone())]);
        let create_index = moved.row.create_index;
        self.place_node(to, Row { value: node.clone(), create_index, modify_index: self.index });
        for row in moved.services.values() {
            self.place_service(to, Arc::clone(row));
        }
        for row in moved.checks.values() {
            let value = Check { node: node.name.clone(), ..row.value.clone() };
            self.place_check(to, Row { value, create_index: row.create_index, modify_index: self.index });
        }
    }

    /// Puts a row in place of the one with its name.
    pub(crate) fn place_node(&mut self, name: &Name, row: Row<Node>) {
        let before = self.state.catalog.nodes.get(name).map(|on| Arc::clone(&on.row));
        if let Some(id) = before.as_ref().and_then(|row| row.id) {
            self.state.catalog.by_id.remove(&id);
        }
        if let Some(id) = row.id {
            self.state.catalog.by_id.insert(id, name.clone());
        }
        let spelling = row.name.clone();
        match self.on_mut(name) {
            Some(on) => on.row = Arc::new(row),
            None => {
                self.state.catalog.nodes.insert(name.clone(), Arc::new(OnNode::new(row)));
            }
        }
        self.touch_node(name);
        if before.is_some_and(|before| before.name != spelling) {
            self.respell_checks(name, &spelling);
        }
    }

    /// The row of a node is part of the answers about it, and about every service on it.
    fn touch_node(&mut self, name: &Name) {
        let services: Vec<Name> =
            self.state.catalog.nodes.get(name).into_iter().flat_map(|on| on.service_names()).collect();
        self.touch([Topic::Nodes, Topic::Node(name.clone())]);
        self.touch(services.iter().cloned().map(Topic::ServiceInstances));
        self.touch(services.into_iter().map(Topic::ServiceHealth));
    }

    /// Checks carry the name of their node as it is spelled now.
    fn respell_checks(&mut self, name: &Name, spelling: &str) {
        let checks: Vec<_> =
            self.state.catalog.nodes.get(name).into_iter().flat_map(|on| on.checks.values().cloned()).collect();
        for row in checks {
            let value = Check { node: spelling.to_owned(), ..row.value.clone() };
            self.place_check(name, Row { value, create_index: row.create_index, modify_index: self.index });
        }
    }
}

/// Whether both have an identity, and not the same.
fn is_another(id: Option<NodeId>, owner: &OnNode) -> bool {
    id.zip(owner.row.id).is_some_and(|(id, owner)| id != owner)
}

/// A name belongs to the identity that carries it for as long as its agent lives. Where nobody watches over an agent (no
/// `serfHealth`), the rows were made by hand and may be made anew.
fn may_use_name(node: &Node, owner: &OnNode) -> Result<(), String> {
    let is_alive = owner.serf_health().is_some_and(|status| status != Status::Critical);
    match node.id.zip(owner.row.id) {
        Some((id, owner_id)) if id != owner_id && is_alive => Err(format!(
            "Node name {} is reserved by node {owner_id} with name {} ({}), which is alive; node {id} ({}) must take another name, or \
             the other must leave first",
            node.name, owner.row.name, owner.row.address, node.address
        )),
        _ => Ok(()),
    }
}

/// The index at which a row was made, given what was there.
pub(crate) fn made_at<T>(existing: Option<&Arc<Row<T>>>, index: LogIndex) -> LogIndex {
    existing.map_or(index, |row| row.create_index)
}

#[cfg(test)]
mod tests {
    use crate::testing::{Scene, With, id, node_checks, on};
    use quorate_protocol::{Deregistration, Read, Status};
    use std::collections::BTreeMap;

    fn node_services(node: &str) -> Read {
        Read::NodeServices { node: node.into() }
    }

    #[test]
    fn a_node_through_its_life() {
        let mut scene = Scene::new();
        let nodes = Read::Nodes { node_meta: BTreeMap::new() };
        assert_eq!(scene.index(&nodes), 1);
        let made = scene.done(on("Web1", Some(1)));
        let view = scene.store.view();
        assert_eq!(view.node("wEB1").map(|row| row.name.as_str()), Some("Web1"), "found without regard to case");
        assert_eq!(view.node_by_id(id(1)), view.node("web1"));
        assert_eq!((scene.index(&nodes), scene.index(&node_services("WEB1"))), (made, made));

        scene.done(on("Web1", Some(1)));
        assert!(scene.touched.is_empty(), "the same again changes nothing");
        assert_eq!(scene.index(&nodes), made);

        let mut moved = on("Web1", Some(1));
        moved.node.address = "10.0.0.9".into();
        let changed = scene.done(moved);
        let row = scene.store.view().node("web1").cloned().unwrap();
        assert_eq!((row.create_index.0, row.modify_index.0, row.address.as_str()), (made, changed, "10.0.0.9"));

        assert!(scene.deregister(Deregistration::Node { node: "WEB1".into() }));
        let gone = scene.store.applied_index().0;
        assert!(scene.store.view().node("web1").is_none() && scene.store.view().node_by_id(id(1)).is_none());
        assert_eq!([nodes, node_services("web1"), node_checks("web1")].map(|read| scene.index(&read)), [gone; 3]);
        assert!(!scene.deregister(Deregistration::Node { node: "web1".into() }), "removing none succeeds");
    }

    #[test]
    fn all_that_is_on_a_node_goes_with_it() {
        let mut scene = Scene::new();
        scene.done(on("n1", None).service("web", "web", &[]).check("c1", "web", Status::Passing).serf(Status::Passing));
        scene.done(on("n2", None).service("web", "web", &[]));
        scene.deregister(Deregistration::Node { node: "n1".into() });
        let view = scene.store.view();
        assert_eq!((view.services_of("n1").count(), view.checks_of("n1").count()), (0, 0));
        assert_eq!(scene.instances("web").len(), 1);
        assert_eq!(scene.checks(&Read::ChecksInState { status: None, node_meta: BTreeMap::new() }), [""; 0]);
    }

    #[test]
    fn who_may_use_a_name() {
        use Status::{Critical, Passing, Warning};
        // What is there, what comes, and whether it may use the name.
        for (owner, health, comes, may) in [
            (Some(1), Some(Passing), Some(1), true),
            (Some(1), Some(Passing), Some(2), false),
            (Some(1), Some(Warning), Some(2), false),
            (Some(1), Some(Critical), Some(2), true),
            (Some(1), None, Some(2), true),
            (None, Some(Passing), Some(2), true),
            (Some(1), Some(Passing), None, true),
        ] {
            let mut scene = Scene::new();
            let there = on("Web1", owner);
            scene.done(health.into_iter().fold(there, |there, status| there.serf(status)));
            let mut coming = on("web1", comes);
            coming.node.address = "10.0.0.2".into();
            if may {
                scene.done(coming);
                let row = scene.store.view().node("web1").cloned().unwrap();
                assert_eq!((row.id, row.address.as_str()), (comes.or(owner).map(id), "10.0.0.2"));
                assert_eq!(scene.store.view().node_by_id(row.id.unwrap()), Some(&row));
            } else {
                for refused in [coming.clone(), coming.skip()] {
                    let why = scene.refused(refused);
                    for part in
                        ["web1 is reserved", &id(1).to_string(), "Web1 (10.0.0.1)", &id(2).to_string(), "(10.0.0.2)"]
                    {
                        assert!(why.contains(part), "{part}: {why}");
                    }
                }
            }
        }
    }

    #[test]
    fn who_takes_a_dead_agents_name_does_not_inherit_its_services() {
        let mut scene = Scene::new();
        scene.done(on("n1", Some(1)).service("db", "db", &[]).serf(Status::Critical));
        // Not even by asking to leave the row as it is, for that row is not its own.
        scene.done(on("n1", Some(2)).serf(Status::Passing).skip());
        let view = scene.store.view();
        assert_eq!((view.node_by_id(id(1)), view.node_by_id(id(2))), (None, view.node("n1")));
        assert_eq!(
            (scene.instances("db").len(), scene.checks(&node_checks("n1"))),
            (0, vec!["n1/serfHealth".to_owned()])
        );
    }

    #[test]
    fn a_renamed_node_takes_along_what_is_on_it() {
        let mut scene = Scene::new();
        let made = scene.done(on("old", Some(1)).service("web", "web", &["a"]).check("c1", "web", Status::Passing));
        scene.done(on("NEW", None).service("db", "db", &[]));
        scene.done(on("other", None));
        let renamed = scene.done(on("new", Some(1)));

        let view = scene.store.view();
        let row = view.node_by_id(id(1)).unwrap();
        assert_eq!((row.name.as_str(), row.create_index.0, row.modify_index.0), ("new", made, renamed));
        assert!(view.node("old").is_none() && view.services_of("old").next().is_none());
        assert_eq!(view.services_of("new").map(|row| row.id.as_str()).collect::<Vec<_>>(), ["db", "web"]);
        assert_eq!(scene.instances("web")[0].node.name, "new");
        assert_eq!(scene.checks(&node_checks("new")), ["new/c1"], "checks carry the new name");
        for concerned in [node_services("old"), node_services("new"), node_checks("old"), node_checks("new")] {
            assert!(scene.touched.concerns(&concerned) && scene.index(&concerned) == renamed);
        }
        assert!(!scene.touched.concerns(&node_services("other")));
    }

    #[test]
    fn an_existing_row_is_left_when_asked() {
        let mut scene = Scene::new();
        let mut other = on("N1", None).skip();
        other.node.address = "10.9.9.9".into();
        scene.done(other.clone());
        let address = |scene: &Scene| scene.store.view().node("n1").map(|row| row.address.clone());
        assert_eq!(address(&scene).as_deref(), Some("10.9.9.9"), "made if missing");
        scene.done(on("n1", None));
        assert_eq!(address(&scene).as_deref(), Some("10.0.0.1"));
        scene.done(other.service("web", "web", &[]));
        assert_eq!((address(&scene).as_deref(), scene.instances("web").len()), (Some("10.0.0.1"), 1));
    }

    #[test]
    fn another_spelling_is_a_change_of_the_row_and_its_checks() {
        let mut scene = Scene::new();
        scene.done(on("n1", None).serf(Status::Passing));
        scene.done(on("N1", None));
        assert_eq!(scene.checks(&node_checks("n1")), ["N1/serfHealth"]);
        assert_eq!(scene.store.view().nodes().count(), 1);
    }
}
