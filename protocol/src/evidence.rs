//! Why a member is believed to be as it is.

use crate::{MemberStatus, NodeId};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What led one agent to its present view of a member. It is this agent's own account; others may have come to theirs by another way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Whom it is about.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// How it is.
    pub status: MemberStatus,
    /// For how long it has been so.
    pub since: Duration,
    /// What made it so.
    pub cause: Cause,
    /// How well the agent that tells this was at that moment: 0 (well) to 7 (starved or cut off, so what it found is worth little).
    pub local_health: u32,
    /// The last time that agent itself slept, if it did.
    pub own_pause: Option<OwnPause>,
    /// The suspicion that is open, or the last one and how it ended.
    pub suspicion: Option<SuspicionEvidence>,
}

/// What changed the view of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// It was so when this agent first heard of it.
    Met,
    /// It was gone and is there again, under a new identity.
    Returned,
    /// This agent's own probe of it failed.
    ProbeFailed,
    /// Another member's probe of it failed, or others passed on that one did.
    Accused,
    /// Another member holds it for failed; it got a chance to refute.
    ToldFailed,
    /// It answered a suspicion by a higher incarnation, or spoke.
    Refuted,
    /// Enough members found it silent by probes of their own, and it did not refute in the shortest time.
    Confirmed,
    /// This agent found it silent, too few confirmed that, and it did not refute in the longer time that is then given.
    Unconfirmed,
    /// Another member had come to a verdict, and it did not refute that either.
    VerdictOfAnother,
    /// Others had it down before this agent had a verdict of its own.
    HeardFailed,
    /// It said that it leaves, or an operator declared it gone.
    Left,
}

impl Cause {
    /// The word in JSON and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Cause::Met => "met",
            Cause::Returned => "returned",
            Cause::ProbeFailed => "probe-failed",
            Cause::Accused => "accused",
            Cause::ToldFailed => "told-failed",
            Cause::Refuted => "refuted",
            Cause::Confirmed => "confirmed",
            Cause::Unconfirmed => "unconfirmed",
            Cause::VerdictOfAnother => "verdict-of-another",
            Cause::HeardFailed => "heard-failed",
            Cause::Left => "left",
        }
    }
}

/// A pause of the agent that tells: stopped, suspended or starved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnPause {
    /// How long ago it ended.
    pub ago: Duration,
    /// How long it was.
    pub length: Duration,
}

/// How a suspicion went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuspicionEvidence {
    /// How long ago it began.
    pub began: Duration,
    /// How long ago it ended, if it did.
    pub ended: Option<Duration>,
    /// The incarnation that is suspected; a higher one refutes.
    pub incarnation: u16,
    /// Whose own probes failed, in the order this agent heard of them.
    pub accusers: Vec<Accuser>,
    /// How many of them, beside the first, make it as short as it can be.
    pub confirmations_needed: u32,
    /// How long it then lasts.
    pub shortest: Duration,
    /// How long it lasts if nobody confirms it.
    pub longest: Duration,
    /// This agent's own probe, if that failed.
    pub own_probe: Option<OwnProbe>,
    /// Who held the member for failed, if somebody said so.
    pub told_by: Option<Accuser>,
    /// In how long it becomes a verdict, while it is open and as things are; none where this agent has nothing of its own to judge by.
    pub verdict_in: Option<Duration>,
}

/// A member that found another silent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accuser {
    /// Who.
    pub id: NodeId,
    /// Its name, where it is known.
    pub name: String,
    /// How long ago this agent heard of it.
    pub ago: Duration,
}

/// A failed probe of the agent that tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnProbe {
    /// How long ago it failed.
    pub ago: Duration,
    /// How many others were asked to probe as well; none of them got an answer.
    pub helpers: u32,
    /// How many of these said so. The rest was silent too.
    pub nacks: u32,
    /// Whether it was asked over a QUIC stream as well.
    pub by_stream: bool,
}
