//! Servers in network namespaces that stop hearing one another, in one direction or in both, while clients reach all of them.

use crate::servers::{COUNT, Places, Servers};
use crate::skip::{rounds, skip, succeeds};
use crate::workload::Workload;
use anyhow::{Result, ensure};
use std::net::{IpAddr, Ipv4Addr};

const BETWEEN: u64 = 50;

/// A bridge, and a namespace on it for each server. Needs root.
///
/// A direction is cut by a wrong address of the peer's network card in the sender's table of neighbours: packets leave as always and
/// arrive nowhere, as with a broken cable, and no sender is told.
struct Wires {
    process: u32,
}

impl Wires {
    /// None where this machine does not let us.
    fn lay() -> Option<Wires> {
        // Made first, so that whatever was laid is removed when a step fails.
        let wires = Wires { process: std::process::id() };
        let bridge = wires.bridge();
        let laid = wires.ip(&["link", "add", &bridge, "type", "bridge"])
            && wires.ip(&["addr", "add", &format!("{}/24", wires.host(254)), "dev", &bridge])
            && wires.ip(&["link", "set", &bridge, "up"])
            && (1..=3).all(|n| wires.lay_one(n));
        laid.then_some(wires)
    }

    fn lay_one(&self, n: u8) -> bool {
        let (space, cable) = (self.space(n), format!("qv{n}-{}", self.process));
        let address = format!("{}/24", self.host(n));
        self.ip(&["netns", "add", &space])
            && self.ip(&["link", "add", &cable, "type", "veth", "peer", "name", "eth0", "netns", &space])
            && self.ip(&["link", "set", &cable, "master", &self.bridge(), "up"])
            && self.ip(&["-n", &space, "addr", "add", &address, "dev", "eth0"])
            && self.ip(&["-n", &space, "link", "set", "eth0", "up"])
            && self.ip(&["-n", &space, "link", "set", "lo", "up"])
    }

    fn ip(&self, words: &[&str]) -> bool {
        succeeds("ip", words)
    }

    fn bridge(&self) -> String {
        format!("qbr{}", self.process)
    }

    fn space(&self, n: u8) -> String {
        format!("quorate-{}-{n}", self.process)
    }

    /// In the networks that are set aside for tests (RFC 2544).
    fn host(&self, n: u8) -> Ipv4Addr {
        let [.., third] = self.process.to_be_bytes();
        Ipv4Addr::new(198, 18, third, n)
    }

    /// From now on nothing goes from one server to another. Servers count from 0.
    fn cut(&self, from: usize, to: usize) -> Result<()> {
        let nowhere = "02:00:00:00:00:fe";
        let cut = self.neighbour("replace", from, to, &["lladdr", nowhere, "nud", "permanent"]);
        ensure!(cut, "the way from {from} to {to} could not be cut");
        Ok(())
    }

    fn mend(&self, from: usize, to: usize) -> Result<()> {
        ensure!(self.neighbour("del", from, to, &[]), "the way from {from} to {to} could not be mended");
        Ok(())
    }

    fn neighbour(&self, verb: &str, from: usize, to: usize, more: &[&str]) -> bool {
        let [from, to] = [from, to].map(|server| u8::try_from(server + 1).unwrap_or(u8::MAX));
        let to = self.host(to).to_string();
        self.ip(&[&["-n", &self.space(from), "neigh", verb, &to], more, &["dev", "eth0"]].concat())
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        for n in 1..=3 {
            self.ip(&["netns", "del", &self.space(n)]);
        }
        self.ip(&["link", "del", &self.bridge()]);
    }
}

impl Places for Wires {
    fn address(&self, n: u8) -> IpAddr {
        self.host(n).into()
    }

    fn launcher(&self, n: u8) -> Vec<String> {
        ["ip", "netns", "exec", &self.space(n)].map(str::to_owned).into()
    }
}

#[test]
fn partitions_lose_nothing_and_show_no_past() -> Result<()> {
    let Some(wires) = Wires::lay() else {
        skip("partitions_lose_nothing_and_show_no_past", "network namespaces need root (`ip netns add` failed)");
        return Ok(());
    };
    let servers = Servers::start_at(&wires, |_| None)?;
    let mut workload = Workload::start(servers.urls());
    workload.await_progress(BETWEEN)?;
    let mut partitions = 0;
    // What is cut, and around whom, counted from the leader: a follower that hears nothing must not disturb the others, nor one that the
    // leader cannot hear.
    let cuts: [(Cut, usize); 5] =
        [(alone, 0), (cannot_speak, 0), (cannot_hear, 0), (cannot_hear, 1), (cannot_speak_to_the_next, COUNT - 1)];
    for _ in 0..rounds() {
        for (is_cut, from_leader) in cuts {
            let hurt = (servers.leader()? + from_leader) % COUNT;
            let ways: Vec<(usize, usize)> = ways().filter(|way| is_cut(hurt, *way)).collect();
            ways.iter().try_for_each(|(from, to)| wires.cut(*from, *to))?;
            workload.await_progress(BETWEEN)?;
            workload.ask(hurt, COUNT);
            ways.iter().try_for_each(|(from, to)| wires.mend(*from, *to))?;
            servers.await_all_serve()?;
            workload.await_progress(BETWEEN)?;
            partitions += 1;
        }
    }
    println!("{partitions} partitions: {}", workload.finish()?);
    Ok(())
}

/// Whether the way from one server to another is cut when this one is hurt.
type Cut = fn(usize, (usize, usize)) -> bool;

fn ways() -> impl Iterator<Item = (usize, usize)> {
    (0..COUNT).flat_map(|from| (0..COUNT).map(move |to| (from, to))).filter(|(from, to)| from != to)
}

fn alone(hurt: usize, (from, to): (usize, usize)) -> bool {
    from == hurt || to == hurt
}

fn cannot_speak(hurt: usize, (from, _): (usize, usize)) -> bool {
    from == hurt
}

fn cannot_hear(hurt: usize, (_, to): (usize, usize)) -> bool {
    to == hurt
}

fn cannot_speak_to_the_next(hurt: usize, way: (usize, usize)) -> bool {
    way == (hurt, (hurt + 1) % COUNT)
}
