//! Runs of the real binary over real sockets: few, each a story of its own. What needs no socket is in the simulator.

// Threads, sockets and the clock are what these runs are about.
#![allow(clippy::disallowed_methods)]

mod agent;
mod checks;
mod cluster;
mod damage;
mod disk_fails;
mod examples;
mod gossip;
mod kills;
mod locks;
mod partitions;
mod pauses;
mod quick_start;
mod refusals;
mod servers;
mod skip;
mod snapshots;
mod stops;
mod workload;
