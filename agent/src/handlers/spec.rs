//! What an event handler is for, as people write it.

use quorate_protocol::AgentEvent;

/// Serf's words for what happens to members.
const MEMBER_EVENTS: [&str; 5] = ["member-join", "member-leave", "member-failed", "member-update", "member-reap"];

/// A script and what it is for: `SCRIPT` (everything), or `TYPE[:NAME][,TYPE[:NAME]…]=SCRIPT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventHandler {
    wanted: Vec<Wanted>,
    script: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    All,
    Member(String),
    /// Of this name; none for any.
    User(Option<String>),
    Query(Option<String>),
}

impl EventHandler {
    /// Reads Serf's form.
    ///
    /// # Errors
    /// What to write instead.
    pub fn parse(text: &str) -> Result<EventHandler, String> {
        // An equals sign behind a space is the script's own.
        let (filter, script) = match text.split_once('=') {
            Some((filter, script)) if !filter.contains([' ', '/']) => (filter, script),
            _ => ("*", text),
        };
        if script.trim().is_empty() {
            return Err("write TYPE=SCRIPT or SCRIPT: there is no script".to_owned());
        }
        let wanted = filter.split(',').map(Wanted::parse).collect::<Result<_, _>>()?;
        Ok(EventHandler { wanted, script: script.to_owned() })
    }

    /// What to run.
    pub fn script(&self) -> &str {
        &self.script
    }

    /// Whether it is for this.
    pub fn wants(&self, event: &AgentEvent) -> bool {
        let of = |wanted: &Option<String>, name: &String| wanted.as_ref().is_none_or(|wanted| wanted == name);
        self.wanted.iter().any(|wanted| match (wanted, event) {
            (Wanted::All, _) => true,
            (Wanted::Member(wanted), AgentEvent::Member { kind, .. }) => wanted == kind,
            (Wanted::User(wanted), AgentEvent::User(event)) => of(wanted, &event.name),
            (Wanted::Query(wanted), AgentEvent::Query(query)) => of(wanted, &query.question.name),
            _ => false,
        })
    }
}

impl Wanted {
    fn parse(word: &str) -> Result<Wanted, String> {
        let (kind, name) = match word.split_once(':') {
            Some((kind, name)) if !name.is_empty() => (kind, Some(name.to_owned())),
            _ => (word, None),
        };
        match (kind, name) {
            ("*", None) => Ok(Wanted::All),
            ("user", name) => Ok(Wanted::User(name)),
            ("query", name) => Ok(Wanted::Query(name)),
            (member, None) if MEMBER_EVENTS.contains(&member) => Ok(Wanted::Member(member.to_owned())),
            _ => Err(format!(
                "there are no events of type '{word}': use *, user, user:NAME, query, query:NAME, {}",
                MEMBER_EVENTS.join(", ")
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use quorate_protocol::{EventFilter, EventId, NodeId, UserEvent};

    #[test]
    fn filters_as_serf_reads_them() {
        let user = |name: &str| {
            AgentEvent::User(UserEvent {
                id: EventId([1; 16]),
                ltime: 1,
                origin: NodeId([1; 16]),
                name: name.to_owned(),
                payload: Bytes::new(),
                filter: EventFilter::default(),
            })
        };
        for (text, script, deploy, other) in [
            ("/x/run.sh", "/x/run.sh", true, true),
            ("user=run a=b", "run a=b", true, true),
            ("user:deploy=run", "run", true, false),
            ("member-join,user:deploy=run", "run", true, false),
            ("query:deploy=run", "run", false, false),
            ("*=run", "run", true, true),
            ("env A=b run", "env A=b run", true, true),
        ] {
            let handler = EventHandler::parse(text).unwrap();
            assert_eq!(handler.script(), script, "{text}");
            assert_eq!((handler.wants(&user("deploy")), handler.wants(&user("x"))), (deploy, other), "{text}");
        }
        for (text, why) in [
            ("member-jion=run", "'member-jion'"),
            ("user=", "no script"),
            ("", "no script"),
            ("member-join:x=run", "member-join:x"),
        ] {
            assert!(EventHandler::parse(text).unwrap_err().contains(why), "{text}");
        }
    }
}
