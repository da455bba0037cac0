//! Which agent serves a request.

use crate::Engine;
use crate::source::Job;
use quorate_protocol::{Ask, Consistency, NodeId, Refusal, Reply, Time};
use rand::RngExt;

/// How often a request may be passed on: client to server, server to leader, and one change of leader on the way.
const MAX_HOPS: u8 = 4;

/// Where a request is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// By this agent.
    Here,
    /// By the leader, who is this one.
    Leader(NodeId),
    /// By any server; this one is as good as another.
    Server(NodeId),
    /// By a server of another datacenter.
    Datacenter(String),
    /// Nobody yet: no leader, or no server, is known.
    Nobody(Refusal),
}

impl Engine {
    /// Decides where a request is served.
    pub(crate) fn route(&mut self, job: &Job) -> Route {
        if let Some(dc) = job.request.dc.as_ref().filter(|dc| **dc != self.config.datacenter) {
            return Route::Datacenter(dc.clone());
        }
        let needs_leader = match &job.request.ask {
            Ask::Local(_) => return Route::Here,
            Ask::Write(_) | Ask::Lock(_) | Ask::Operator(_) => true,
            Ask::Snapshot(request) => !request.is_stale(),
            Ask::Read(read) => read.consistency != Consistency::Stale,
            Ask::Status(_) => false,
        };
        match &self.server {
            None => self.choose_server().map_or(Route::Nobody(Refusal::NoServers), Route::Server),
            Some(_) if !needs_leader => Route::Here,
            Some(server) => match server.raft.leader() {
                Some(id) if id == self.config.id => Route::Here,
                Some(id) => Route::Leader(id),
                None => Route::Nobody(Refusal::NoLeader),
            },
        }
    }

    /// Sends a request on its way.
    pub(crate) fn dispatch(&mut self, now: Time, mut job: Job) {
        self.respect_max_stale(now, &mut job);
        match self.route(&job) {
            Route::Here => self.serve(now, job),
            Route::Leader(id) | Route::Server(id) if job.hops < MAX_HOPS => self.forward(now, id, job),
            Route::Leader(_) | Route::Server(_) => {
                self.count("requests_passed_on_too_often");
                self.reply(job.source, Reply::Refused(Refusal::NoLeader));
            }
            Route::Datacenter(_) => self.reply(job.source, Reply::Refused(Refusal::NoPathToDatacenter)),
            Route::Nobody(refusal) => self.hold(now, job, refusal),
        }
    }

    /// The server that a client asks: the same one while it lives, so that connections are few and answers do not jump between
    /// servers of different age.
    fn choose_server(&mut self) -> Option<NodeId> {
        let servers: Vec<NodeId> = self.live_servers().map(|member| member.id).collect();
        if let Some(preferred) = self.preferred_server.filter(|id| servers.contains(id)) {
            return Some(preferred);
        }
        self.preferred_server = self.any_of(&servers);
        self.preferred_server
    }

    /// A server that lets requests expire, or finds no leader, is not the one to ask next: it may be cut off from the others.
    pub(crate) fn prefer_another_server(&mut self, id: NodeId) {
        if self.preferred_server == Some(id) {
            let others: Vec<NodeId> =
                self.live_servers().map(|member| member.id).filter(|other| *other != id).collect();
            self.preferred_server = self.any_of(&others);
        }
    }

    fn any_of(&mut self, servers: &[NodeId]) -> Option<NodeId> {
        match servers.len() {
            0 => None,
            some => servers.get(self.rng.random_range(0..some)).copied(),
        }
    }
}
