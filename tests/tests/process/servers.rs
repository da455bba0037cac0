//! Three servers, each a process with a directory of its own, that are killed, paused and started again.

use crate::agent::{Agent, Net, request, wait_until};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// How many there are.
pub const COUNT: usize = 3;
/// Their key: outside of loopback, no agent starts without one.
const KEY: &str = "cXVvcmF0ZSBwcm9jZXNzIHRlc3RzLCBhIDMyIGJ5dGU=";

/// Where the servers of a test are.
pub trait Places {
    /// The address of the `n`th, from 1.
    fn address(&self, n: u8) -> IpAddr;

    /// The command that starts something there; empty where nothing is needed.
    fn launcher(&self, n: u8) -> Vec<String>;
}

impl Places for Net {
    fn address(&self, n: u8) -> IpAddr {
        self.host(n)
    }

    fn launcher(&self, _n: u8) -> Vec<String> {
        Vec::new()
    }
}

/// Three servers.
pub struct Servers {
    agents: Vec<Agent>,
    directories: Vec<PathBuf>,
    /// Removed at the end.
    _kept: tempfile::TempDir,
}

impl Servers {
    /// Starts them on a loopback network of their own and waits for a leader.
    pub fn start() -> Result<Servers> {
        Servers::start_at(&Net::new(), |_| None)
    }

    /// Starts them in these places; `data_dir` may give a server a directory elsewhere.
    pub fn start_at(places: &impl Places, data_dir: impl Fn(usize) -> Option<PathBuf>) -> Result<Servers> {
        let kept = tempfile::tempdir()?;
        let mut directories = Vec::new();
        let mut agents = Vec::new();
        let joins: Vec<String> = (1..=3).map(|n| places.address(n).to_string()).collect();
        for (server, n) in (1..=3_u8).enumerate() {
            let directory = data_dir(server).unwrap_or_else(|| kept.path().join(format!("s{n}")));
            let path = directory.to_str().context("a path in UTF-8")?.to_owned();
            let mut arguments = vec!["-server", "-bootstrap-expect", "3", "-data-dir", &path, "-encrypt", KEY];
            // Each knows all: whoever comes back finds the others, whichever of them is down.
            joins.iter().for_each(|join| arguments.extend(["-retry-join", join.as_str()]));
            agents.push(Agent::start_within(&places.launcher(n), &format!("s{n}"), places.address(n), &arguments)?);
            directories.push(directory);
        }
        let servers = Servers { agents, directories, _kept: kept };
        servers.leader()?;
        Ok(servers)
    }

    /// Changes the settings of autopilot.
    pub fn set_autopilot(&self, settings: &str) -> Result<()> {
        wait_until("the settings of autopilot to be taken", || {
            let set = self.agent(0).put("/v1/operator/autopilot/configuration", settings.as_bytes())?;
            ensure!(set.status == 200, "{} {}", set.status, set.body);
            Ok(Some(()))
        })
    }

    /// One of them.
    pub fn agent(&self, server: usize) -> &Agent {
        &self.agents[server]
    }

    /// One of them, to be hurt.
    pub fn agent_mut(&mut self, server: usize) -> &mut Agent {
        &mut self.agents[server]
    }

    /// The data directory of one.
    pub fn data_dir(&self, server: usize) -> &Path {
        &self.directories[server]
    }

    /// Where their APIs are.
    pub fn urls(&self) -> Vec<String> {
        self.agents.iter().map(Agent::http).collect()
    }

    /// Who leads: more than half of them say so.
    pub fn leader(&self) -> Result<usize> {
        self.leader_other_than(None)
    }

    /// Who leads in place of one that is not asked.
    pub fn leader_other_than(&self, silent: Option<usize>) -> Result<usize> {
        wait_until("a leader", || {
            let mut votes: BTreeMap<usize, usize> = BTreeMap::new();
            for (server, agent) in self.agents.iter().enumerate() {
                if Some(server) == silent {
                    continue;
                }
                // Whoever is down has no say.
                let Ok(answer) = request("GET", &format!("{}/v1/status/leader", agent.http()), None) else { continue };
                let named = answer.body.trim().trim_matches('"').rsplit_once(':').map(|(ip, _)| ip.to_owned());
                let leader = self.agents.iter().position(|agent| Some(agent.ip.to_string()) == named);
                if let Some(leader) = leader.filter(|leader| Some(*leader) != silent) {
                    *votes.entry(leader).or_default() += 1;
                }
            }
            Ok(votes.into_iter().find(|(_, count)| *count > COUNT / 2).map(|(leader, _)| leader))
        })
    }

    /// Waits until each of them answers a consistent read.
    pub fn await_all_serve(&self) -> Result<()> {
        for agent in &self.agents {
            wait_until(&format!("{} to serve", agent.name), || {
                let answer = agent.get("/v1/kv/nothing?consistent")?;
                ensure!(answer.status == 404, "{} {}", answer.status, answer.body);
                Ok(Some(()))
            })?;
        }
        Ok(())
    }
}
