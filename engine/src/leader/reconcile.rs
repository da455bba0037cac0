//! The catalogue follows the members: the leader compares and repairs, on every event and once a minute.

use crate::Engine;
use crate::door::{Notice, Output};
use crate::source::{Job, Own, Source};
use quorate_protocol::check::SERF_HEALTH;
use quorate_protocol::{
    Ask, Check, Deregistration, Member, MemberStatus, Node, NodeId, Outcome, Registration, Reply, Request, Service,
    Status, Time, Write,
};
use quorate_store::View;

/// The id and name of the service that every server carries in the catalogue.
pub const SERVER_SERVICE: &str = "consul";

/// The change that the catalogue needs so that it shows this member as it is; none if it does already.
///
/// The same question is asked on every event and, for all members, once a minute, so an event that got lost heals itself. Texts and ids are
/// Consul's, since its users' tools look for them.
pub fn desired(member: &Member, view: &View) -> Option<Write> {
    let row = view.node(&member.name);
    let belongs_to_another = row.is_some_and(|row| row.id.is_some_and(|id| id != member.id));
    match member.status {
        MemberStatus::Alive | MemberStatus::Suspect | MemberStatus::Leaving => desired_alive(member, view),
        // Somebody else goes by that name now.
        MemberStatus::Failed | MemberStatus::Left if belongs_to_another => None,
        MemberStatus::Failed => {
            let check = serf_health(member, Status::Critical, "Agent not live or unreachable");
            let write = Registration {
                node: node_of(member, view),
                skip_node_update: true,
                service: None,
                checks: vec![check],
            };
            (serf_status(member, view) != Some(Status::Critical)).then(|| Write::Register(Box::new(write)))
        }
        MemberStatus::Left => row.map(|row| Write::Deregister(Deregistration::Node { node: row.name.clone() })),
    }
}

fn desired_alive(member: &Member, view: &View) -> Option<Write> {
    let node = node_of(member, view);
    let service = member.is_server().then(|| Service {
        id: SERVER_SERVICE.to_owned(),
        name: SERVER_SERVICE.to_owned(),
        port: member.address.port(),
        ..Service::default()
    });
    let same_node = view.node(&member.name).is_some_and(|row| row.value == node);
    let same_service =
        service.as_ref().is_none_or(|service| view.services_of(&member.name).any(|row| row.value == *service));
    if same_node && same_service && serf_status(member, view) == Some(Status::Passing) {
        return None;
    }
    let check = serf_health(member, Status::Passing, "Agent alive and reachable");
    Some(Write::Register(Box::new(Registration { node, skip_node_update: false, service, checks: vec![check] })))
}

/// The node row of a member: identity and address are gossip's, the rest stays as the agent wrote it.
fn node_of(member: &Member, view: &View) -> Node {
    let address = member.address.ip().to_string();
    let mut node = match view.node(&member.name) {
        Some(row) if row.id.is_none_or(|id| id == member.id) => row.value.clone(),
        _ => Node::default(),
    };
    if node.address != address {
        node.tagged_addresses = tagged_addresses(member.address.ip());
    }
    Node { id: Some(member.id), name: member.name.clone(), address, ..node }
}

/// The tags under which Consul repeats an agent's address.
pub(crate) fn tagged_addresses(ip: std::net::IpAddr) -> std::collections::BTreeMap<String, String> {
    let family =
        if ip.is_ipv4() { ["lan", "lan_ipv4", "wan", "wan_ipv4"] } else { ["lan", "lan_ipv6", "wan", "wan_ipv6"] };
    family.map(|tag| (tag.to_owned(), ip.to_string())).into()
}

fn serf_status(member: &Member, view: &View) -> Option<Status> {
    view.checks_of(&member.name).find(|check| check.id == SERF_HEALTH).map(|check| check.status)
}

fn serf_health(member: &Member, status: Status, output: &str) -> Check {
    Check {
        node: member.name.clone(),
        id: SERF_HEALTH.to_owned(),
        name: "Serf Health Status".to_owned(),
        status,
        output: output.to_owned(),
        ..Check::default()
    }
}

