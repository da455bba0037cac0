//! Members of the gossip pool.

use crate::NodeId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// An agent as gossip sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its identity.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Where its one port for gossip and QUIC is.
    pub address: SocketAddr,
    /// What it says of itself; the keys are in [`tag`].
    pub tags: BTreeMap<String, String>,
    /// How it is.
    pub status: MemberStatus,
    /// Grows with every start of the agent.
    pub generation: u64,
}

/// How a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum MemberStatus {
    /// It answers.
    Alive,
    /// A probe failed and nobody has refuted it yet. For everything but gossip it is alive.
    Suspect,
    /// It said that it is going.
    Leaving,
    /// It went, as announced.
    Left,
    /// It stopped answering.
    Failed,
}

impl MemberStatus {
    /// The word that Serf and Consul print; a suspect is alive to them.
    pub const fn as_str(self) -> &'static str {
        match self {
            MemberStatus::Alive | MemberStatus::Suspect => "alive",
            MemberStatus::Leaving => "leaving",
            MemberStatus::Left => "left",
            MemberStatus::Failed => "failed",
        }
    }

    /// The number that `/v1/agent/members` shows: 1 alive, 2 leaving, 3 left, 4 failed.
    pub const fn as_number(self) -> u8 {
        match self {
            MemberStatus::Alive | MemberStatus::Suspect => 1,
            MemberStatus::Leaving => 2,
            MemberStatus::Left => 3,
            MemberStatus::Failed => 4,
        }
    }
}

/// Keys of the tags that agents set themselves; the words are Consul's where it has one.
pub mod tag {
    /// [`SERVER`] or [`CLIENT`].
    pub const ROLE: &str = "role";
    /// The role of a server, in Consul's word.
    pub const SERVER: &str = "consul";
    /// The role of a client.
    pub const CLIENT: &str = "node";
    /// The datacenter.
    pub const DATACENTER: &str = "dc";
    /// The node id.
    pub const ID: &str = "id";
    /// How many servers this one waits for before it bootstraps.
    pub const EXPECT: &str = "expect";
    /// The cluster that a server belongs to: the lowest id of those who founded it.
    pub const CLUSTER: &str = "cluster";
    /// The version of the program.
    pub const BUILD: &str = "build";
    /// The lowest version of the wire it understands.
    pub const VERSION_MIN: &str = "vsn_min";
    /// The highest version of the wire it understands.
    pub const VERSION_MAX: &str = "vsn_max";
    /// [`DISK_LOW`] on a server whose disk has too little space to take anything new; absent otherwise.
    pub const DISK: &str = "disk";
    /// See [`DISK`].
    pub const DISK_LOW: &str = "low";
}

/// Whether a tag is one that agents set themselves.
pub fn is_own_tag(key: &str) -> bool {
    use tag::{BUILD, CLUSTER, DATACENTER, DISK, EXPECT, ID, ROLE, VERSION_MAX, VERSION_MIN};
    [ROLE, DATACENTER, ID, EXPECT, CLUSTER, BUILD, VERSION_MIN, VERSION_MAX, DISK].contains(&key)
}

impl Member {
    /// Whether it takes part in the store.
    pub fn is_server(&self) -> bool {
        self.tags.get(tag::ROLE).is_some_and(|role| role == tag::SERVER)
    }

    /// Its datacenter; empty where it does not say.
    pub fn datacenter(&self) -> &str {
        self.tags.get(tag::DATACENTER).map_or("", String::as_str)
    }

    /// Whether it says that its disk has too little space to take anything new.
    pub fn has_low_disk(&self) -> bool {
        self.tags.get(tag::DISK).is_some_and(|disk| disk == tag::DISK_LOW)
    }

    /// How many servers it waits for before it bootstraps, if it does.
    pub fn bootstrap_expect(&self) -> Option<usize> {
        self.tags.get(tag::EXPECT)?.parse().ok()
    }

    /// Whether messages to it make sense.
    pub const fn is_alive(&self) -> bool {
        matches!(self.status, MemberStatus::Alive | MemberStatus::Suspect)
    }
}
