//! An agent's own services and checks come to the catalogue, and what it no longer has goes from it.

use super::{Checked, Violation};
use quorate_protocol::check::SERF_HEALTH;
use quorate_protocol::{Check, Row, Service, Time};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const PROPERTY: &str = "local_services_reach_catalog";

/// The id of the service that the leader itself registers for every server, in Consul's word.
const SERVER_SERVICE: &str = "consul";

/// How soon a change is in the catalogue. It is brought there at once; the full comparison, which repairs what that missed, comes every 6 to 12 s here.
const BOUND: Duration = Duration::from_secs(4);

/// The longest time between two full comparisons.
const COMPARISON: Duration = Duration::from_secs(12);

/// Watches that changes are brought to the catalogue promptly.
#[derive(Debug, Default)]
pub struct LocalServicesReachCatalog {
    /// By agent: what is behind, and since when.
    behind: BTreeMap<usize, (String, Time)>,
    /// Until then the catalogue may be an old one that was put back.
    old_until: Time,
}

impl LocalServicesReachCatalog {
    /// An agent's state was compared with the catalogue.
    ///
    /// # Errors
    /// When it has differed in the same way for too long.
    pub fn look(&mut self, now: Time, agent: usize, compared: Checked) -> Checked {
        let Err(violation) = compared else {
            self.behind.remove(&agent);
            return Ok(());
        };
        if now < self.old_until {
            return Ok(());
        }
        let (what, since) = self.behind.entry(agent).or_insert_with(|| (violation.seen.clone(), now));
        if *what != violation.seen {
            (*what, *since) = (violation.seen, now);
        } else if now.since(*since) > BOUND {
            return Err(violation);
        }
        Ok(())
    }

    /// An old catalogue was put back: no agent knows before its next full comparison.
    pub fn catalog_put_back(&mut self, now: Time) {
        self.behind.clear();
        self.old_until = now + COMPARISON;
    }

    /// An agent's process has ended.
    pub fn agent_ended(&mut self, agent: usize) {
        self.behind.remove(&agent);
    }
}

/// Whether the catalogue has of a node what its agent has.
///
/// # Errors
/// When it does not.
pub fn check(
    node: &str,
    services: &BTreeMap<String, Service>,
    checks: &BTreeMap<String, Check>,
    catalog_services: &[Arc<Row<Service>>],
    catalog_checks: &[Arc<Row<Check>>],
) -> Checked {
    let found: BTreeMap<&str, &Service> = catalog_services
        .iter()
        .filter(|row| row.id != SERVER_SERVICE)
        .map(|row| (row.id.as_str(), &row.value))
        .collect();
    let wanted: BTreeMap<&str, &Service> = services.iter().map(|(id, service)| (id.as_str(), service)).collect();
    if found != wanted {
        return Violation::seen(PROPERTY, format!("{node} has {wanted:?} and the catalogue {found:?}"));
    }
    // The output may lag behind, as it does in Consul (`check_update_interval`).
    let essence = |check: &Check| (check.status, check.name.clone(), check.notes.clone(), check.service_id.clone());
    let found: BTreeMap<&str, _> =
        catalog_checks.iter().filter(|row| row.id != SERF_HEALTH).map(|row| (row.id.as_str(), essence(row))).collect();
    let wanted: BTreeMap<&str, _> = checks.iter().map(|(id, check)| (id.as_str(), essence(check))).collect();
    if found != wanted {
        return Violation::seen(PROPERTY, format!("{node} has the checks {wanted:?} and the catalogue {found:?}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_protocol::{LogIndex, Status};

    fn service(id: &str, port: u16) -> Service {
        Service { id: id.into(), name: "web".into(), port, ..Service::default() }
    }

    fn status(id: &str, status: Status) -> Check {
        Check { node: "n1".into(), id: id.into(), status, ..Check::default() }
    }

    fn rows<T>(values: Vec<T>) -> Vec<Arc<Row<T>>> {
        let row = |value| Arc::new(Row { value, create_index: LogIndex(1), modify_index: LogIndex(1) });
        values.into_iter().map(row).collect()
    }

    #[test]
    fn what_differs_is_seen() {
        use Status::{Critical, Passing};
        let services = BTreeMap::from([("web1".to_owned(), service("web1", 80))]);
        let checks = BTreeMap::from([("c1".to_owned(), status("c1", Passing))]);
        let check = |found: Vec<Service>, found_checks: Vec<Check>| {
            check("n1", &services, &checks, &rows(found), &rows(found_checks))
        };
        let consul = service(SERVER_SERVICE, 8300);
        let serf = status(SERF_HEALTH, Passing);
        assert_eq!(check(vec![service("web1", 80), consul], vec![status("c1", Passing), serf]), Ok(()));
        let good = || vec![status("c1", Passing)];
        assert!(check(vec![], good()).is_err(), "a service is missing");
        assert!(check(vec![service("web1", 81)], good()).is_err(), "an old port");
        assert!(check(vec![service("web1", 80), service("web2", 80)], good()).is_err(), "one too many");
        assert!(check(vec![service("web1", 80)], vec![]).is_err(), "a check is missing");
        assert!(check(vec![service("web1", 80)], vec![status("c1", Critical)]).is_err(), "an old status");
    }

    #[test]
    fn what_stays_different_is_seen() {
        let at = |seconds| Time::ZERO + Duration::from_secs(seconds);
        let differs = |what: &str| Violation::seen(PROPERTY, what);
        let mut check = LocalServicesReachCatalog::default();
        assert_eq!(check.look(at(0), 0, differs("a")), Ok(()));
        assert_eq!(check.look(at(4), 0, differs("b")), Ok(()), "it has changed again");
        assert_eq!(check.look(at(8), 0, differs("b")), Ok(()));
        assert_eq!(check.look(at(9), 1, differs("b")), Ok(()), "another agent");
        assert!(check.look(at(9), 0, differs("b")).is_err());
        assert_eq!(check.look(at(10), 0, Ok(())), Ok(()));
        assert_eq!(check.look(at(20), 0, differs("b")), Ok(()));
    }
}