impl Engine {
    /// Brings the catalogue in step with one member, if this server is an established leader.
    pub(crate) fn reconcile(&mut self, now: Time, member: &Member) {
        if member.datacenter() != self.config.datacenter {
            return;
        }
        let Some(server) = &mut self.server else { return };
        let view = server.store.view();
        let Some(leader) = server.leader.as_mut().filter(|leader| leader.established) else { return };
        // What goes by this name at this address, and is not known to live, is an earlier life: its disk was lost, and nobody remembers it
        // who could have declared it failed. Until it is, its name is reserved.
        let former = view.node(&member.name).and_then(|row| {
            let id = row.id.filter(|id| *id != member.id && !self.gossip.member(*id).is_some_and(Member::is_alive))?;
            let at_once = member.is_alive() && row.address == member.address.ip().to_string();
            at_once.then(|| Member { id, status: MemberStatus::Failed, generation: 0, ..member.clone() })
        });
        let with_former = former.and_then(|former| desired(&former, &view).map(|write| (former, write)));
        let Some((member, write)) = with_former.or_else(|| Some((member.clone(), desired(member, &view)?))) else {
            return;
        };
        if leader.reconciling.contains_key(&member.id) {
            return;
        }
        let source = Source::Own(Own::Reconcile(member.id));
        leader.reconciling.insert(member.id, member);
        self.dispatch(now, Job { source, request: Request::here(Ask::Write(write)), hops: 0, arrived: now });
    }

    /// Takes what became of a change. A member that has changed meanwhile is compared again.
    pub(crate) fn handle_reconcile_reply(&mut self, now: Time, id: NodeId, reply: Reply) {
        let Some(leader) = self.server.as_mut().and_then(|server| server.leader.as_mut()) else { return };
        let wanted_for = leader.reconciling.remove(&id);
        let done = matches!(reply, Reply::Written { outcome: Outcome::Done, .. });
        if let Some(former) = wanted_for.as_ref().filter(|former| done && former.status == MemberStatus::Failed) {
            // Whoever has its name now was refused it until now.
            let namesake = |other: &&Member| other.name == former.name && other.id != former.id && other.is_alive();
            let namesake = self.gossip.members().find(namesake).cloned();
            namesake.into_iter().for_each(|namesake| self.reconcile(now, &namesake));
        }
        let Some(member) = self.gossip.member(id).cloned() else { return };
        match reply {
            Reply::Written { outcome: Outcome::Done, .. } => {
                let (node, what) = (member.name.clone(), member.status.as_str());
                self.outputs.push_back(Output::Noticed(Notice::Reconciled { node, what }));
                if wanted_for.as_ref() != Some(&member) {
                    self.reconcile(now, &member);
                }
            }
            Reply::Written { outcome: Outcome::Refused(why), .. } => {
                let what = format!("node {} as gossip sees it", member.name);
                self.outputs.push_back(Output::Noticed(Notice::WriteRefused { what, why }));
            }
            // Lost leadership, or busy: the next pass, here or at the next leader, asks again.
            _ => {}
        }
    }

    /// Compares all, also those for whom a change is under way: it may have been undone.
    pub(crate) fn reconcile_anew(&mut self, now: Time) {
        if let Some(leader) = self.server.as_mut().and_then(|server| server.leader.as_mut()) {
            leader.reconciling.clear();
        }
        self.reconcile_all(now);
    }

    /// Compares every member with the catalogue, and every node that an agent once made with the members.
    pub(crate) fn reconcile_all(&mut self, now: Time) {
        let members: Vec<Member> = self.gossip.members().cloned().collect();
        for member in &members {
            self.reconcile(now, member);
        }
        for vanished in self.vanished(now, &members) {
            self.reconcile(now, &vanished);
        }
    }

