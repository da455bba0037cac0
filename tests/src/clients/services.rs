//! A client that registers services and reports their health.

use super::{Clients, Purpose, Wish};
use quorate_protocol::check::TlsUse;
use quorate_protocol::{Ask, CheckDefinition, CheckKind, LocalRequest, Service, ServiceDefinition, Status};
use std::time::Duration;

/// Services that may be on each agent.
const SERVICES: usize = 3;

/// Tells registrations apart by their port.
#[derive(Debug)]
pub(super) struct Registrar {
    last_port: u16,
}

impl Default for Registrar {
    fn default() -> Registrar {
        Registrar { last_port: 1000 }
    }
}

impl Clients {
    pub(super) fn wish_about_services(&mut self) -> Wish {
        let name = ["web", "db"][self.dice.below(2)];
        let service_id = format!("{name}-{}", self.dice.below(SERVICES));
        let (request, purpose) = match self.dice.below(10) {
            0..4 => {
                let port = self.registrar.last_port.wrapping_add(1).max(1);
                self.registrar.last_port = port;
                let service = Service {
                    id: service_id.clone(),
                    name: name.to_owned(),
                    port,
                    tags: vec![["blue", "green"][self.dice.below(2)].to_owned()],
                    ..Service::default()
                };
                let definition =
                    ServiceDefinition { service, checks: vec![self.check()], ..ServiceDefinition::default() };
                let definition = Box::new(definition);
                let request = LocalRequest::RegisterService { definition, replace_existing_checks: true };
                (request, Purpose::Register { service_id, port })
            }
            4 => {
                let request = LocalRequest::DeregisterService { service_id: service_id.clone() };
                (request, Purpose::Deregister { service_id })
            }
            _ => {
                let status = [Status::Passing, Status::Warning, Status::Critical][self.dice.below(3)];
                let check_id = format!("service:{service_id}");
                let output = format!("value {}", self.last_value);
                (LocalRequest::UpdateCheck { check_id, status, output }, Purpose::Report)
            }
        };
        Wish::new(Ask::Local(request), purpose)
    }

    fn check(&mut self) -> CheckDefinition {
        let kind = if self.dice.chance(0.5) {
            CheckKind::Ttl { ttl: self.dice.between(Duration::from_secs(2), Duration::from_secs(10)) }
        } else {
            CheckKind::Tcp {
                address: "127.0.0.1:1".into(),
                interval: self.dice.between(Duration::from_secs(1), Duration::from_secs(5)),
                timeout: Duration::ZERO,
                tls: TlsUse::default(),
            }
        };
        CheckDefinition { name: "is it well".into(), kind, ..CheckDefinition::default() }
    }
}
