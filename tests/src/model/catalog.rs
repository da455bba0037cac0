//! As much of the catalogue as sessions depend on: which nodes there are, and which of their checks are not critical.

use quorate_protocol::{Deregistration, NodeId, Registration, Session, Status};
use quorate_store::View;
use std::collections::{BTreeMap, BTreeSet};

/// The nodes by name.
#[derive(Debug, Default)]
pub(super) struct Catalog(BTreeMap<String, OnNode>);

#[derive(Debug, Default)]
struct OnNode {
    id: Option<NodeId>,
    services: BTreeSet<String>,
    /// By id: the service that it belongs to, and the result.
    checks: BTreeMap<String, (String, Status)>,
}

impl Catalog {
    /// What a server's view shows.
    pub fn of(view: &View) -> Catalog {
        let nodes = view.nodes().map(|node| {
            let checks =
                view.checks_of(&node.name).map(|check| (check.id.clone(), (check.service_id.clone(), check.status)));
            let services = view.services_of(&node.name).map(|service| service.id.clone());
            (node.name.clone(), OnNode { id: node.id, services: services.collect(), checks: checks.collect() })
        });
        Catalog(nodes.collect())
    }

    /// Whether everything is there and well that a session depends on.
    pub fn carries(&self, session: &Session) -> bool {
        let Some(node) = self.0.get(&session.node) else { return false };
        let is_well = |id| node.checks.get(id).is_some_and(|(_, status)| *status != Status::Critical);
        session.node_checks.iter().chain(&session.service_checks).all(is_well)
    }

    /// True where what becomes of it depends on more than is known here: one identity takes over the name of another.
    pub fn register(&mut self, registration: &Registration) -> bool {
        let Registration { node, service, checks, .. } = registration;
        let known = self.0.get(&node.name);
        if known.is_some_and(|on| on.id.is_some() && node.id.is_some() && on.id != node.id) {
            return true;
        }
        let carries = |id: &String| {
            id.is_empty()
                || service.as_ref().is_some_and(|service| service.id == *id)
                || known.is_some_and(|on| on.services.contains(id))
        };
        if !checks.iter().all(|check| carries(&check.service_id)) {
            return false;
        }
        let on = self.0.entry(node.name.clone()).or_default();
        on.id = on.id.or(node.id);
        on.services.extend(service.as_ref().map(|service| service.id.clone()));
        for check in checks {
            on.checks.insert(check.id.clone(), (check.service_id.clone(), check.status));
        }
        false
    }

    pub fn deregister(&mut self, deregistration: &Deregistration) {
        match deregistration {
            Deregistration::Node { node } => {
                self.0.remove(node);
            }
            Deregistration::Service { node, service_id } => {
                if let Some(on) = self.0.get_mut(node) {
                    on.services.remove(service_id);
                    on.checks.retain(|_, (of, _)| of != service_id);
                }
            }
            Deregistration::Check { node, check_id } => {
                if let Some(on) = self.0.get_mut(node) {
                    on.checks.remove(check_id);
                }
            }
        }
    }
}
