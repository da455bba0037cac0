//! Taking the node or a service out of service: a check of its own that is critical until somebody ends it.

use crate::Engine;
use quorate_protocol::check::{NODE_MAINTENANCE, SERVICE_MAINTENANCE_PREFIX};
use quorate_protocol::{CheckDefinition, CheckKind, Refusal, Reply, Time};

impl Engine {
    /// Takes the node or a service out of service, or without a reason puts it back. Either holds over a restart; to say it twice is
    /// no error, and the last reason is shown.
    pub(crate) fn maintain(&mut self, now: Time, service_id: Option<String>, reason: Option<String>) -> Reply {
        if let Some(id) = service_id.as_deref().filter(|id| !self.local.services.contains_key(*id)) {
            return Reply::Refused(Refusal::NotFound(format!("No service registered with ID \"{id}\"")));
        }
        let (id, name, what) = match &service_id {
            Some(id) => (format!("{SERVICE_MAINTENANCE_PREFIX}{id}"), "Service Maintenance Mode", "service"),
            None => (NODE_MAINTENANCE.to_owned(), "Node Maintenance Mode", "node"),
        };
        match reason {
            Some(reason) => {
                let unexplained = || {
                    format!(
                        "Maintenance mode is enabled for this {what}, but no reason was provided. This is a default message."
                    )
                };
                let check = CheckDefinition {
                    id,
                    name: name.to_owned(),
                    notes: if reason.is_empty() { unexplained() } else { reason },
                    service_id: service_id.unwrap_or_default(),
                    kind: CheckKind::Maintenance,
                    ..CheckDefinition::default()
                };
                self.put_check(now, check);
            }
            None => self.remove_check(&id),
        }
        self.local_changed(now);
        Reply::Done
    }
}
