//! The front doors' way to the engine.

use crate::drive::Command;
use quorate_engine::Ticket;
use quorate_protocol::{Cluster, Refusal, Reply, ReplyFuture, Request};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, oneshot};

/// Puts requests into the engine's queue and waits for their replies. Cheap to clone.
#[derive(Clone)]
pub struct Front {
    queue: mpsc::Sender<Command>,
    last_ticket: Arc<AtomicU64>,
}

impl Front {
    /// A front door's way into this queue.
    pub fn new(queue: mpsc::Sender<Command>) -> Front {
        Front { queue, last_ticket: Arc::default() }
    }
}

impl Cluster for Front {
    fn ask(&self, request: Request) -> ReplyFuture<'_> {
        Box::pin(async move {
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
