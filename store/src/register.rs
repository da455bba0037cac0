//! Registering and deregistering: what a request must say, and the order in which it is done.
//!
//! The sentences are Consul's where it has one, since its users' tools look for them.

use crate::catalog::Edit;
use crate::name::{Name, fits};
use quorate_protocol::{Check, Deregistration, Registration, Service};

impl Edit {
    pub(crate) fn register(&mut self, registration: &Registration) -> Result<(), String> {
        let Registration { node, skip_node_update, service, checks } = registration;
        if node.name.is_empty() {
            return Err("Must provide node".to_owned());
        }
        fits("node name", &node.name)?;
        let name = self.register_node(node, *skip_node_update)?;
        if let Some(service) = service {
            self.put_service(&name, complete_service(service)?);
        }
        for check in checks {
            self.put_check(&name, &complete_check(check, &node.name)?)?;
        }
        Ok(())
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
fn complete_service(service: &Service) -> Result<Service, String> {
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
fn complete_check(check: &Check, node: &str) -> Result<Check, String> {
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
