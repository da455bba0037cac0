//! The front doors' way to the engine.

use crate::drive::Command;
use crate::lookup;
use crate::reload::Reloader;
use quorate_engine::Ticket;
use quorate_protocol::{Ask, Cluster, LocalRequest, Refusal, Reply, ReplyFuture, Request};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, oneshot};

/// Puts requests into the engine's queue and waits for their replies. What they need of the world is fetched first: the addresses of agents to
/// join, the files to read again. Cheap to clone.
#[derive(Clone)]
pub struct Front {
    queue: mpsc::Sender<Command>,
    join_port: u16,
    reloader: Arc<Reloader>,
    last_ticket: Arc<AtomicU64>,
}

impl Front {
    /// A front door's way into this queue; `join_port` is where an agent to join is if no port is said.
    pub fn new(queue: mpsc::Sender<Command>, join_port: u16, reloader: Reloader) -> Front {
        Front { queue, join_port, reloader: Arc::new(reloader), last_ticket: Arc::default() }
    }

    /// Fills in what the engine cannot know.
    async fn fetch(&self, request: &mut LocalRequest) -> Result<(), Refusal> {
        match request {
            LocalRequest::Join { addresses } => *addresses = Box::pin(lookup::all(addresses, self.join_port)).await?,
            LocalRequest::Reload { definitions } if definitions.is_none() => {
                let reloader = Arc::clone(&self.reloader);
                // Files may be many, and their disk slow.
                let read = tokio::task::spawn_blocking(move || reloader.read()).await;
                *definitions = Some(Box::new(read.unwrap_or(Err(Refusal::Stopping))?));
            }
            _ => {}
        }
        Ok(())
    }
}

impl Cluster for Front {
    fn ask(&self, mut request: Request) -> ReplyFuture<'_> {
        Box::pin(async move {
            if let Ask::Local(local) = &mut request.ask
                && let Err(refusal) = self.fetch(local).await
            {
                return Reply::Refused(refusal);
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
        let args = vec!["-dev".into()];
        let running = crate::config::load(args.clone()).unwrap().config;
        let front = Front::new(queue, 8301, Reloader::new(args, running));
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
