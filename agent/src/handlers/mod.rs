//! Event handlers: scripts that run when something happens, named in the local configuration and nowhere else.
//!
//! ```text
//!  engine ─ Happened ─▶ follow: which scripts is it for? ─▶ script: environment, standard input, time limit
//!                                                             │ standard output
//!  engine ◀─ AnswerQuery ──────────────────────────────────────┘ for a query
//! ```
//!
//! Events come from the engine's list of what happened, as those come that follow it over HTTP: a slow script delays nobody, and what nobody
//! remembers by the time there is room again is named in the log.

mod script;
mod spec;

pub use spec::EventHandler;

use crate::front::Front;
use quorate_protocol::{AgentEvent, Ask, Cluster, EventId, LocalRequest, Member, Reply, Request};
use script::{Output, Script};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Scripts at once. Further events wait, in the engine's list of the last 512.
const AT_ONCE: usize = 16;
/// How long a script may take, unless a query ends before.
const TIME_LIMIT: Duration = Duration::from_secs(60);
/// How long one question for events waits.
const PATIENCE: Duration = Duration::from_secs(60);
/// After the engine refused to answer, as it does while it has too much to do.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs scripts for what happens, until the agent ends.
pub async fn follow(handlers: Vec<EventHandler>, front: Front) {
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    // From the beginning: the agent's own join is an event as well.
    let mut after = Some(0);
    let mut is_first = true;
    while !handlers.is_empty() {
        match ask(&front, LocalRequest::Happened { after, timeout: PATIENCE }).await {
            Reply::Happened { events, last, missed } => {
                if missed && !is_first {
                    tracing::warn!("event handlers were too slow: events were missed");
                }
                is_first = false;
                for (_, event) in events {
                    hand_out(&handlers, &front, &permits, event).await;
                }
                after = Some(last);
            }
            _ => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn hand_out(handlers: &[EventHandler], front: &Front, permits: &Arc<Semaphore>, event: AgentEvent) {
    let wanted: Vec<&EventHandler> = handlers.iter().filter(|handler| handler.wants(&event)).collect();
    if wanted.is_empty() {
        return;
    }
    let Reply::Agent(agent) = ask(front, LocalRequest::Describe).await else { return };
    for handler in wanted {
        // The semaphore is never closed.
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        let script = script_for(handler, &agent.member, &event);
        let (front, query) = (front.clone(), query_of(&event));
        tokio::spawn(async move {
            let output = script.run().await;
            drop(permit);
            if let (Some(query), Output::Said(said)) = (query, output)
                && !said.is_empty()
            {
                let answer = LocalRequest::AnswerQuery { query, answer: said.into() };
                if let Reply::Refused(why) = ask(&front, answer).await {
                    tracing::warn!(%why, "an event handler's answer to a query was not sent");
                }
            }
        });
    }
}

fn query_of(event: &AgentEvent) -> Option<EventId> {
    match event {
        AgentEvent::Query(query) => Some(query.id),
        AgentEvent::Member { .. } | AgentEvent::User(_) => None,
    }
}

async fn ask(front: &Front, request: LocalRequest) -> Reply {
    front.ask(Request::here(Ask::Local(request))).await
}

/// What a script is given: Serf's environment and standard input, so that its scripts work here.
fn script_for(handler: &EventHandler, me: &Member, event: &AgentEvent) -> Script {
    let role = me.tags.get("role").cloned().unwrap_or_default();
    let mut env = vec![("SERF_SELF_NAME".to_owned(), me.name.clone()), ("SERF_SELF_ROLE".to_owned(), role)];
    env.extend(me.tags.iter().map(|(key, value)| (format!("SERF_TAG_{}", in_env(key)), value.clone())));
    let mut say = |name: &str, value: String| env.push((name.to_owned(), value));
    let (input, limit) = match event {
        AgentEvent::Member { kind, member } => {
            say("SERF_EVENT", kind.clone());
            (member_line(member).into_bytes(), TIME_LIMIT)
        }
        AgentEvent::User(event) => {
            say("SERF_EVENT", "user".to_owned());
            say("SERF_USER_EVENT", event.name.clone());
            say("SERF_USER_LTIME", event.ltime.to_string());
            (with_newline(&event.payload), TIME_LIMIT)
        }
        AgentEvent::Query(query) => {
            say("SERF_EVENT", "query".to_owned());
            say("SERF_QUERY_NAME", query.question.name.clone());
            say("SERF_QUERY_LTIME", query.ltime.to_string());
            (with_newline(&query.question.payload), query.question.timeout.min(TIME_LIMIT))
        }
    };
    Script { command: handler.script().to_owned(), env, input, limit }
}

/// A tag's key as part of a variable's name.
fn in_env(key: &str) -> String {
    key.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

/// Name, address, role and tags, with tabs between them.
fn member_line(member: &Member) -> String {
    // What a member says of itself must not look like another field or another member.
    let plain = |text: &str| text.replace(['\t', '\n', '\r'], " ");
    let tags: Vec<String> = member.tags.iter().map(|(key, value)| plain(&format!("{key}={value}"))).collect();
    let role = member.tags.get("role").map(|role| plain(role)).unwrap_or_default();
    format!("{}\t{}\t{role}\t{}\n", plain(&member.name), member.address.ip(), tags.join(","))
}

/// As Serf: so that `read` in a shell ends.
fn with_newline(payload: &[u8]) -> Vec<u8> {
    let mut input = payload.to_vec();
    if !input.is_empty() && !input.ends_with(b"\n") {
        input.push(b'\n');
    }
    input
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_protocol::{MemberStatus, NodeId, Query, Question};

    fn member() -> Member {
        Member {
            id: NodeId([1; 16]),
            name: "web-1".to_owned(),
            address: ([10, 0, 0, 1], 8301).into(),
            tags: [("role", "node"), ("rack id", "r\t1\nweb-9\t10.0.0.9")].map(|(k, v)| (k.into(), v.into())).into(),
            status: MemberStatus::Alive,
            generation: 1,
        }
    }

    #[test]
    fn a_script_is_told_what_serf_tells() {
        let handler = EventHandler::parse("/bin/true").unwrap();
        let joined =
            script_for(&handler, &member(), &AgentEvent::Member { kind: "member-join".to_owned(), member: member() });
        assert_eq!(
            String::from_utf8(joined.input).unwrap(),
            "web-1\t10.0.0.1\tnode\track id=r 1 web-9 10.0.0.9,role=node\n",
            "one line of four fields, whatever a tag holds"
        );
        let get = |name: &str| joined.env.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        assert_eq!(
            ["SERF_EVENT", "SERF_SELF_NAME", "SERF_SELF_ROLE", "SERF_TAG_RACK_ID"].map(get),
            [Some("member-join"), Some("web-1"), Some("node"), Some("r\t1\nweb-9\t10.0.0.9")]
        );
        let question = Question {
            name: "load".to_owned(),
            payload: "why".into(),
            timeout: Duration::from_secs(2),
            ..Question::default()
        };
        let address = ([10, 0, 0, 1], 8301).into();
        let query = Query { id: EventId([1; 16]), ltime: 7, origin: NodeId([1; 16]), address, question };
        let asked = script_for(&handler, &member(), &AgentEvent::Query(query));
        assert_eq!((asked.input.as_slice(), asked.limit), (b"why\n".as_slice(), Duration::from_secs(2)));
        assert!(asked.env.contains(&("SERF_QUERY_NAME".to_owned(), "load".to_owned())));
        assert!(asked.env.contains(&("SERF_QUERY_LTIME".to_owned(), "7".to_owned())));
    }
}
