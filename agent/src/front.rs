//! The front doors' way to the engine.

use crate::drive::Command;
use crate::lookup;
use quorate_engine::Ticket;
use quorate_protocol::{Ask, Cluster, LocalRequest, Refusal, Reply, ReplyFuture, Request};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, oneshot};

/// Puts requests into the engine's queue and waits for their replies; names of agents to join are looked up first, since
/// the engine knows only addresses. Cheap to clone.
#[derive(Clone)]
pub struct Front {
    queue: mpsc::Sender<Command>,
    join_port: u16,
    last_ticket: Arc<AtomicU64>,
}

impl Front {
    /// A front door's way into this queue; `join_port` is where an agent to join is if no port is said.
    pub fn new(queue: mpsc::Sender<Command>, join_port: u16) -> Front {
        Front { queue, join_port, last_ticket: Arc::default() }
    }
}

impl Cluster for Front {
    fn ask(&self, mut request: Request) -> ReplyFuture<'_> {
        Box::pin(async move {
            if let Ask::Local(LocalRequest::Join { addresses }) = &mut request.ask {
                match Box::pin(lookup::all(addresses, self.join_port)).await {
                    Ok(found) => *addresses = found,
                    Err(refusal) => return Reply::Refused(refusal),
                }
            }
            let ticket = Ticket(self.last_ticket.fetch_add(1, Ordering::Relaxed));
            let (reply, replied) = oneshot::channel();
            let request = Box::new(request);
            match self.queue.try_send(Command::Ask { ticket, request, reply }) {
                Ok(()) => {}
                // A full queue means that the engine cannot keep up: waiting would only add to it.
                Err(mpsc::error::TrySendError::Full(_)) => return Reply::Refused(Refusal::Busy),
                Err(mpsc::error::TrySendError::Closed(_)) => return Reply::Refused(Refusal::Stopping),
            }
            let mut asked = Asked { ticket, queue: &self.queue, answered: false };
            let reply = replied.await;
            asked.answered = true;
            reply.unwrap_or(Reply::Refused(Refusal::Stopping))
        })
    }
}

/// A request that is forgotten by the engine when its asker goes away before the reply.
struct Asked<'a> {
    ticket: Ticket,
    queue: &'a mpsc::Sender<Command>,
    answered: bool,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if !self.answered {
            // Where the queue is full the request lives until its own deadline, no longer.
            let _ = self.queue.try_send(Command::Abandon { ticket: self.ticket });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_engine_never_sees_a_name() {
        let (queue, mut commands) = mpsc::channel(1);
        let front = Front::new(queue, 8301);
        let join = |text: &str| Request::here(Ask::Local(LocalRequest::Join { addresses: vec![text.to_owned()] }));
        let engine = async {
            let Some(Command::Ask { request, reply, .. }) = commands.recv().await else { panic!("no request") };
            let Ask::Local(LocalRequest::Join { addresses }) = request.ask else { panic!("{request:?}") };
            for address in &addresses {
                assert_eq!(address.parse::<std::net::SocketAddr>().unwrap().port(), 8301);
            }
            reply.send(Reply::Done).unwrap();
            addresses.len()
        };
        let (reply, found) = tokio::join!(front.ask(join("localhost")), engine);
        assert_eq!(reply, Reply::Done);
        assert!(found > 0);
        assert!(matches!(front.ask(join("a b")).await, Reply::Refused(Refusal::Invalid(_))));
    }
}
