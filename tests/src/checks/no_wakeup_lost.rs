//! A blocking question whose answer has changed is answered soon, not only when its time is up.
//!
//! While the world is hurt nobody can say how soon, so this is watched once it has healed. A question that was asked before may have
//! lost its answer together with a connection; it is answered when its own time and the agent's patience are up, which
//! [`super::every_request_is_answered`] watches.

use super::{Checked, Violation};
use quorate_protocol::{Answer, LogIndex, Read, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// How soon. Two hops each way and a flush are far below it; a question that waits at a leader that is stopped for two seconds must move on when it
/// is continued.
const BOUND: Duration = Duration::from_secs(4);

/// The blocking questions without an answer, by the number of their request.
#[derive(Debug, Default)]
pub struct NoWakeupLost {
    waiting: BTreeMap<u64, Waiting>,
    woken: u64,
}

#[derive(Debug)]
struct Waiting {
    agent: usize,
    read: Read,
    seen: LogIndex,
    /// What it is taken to know.
    known: Known,
    /// When its answer was first found to have changed.
    due: Option<Time>,
}

/// What a client knows of the answer when it asks.
#[derive(Debug, PartialEq)]
pub enum Known {
    /// This, so it waits for another.
    Answer(Answer),
    /// Less than there is by now.
    TooLittle,
    /// Nobody led who could say: what the next leader says first.
    Whatever,
}

impl NoWakeupLost {
    /// A client waits for a question's index to pass the one it has seen, and knows this of the answer.
    pub fn waits(&mut self, ticket: u64, agent: usize, read: Read, seen: LogIndex, known: Known) {
        self.waiting.insert(ticket, Waiting { agent, read, seen, known, due: None });
    }

    /// The question was answered or its client has given up.
    pub fn ended(&mut self, ticket: u64) {
        let Some(waiting) = self.waiting.remove(&ticket) else { return };
        self.woken += u64::from(waiting.due.is_some());
    }

    /// An agent's process has ended, and all its questions with it.
    pub fn agent_ended(&mut self, agent: usize) {
        self.waiting.retain(|_, waiting| waiting.agent != agent);
    }

    /// Forgets all that was asked so far: the world heals only now.
    pub fn forget(&mut self) {
        self.waiting.clear();
    }

    /// Looks at the questions with what a leader's view says now.
    ///
    /// # Errors
    /// When one should have been answered a while ago.
    pub fn check(&mut self, now: Time, ask: impl Fn(&Read) -> (Answer, LogIndex)) -> Checked {
        for (ticket, waiting) in &mut self.waiting {
            let (answer, index) = ask(&waiting.read);
            let answer = Known::Answer(answer);
            if waiting.known == Known::Whatever {
                waiting.known = answer;
                continue;
            }
            // What is not there has the index of its whole table, which may rise while the answer stays.
            if index <= waiting.seen || waiting.known == answer {
                continue;
            }
            let due = *waiting.due.get_or_insert(now);
            if now.since(due) > BOUND {
                let seen = format!(
                    "request {ticket} at agent {} waits for {:?} to pass {} since its index is {index}, {:?} ago",
                    waiting.agent,
                    waiting.read,
                    waiting.seen,
                    now.since(due)
                );
                return Violation::seen("no_wakeup_lost", seen);
            }
        }
        Ok(())
    }

    /// How many questions are waiting.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_protocol::KvRead;

    #[test]
    fn a_sleeper_is_seen() {
        let read = Read::Kv(KvRead::Get { key: "k".into() });
        let at = |seconds| Time::ZERO + Duration::from_secs(seconds);
        let answer = |index| (Answer::Keys(vec![format!("{index}")]), LogIndex(index));
        let mut check = NoWakeupLost::default();
        check.waits(1, 0, read.clone(), LogIndex(5), Known::Answer(answer(5).0));
        check.waits(2, 1, read.clone(), LogIndex(7), Known::TooLittle);
        assert_eq!(check.check(at(1), |_| answer(5)), Ok(()), "nothing has changed");
        assert_eq!(check.check(at(60), |_| answer(6)), Ok(()), "it has only just changed");
        assert_eq!(check.check(at(64), |_| answer(6)), Ok(()));
        assert!(check.check(at(65), |_| answer(6)).is_err());
        check.ended(1);
        assert_eq!(check.check(at(90), |_| answer(7)), Ok(()));
        assert_eq!(check.len(), 1);
        check.ended(2);
        check.waits(3, 0, read.clone(), LogIndex(5), Known::Answer(answer(5).0));
        check.waits(4, 0, read, LogIndex(5), Known::Whatever);
        for seconds in [100, 110] {
            assert_eq!(check.check(at(seconds), |_| (answer(5).0, LogIndex(9))), Ok(()), "the answer is the same");
        }
        assert_eq!(check.check(at(120), |_| answer(10)), Ok(()));
        check.ended(3);
        assert!(check.check(at(125), |_| answer(10)).is_err(), "also for who asked while nobody led");
    }
}
