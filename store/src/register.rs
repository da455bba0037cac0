//! Registering and deregistering: what a request must say, and the order in which it is done.
//!
//! The sentences are Consul's where it has one, since its users' tools look for them.

use crate::edit::Edit;
use crate::name::{Name, fits};
use quorate_protocol::{Check, Deregistration, Node, Registration, Service};

impl Edit<'_> {
    pub(crate) fn register(&mut self, registration: &Registration) -> Result<(), String> {
        let Registration { node, skip_node_update, service, checks } = registration;
        let name = self.set_node(node, *skip_node_update)?;
        if let Some(service) = service {
            self.put_service(&name, complete_service(service)?);
        }
        for check in checks {
            self.put_check(&name, &complete_check(check, &node.name)?)?;
        }
        Ok(())
    }

    /// Upserts a node, unless there is one and it is to be left as it is.
    pub(crate) fn set_node(&mut self, node: &Node, leave_existing: bool) -> Result<Name, String> {
        if node.name.is_empty() {
            return Err("Must provide node".to_owned());
        }
        fits("node name", &node.name)?;
        self.register_node(node, leave_existing)
    }

    /// Removing what is not there succeeds: it may be the second try of one that did.
    pub(crate) fn deregister(&mut self, deregistration: &Deregistration) -> Result<(), String> {
        let (Deregistration::Node { node } | Deregistration::Service { node, .. } | Deregistration::Check { node, .. }) =
            deregistration;
        if node.is_empty() {
            return Err("Must provide node".to_owned());
        }
        let name = Name::of(node);
        match deregistration {
            Deregistration::Node { .. } => {
                self.remove_node(&name);
            }
            Deregistration::Service { service_id, .. } => self.remove_service(&name, service_id),
            Deregistration::Check { check_id, .. } => self.remove_check(&name, check_id),
        }
        Ok(())
    }
}

/// A service without an id is known by its name.
pub(crate) fn complete_service(service: &Service) -> Result<Service, String> {
    if service.name.is_empty() {
        let why = if service.id.is_empty() { "Must provide service name" } else { "Must provide service name with ID" };
        return Err(why.to_owned());
    }
    fits("service name", &service.name)?;
    fits("service id", &service.id)?;
    let id = if service.id.is_empty() { &service.name } else { &service.id };
    Ok(Service { id: id.clone(), ..service.clone() })
}

/// A check without an id is known by its name.
pub(crate) fn complete_check(check: &Check, node: &str) -> Result<Check, String> {
    let id = if check.id.is_empty() { &check.name } else { &check.id };
    if id.is_empty() {
        return Err("Must provide check ID or name".to_owned());
    }
    fits("check id", id)?;
    if !check.node.is_empty() && !check.node.eq_ignore_ascii_case(node) {
        return Err(format!("check node '{}' does not match node '{node}'; leave it out", check.node));
    }
    Ok(Check { id: id.clone(), ..check.clone() })
}

#[cfg(test)]
mod tests {
    use crate::name::MAX_NAME_SIZE;
    use crate::testing::{Scene, With, on};
    use quorate_protocol::{Check, Deregistration, Outcome, Registration, Status, Write};

    #[test]
    fn what_is_incomplete_is_refused_whole() {
        let mut scene = Scene::new();
        let check = |check: Check| Registration { checks: vec![check], ..on("n1", None).service("web", "web", &[]) };
        let long = "x".repeat(MAX_NAME_SIZE + 1);
        for (registration, sentence) in [
            (on("", None), "Must provide node"),
            (on("n1", None).service("", "", &[]), "Must provide service name"),
            (on("n1", None).service("web", "", &[]), "Must provide service name with ID"),
            (check(Check::default()), "Must provide check ID or name"),
            (
                check(Check { id: "c".into(), node: "n2".into(), ..Check::default() }),
                "check node 'n2' does not match node 'n1'",
            ),
            (
                on("n1", None).check("c", "db", Status::Passing),
                "Missing service registration: node n1 has no service with the id 'db'",
            ),
            (
                on("n1", None).service("web", "web", &[]).check("c", "db", Status::Passing),
                "Missing service registration",
            ),
            (on(&long, None), "The node name 'xxx"),
            (on("n1", None).service(&long, "web", &[]), "1025 bytes; use at most 1024"),
            (on("n1", None).service("web", &long, &[]), "The service name"),
            (on("n1", None).check(&long, "", Status::Passing), "The check id"),
        ] {
            let why = scene.refused(registration);
            assert!(why.starts_with(sentence) || why.ends_with(sentence), "{why}");
            assert_eq!(scene.store.view().nodes().count(), 0, "not even the node was made: {why}");
        }
        let nameless = Deregistration::Node { node: String::new() };
        assert_eq!(scene.write(&Write::Deregister(nameless)), Outcome::Refused("Must provide node".to_owned()));
    }

    #[test]
    fn ids_default_to_names() {
        let mut scene = Scene::new();
        let check = Check { name: "alive".into(), service_id: "web".into(), node: "N1".into(), ..Check::default() };
        scene.done(Registration { checks: vec![check], ..on("n1", None).service("", "web", &[]) });
        let view = scene.store.view();
        assert_eq!(view.services_of("n1").map(|row| row.id.as_str()).collect::<Vec<_>>(), ["web"]);
        assert_eq!(view.checks_of("n1").map(|row| row.id.as_str()).collect::<Vec<_>>(), ["alive"]);
    }
}
