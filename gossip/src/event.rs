//! What a change of view is called.

use quorate_protocol::Member;

/// Something happened to a member, as this agent sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberEvent {
    /// What.
    pub kind: MemberEventKind,
    /// The member afterwards.
    pub member: Member,
}

/// What can happen to a member; the words are Serf's where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemberEventKind {
    /// It is alive: new, or again. The agent's own start is one.
    Join,
    /// A suspicion was not refuted in time, here or elsewhere.
    Failed,
    /// It left on purpose, or was declared gone by an operator.
    Leave,
    /// Its name, tags, address or generation changed while it was alive.
    Update,
    /// It was failed or left for so long that it is forgotten.
    Reap,
    /// A probe of it failed, here or elsewhere.
    Suspect,
    /// It answered a suspicion.
    Refute,
}

impl MemberEventKind {
    /// The word in logs and event streams.
    pub const fn as_str(self) -> &'static str {
        match self {
            MemberEventKind::Join => "member-join",
            MemberEventKind::Failed => "member-failed",
            MemberEventKind::Leave => "member-leave",
            MemberEventKind::Update => "member-update",
            MemberEventKind::Reap => "member-reap",
            MemberEventKind::Suspect => "suspect",
            MemberEventKind::Refute => "refute",
        }
    }
}