    /// Nodes that gossip once made and knows no more, shown as failed. Right after a restart the leader's own view is still filling, so they are
    /// given one interval to appear.
    fn vanished(&self, now: Time, members: &[Member]) -> Vec<Member> {
        let Some(server) = &self.server else { return Vec::new() };
        let patient = server
            .leader
            .as_ref()
            .is_none_or(|leader| now.since(leader.established_at) < self.config.patience.reconcile);
        if patient {
            return Vec::new();
        }
        let view = server.store.view();
        let template = self.gossip.me();
        view.nodes()
            .filter(|row| view.checks_of(&row.name).any(|check| check.id == SERF_HEALTH))
            .filter_map(|row| {
                let id = row.id.filter(|id| members.iter().all(|member| member.id != *id))?;
                let name = row.name.clone();
                Some(Member { id, name, status: MemberStatus::Failed, generation: 0, ..template.clone() })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_protocol::member::tag;
    use quorate_store::Store;

    fn member(name: &str, id: u8, status: MemberStatus) -> Member {
        Member {
            id: NodeId([id; 16]),
            name: name.to_owned(),
            address: ([127, 0, 0, id], 8301).into(),
            tags: [(tag::ROLE.to_owned(), tag::SERVER.to_owned())].into(),
            status,
            generation: 1,
        }
    }

    /// Applies what is desired until nothing is; more than one step would be a fight with itself.
    fn follow(store: &mut Store, index: &mut u64, member: &Member) -> bool {
        let Some(write) = desired(member, &store.view()) else { return false };
        *index += 1;
        let (outcome, _) = store.apply((*index).into_index(), &write);
        assert_eq!(outcome, Outcome::Done);
        assert_eq!(desired(member, &store.view()), None, "one write is enough");
        true
    }

    trait IntoIndex {
        fn into_index(self) -> quorate_protocol::LogIndex;
    }
    impl IntoIndex for u64 {
        fn into_index(self) -> quorate_protocol::LogIndex {
            quorate_protocol::LogIndex(self)
        }
    }

    #[test]
    fn the_catalogue_follows_a_life() {
        let (mut store, mut index) = (Store::new(), 0);
        let status = |store: &Store| store.view().checks_of("a").next().map(|check| check.status);

        assert!(follow(&mut store, &mut index, &member("a", 1, MemberStatus::Alive)));
        assert_eq!(status(&store), Some(Status::Passing));
        assert_eq!(store.view().services_of("a").count(), 1, "a server carries the consul service");

        assert!(!follow(&mut store, &mut index, &member("a", 1, MemberStatus::Suspect)), "a suspect is alive");
        assert!(follow(&mut store, &mut index, &member("a", 1, MemberStatus::Failed)));
        assert_eq!(status(&store), Some(Status::Critical));
        assert!(follow(&mut store, &mut index, &member("a", 1, MemberStatus::Alive)));
        assert!(follow(&mut store, &mut index, &member("a", 1, MemberStatus::Left)));
        assert!(store.view().node("a").is_none());
        assert!(!follow(&mut store, &mut index, &member("a", 1, MemberStatus::Left)));
    }

    #[test]
    fn an_old_bearer_of_the_name_changes_nothing() {
        let (mut store, mut index) = (Store::new(), 0);
        follow(&mut store, &mut index, &member("a", 2, MemberStatus::Alive));
        for status in [MemberStatus::Failed, MemberStatus::Left] {
            assert_eq!(desired(&member("a", 1, status), &store.view()), None);
        }
    }

    #[test]
    fn a_new_address_is_written() {
        let (mut store, mut index) = (Store::new(), 0);
        follow(&mut store, &mut index, &member("a", 1, MemberStatus::Alive));
        let mut moved = member("a", 1, MemberStatus::Alive);
        moved.address = ([127, 0, 0, 9], 8301).into();
        assert!(follow(&mut store, &mut index, &moved));
        let view = store.view();
        let row = view.node("a").unwrap();
        assert_eq!((row.address.as_str(), row.tagged_addresses["lan"].as_str()), ("127.0.0.9", "127.0.0.9"));
    }
}
