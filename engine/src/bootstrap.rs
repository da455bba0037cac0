//! The first configuration of a cluster.

use crate::door::{Notice, Output};
use crate::{Engine, ServerConfig};
use quorate_protocol::raft::{Configuration, Peer};
use quorate_protocol::{Member, NodeId, Time};
use std::net::SocketAddr;

impl ServerConfig {
    /// Whether this server belongs to no cluster yet: it makes or takes part in the first configuration, or is added to one.
    pub(crate) fn waits_for_a_cluster(&self) -> bool {
        self.entries.is_empty() && self.snapshot.is_none()
    }
}

impl Engine {
    /// Makes the first configuration when exactly as many servers as expected wait for one.
    ///
    /// Only the one with the lowest id makes it; the others take it from its log. So servers whose views of each other differ for a
    /// moment cannot make two different clusters, as long as no more servers are started than were announced.
    pub(crate) fn bootstrap_if_complete(&mut self, now: Time) {
        let Some(expect) = self.server.as_ref().filter(|server| server.is_pristine()).map(|s| s.bootstrap_expect)
        else {
            return;
        };
        // Who waits no more belongs to a cluster, whose leader adds this server: three new ones beside it are no second one.
        if self.live_servers().any(|member| member.bootstrap_expect().is_none()) {
            return;
        }
        let waiting: Vec<(NodeId, SocketAddr)> = self
            .live_servers()
            .filter(|member: &&Member| member.bootstrap_expect() == Some(expect))
            .map(|member| (member.id, member.address))
            .collect();
        let lowest = waiting.iter().map(|(id, _)| *id).min();
        if expect == 0 || waiting.len() != expect || lowest != Some(self.config.id) {
            return;
        }
        let peers = waiting.iter().map(|(id, address)| (*id, Peer { address: *address, voter: true })).collect();
        let Some(server) = &mut self.server else { return };
        if server.raft.bootstrap(now, Configuration { peers, founder: Some(self.config.id) }).is_ok() {
            let servers = waiting.into_iter().map(|(id, _)| id).collect();
            self.outputs.push_back(Output::Noticed(Notice::Bootstrapped { servers }));
        }
    }
}
