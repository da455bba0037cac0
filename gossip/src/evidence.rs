//! What led to the last change of each member: kept as it happens, told when somebody asks why.

use crate::event::{MemberEvent, MemberEventKind};
use crate::machine::Gossip;
use crate::suspicion::{Patience, Suspicion};
use quorate_protocol::{Accuser, Cause, Evidence, Member, NodeId, OwnPause, OwnProbe, SuspicionEvidence, Time};
use std::collections::BTreeMap;

/// One account for each member, reaped with it.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    of: BTreeMap<NodeId, Account>,
    /// When this agent last slept and for how long.
    pub(crate) pause: Option<(Time, std::time::Duration)>,
}

#[derive(Debug)]
struct Account {
    since: Time,
    cause: Cause,
    local_health: u32,
    /// The last one that ended, how long it could last, and when it ended.
    suspicion: Option<(Suspicion, Patience, Time)>,
    /// What a verdict of this agent rested on, until it shows.
    verdict: Option<Cause>,
}

impl Accounts {
    /// A suspicion ended.
    pub(crate) fn suspicion_ended(&mut self, now: Time, suspicion: Suspicion, patience: Patience) {
        if let Some(account) = self.of.get_mut(&suspicion.identity.id) {
            account.suspicion = Some((suspicion, patience, now));
        }
    }

    /// This agent came to a verdict.
    pub(crate) fn verdict(&mut self, id: NodeId, rests_on: Cause) {
        if let Some(account) = self.of.get_mut(&id) {
            account.verdict = Some(rests_on);
        }
    }

    /// The view of a member changed; `open` is the suspicion of it, if there is one.
    pub(crate) fn changed(&mut self, now: Time, event: &MemberEvent, open: Option<&Suspicion>, local_health: u32) {
        let id = event.member.id;
        let met = !self.of.contains_key(&id);
        let account = self.of.entry(id).or_insert(Account {
            since: now,
            cause: Cause::Met,
            local_health,
            suspicion: None,
            verdict: None,
        });
        let verdict = account.verdict.take();
        let cause = match event.kind {
            MemberEventKind::Join if met => Cause::Met,
            MemberEventKind::Join => Cause::Returned,
            MemberEventKind::Suspect => match open {
                Some(Suspicion { own: Some(_), .. }) => Cause::ProbeFailed,
                Some(Suspicion { told: Some(_), .. }) => Cause::ToldFailed,
                _ => Cause::Accused,
            },
            MemberEventKind::Refute => Cause::Refuted,
            MemberEventKind::Failed => verdict.unwrap_or(Cause::HeardFailed),
            MemberEventKind::Leave => Cause::Left,
            // It is as it was.
            MemberEventKind::Update => return,
            MemberEventKind::Reap => {
                self.of.remove(&id);
                return;
            }
        };
        *account = Account { since: now, cause, local_health, verdict: None, suspicion: account.suspicion.take() };
    }
}

impl Gossip {
    /// Why a member is believed to be as it is; nothing is suspected of this agent itself, so it has no account.
    pub fn evidence(&self, now: Time, id: NodeId) -> Option<Evidence> {
        let member = self.table.get(id)?;
        let account = self.accounts.of.get(&id)?;
        let suspicion = match (self.suspicions.get(id), &account.suspicion) {
            (Some(open), _) => Some(self.account_of(now, open, &self.patience(), None)),
            (None, Some((over, patience, at))) => Some(self.account_of(now, over, patience, Some(*at))),
            (None, None) => None,
        };
        let Member { name, status, .. } = member.clone();
        Some(Evidence {
            id,
            name,
            status,
            since: now.since(account.since),
            cause: account.cause,
            local_health: account.local_health,
            own_pause: self.accounts.pause.map(|(at, length)| OwnPause { ago: now.since(at), length }),
            suspicion,
        })
    }

    fn account_of(&self, now: Time, of: &Suspicion, patience: &Patience, ended: Option<Time>) -> SuspicionEvidence {
        let accuser = |(id, at): &(NodeId, Time)| Accuser {
            id: *id,
            name: self.member(*id).map(|member| member.name.clone()).unwrap_or_default(),
            ago: now.since(*at),
        };
        let count = |members: usize| u32::try_from(members).unwrap_or(u32::MAX);
        SuspicionEvidence {
            began: now.since(of.since),
            ended: ended.map(|at| now.since(at)),
            incarnation: of.incarnation,
            accusers: of.accusers.iter().map(accuser).collect(),
            confirmations_needed: count(patience.confirmations),
            shortest: patience.shortest,
            longest: if patience.confirmations == 0 { patience.shortest } else { patience.longest },
            own_probe: of.own.as_ref().map(|(probe, at)| OwnProbe {
                ago: now.since(*at),
                helpers: count(probe.helpers.len()),
                nacks: count(probe.nacks.len()),
                by_stream: of.by_stream,
            }),
            told_by: of.told.as_ref().map(accuser),
            verdict_in: ended.is_none().then(|| of.deadline(patience)).flatten().map(|at| at.since(now)),
        }
    }
}
