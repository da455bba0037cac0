//! `members -why`: what led an agent to its view of a member, in sentences for whoever is woken by it.

use crate::client::{self, Client};
use crate::command::Surroundings;
use crate::failure::Failure;
use serde::Deserialize;
use std::io::{self, Write};

pub(crate) fn run(client: &Client, node: &str, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let path = format!("/v1/agent/members/why/{}", client::in_path(node));
    let evidence: Evidence = client.get_json("asking why", &path, &[])?;
    Ok(evidence.tell(surroundings.out)?)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Evidence {
    node: String,
    status: String,
    since: String,
    cause: String,
    local_health: u32,
    own_pause: Option<Pause>,
    suspicion: Option<Suspicion>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Pause {
    ago: String,
    length: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Suspicion {
    began: String,
    ended: Option<String>,
    accusers: Vec<Accuser>,
    confirmations_needed: u32,
    shortest: String,
    longest: String,
    own_probe: Option<Probe>,
    told_by: Option<Accuser>,
    verdict_in: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Accuser {
    #[serde(rename = "ID")]
    id: String,
    node: String,
    ago: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Probe {
    ago: String,
    helpers: u32,
    nacks: u32,
    by_stream: bool,
}

impl Evidence {
    fn tell(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{} is {}, for {}: {}.", self.node, self.status, self.since, self.because())?;
        if let Some(suspicion) = &self.suspicion {
            suspicion.tell(out)?;
        }
        match self.local_health {
            0 => writeln!(out, "This agent itself was well then."),
            score => {
                writeln!(out, "This agent was not well itself then ({score} of 7): it may have been its own fault.")
            }
        }?;
        if let Some(pause) = &self.own_pause {
            writeln!(out, "This agent last slept {} ago, for {}.", pause.ago, pause.length)?;
        }
        Ok(())
    }

    fn because(&self) -> &str {
        match self.cause.as_str() {
            "met" => "so it was when this agent first heard of it",
            "returned" => "it came back after it was gone",
            "probe-failed" => "it did not answer this agent's own probe",
            "accused" => "others say that it does not answer",
            "told-failed" => "another member holds it for failed, and it may still refute that",
            "refuted" => "it answered a suspicion",
            "confirmed" => "enough members found it silent by their own probes, and it did not refute that in time",
            "unconfirmed" => "this agent found it silent, and it did not refute that even in the longer time given",
            "verdict-of-another" => "another member held it for failed, and it did not refute that in time",
            "heard-failed" => "others came to that verdict first, and what this agent knew agreed",
            "left" => "it left, or an operator declared it gone",
            other => other,
        }
    }
}

impl Suspicion {
    fn tell(&self, out: &mut dyn Write) -> io::Result<()> {
        match &self.ended {
            Some(ended) => writeln!(out, "It was suspected {} ago; that ended {ended} ago.", self.began)?,
            None => writeln!(out, "It is suspected, since {} ago.", self.began)?,
        }
        for accuser in &self.accusers {
            writeln!(out, "  {} ago: no answer to a probe by {}", accuser.ago, accuser.name())?;
        }
        if let Some(by) = &self.told_by {
            writeln!(out, "  {} ago: held for failed by {}", by.ago, by.name())?;
        }
        if let Some(probe) = &self.own_probe {
            let stream = if probe.by_stream { ", nor over a QUIC stream" } else { "" };
            let Probe { ago, helpers, nacks, .. } = probe;
            let line = format!("no answer to a datagram, nor to {helpers} helpers ({nacks} of them said so){stream}");
            writeln!(out, "  {ago} ago: this agent's own probe: {line}")?;
        }
        if self.confirmations_needed == 0 {
            writeln!(out, "It is given {}: in so small a cluster nobody needs to confirm it.", self.shortest)?;
        } else {
            let Suspicion { shortest, longest, confirmations_needed, .. } = self;
            writeln!(
                out,
                "It is given {shortest} once {confirmations_needed} others confirm the first, up to {longest} if nobody does."
            )?;
        }
        if let Some(left) = &self.verdict_in {
            writeln!(out, "As things are it will be failed in {left}.")?;
        }
        Ok(())
    }
}

impl Accuser {
    fn name(&self) -> &str {
        if self.node.is_empty() { &self.id } else { &self.node }
    }
}
