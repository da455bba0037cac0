//! What waits to be sent to one destination, and the task that dials and writes.
//!
//! ```text
//!  send ─▶ queue per lane ─▶ (link found or dialled) ─▶ stream per lane
//! ```

use super::counters::Counter;
use super::frame;
use super::limits;
use super::link::{self, Link, LinkError};
use super::peers::Key;
use super::shared::{Phase, Shared, code, lock};
use bytes::Bytes;
use quinn::SendStream;
use quorate_protocol::wire::stream::{Destination, Lane, MAX_FRAME, Message};
use quorate_protocol::{Refusal, Reply};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// All outboxes. One exists as long as it is used, and [`limits::IDLE`] longer.
#[derive(Default)]
pub(super) struct Outboxes {
    by_key: BTreeMap<Key, Arc<Outbox>>,
    queued_bytes: Arc<AtomicUsize>,
}

impl Outboxes {
    /// Takes an outbox out of use. Another one of the same destination may have taken its place already, and stays.
    fn retire(&mut self, outbox: &Outbox) {
        if self.by_key.get(&outbox.key).is_some_and(|current| std::ptr::eq(&**current, outbox)) {
            self.by_key.remove(&outbox.key);
        }
    }
}

/// Queues a message, in an outbox that is made and started where there is none. A reply that is too long becomes a refusal: without one,
/// whoever asked would wait in vain.
pub(super) fn send(shared: &Arc<Shared>, to: Destination, message: &Message) {
    let frame = message.encode();
    match message {
        Message::ForwardReply { id, .. } if frame.len() > MAX_FRAME => {
            shared.counters.add(Counter::MessagesTooLong);
            let why = format!(
                "the answer has {} bytes, and at most {MAX_FRAME} pass from one agent to another: ask for a smaller prefix, or in pages \
                 (?limit and ?start-after)",
                frame.len()
            );
            let refusal = Message::ForwardReply { id: *id, reply: Box::new(Reply::Refused(Refusal::Invalid(why))) };
            queue(shared, to, refusal.lane(), refusal.encode().into());
        }
        _ => queue(shared, to, message.lane(), frame.into()),
    }
}

/// Queues an encoded message in a lane.
pub(super) fn queue(shared: &Arc<Shared>, to: Destination, lane: Lane, frame: Bytes) {
    if frame.len() > MAX_FRAME {
        tracing::warn!(bytes = frame.len(), limit = MAX_FRAME, ?lane, "a message is too long for any stream");
        return shared.counters.add(Counter::MessagesTooLong);
    }
    let key = to.id.map_or(Key::Address(to.address), Key::Id);
    let mut outboxes = lock(&shared.outboxes);
    let total = outboxes.queued_bytes.load(Ordering::Relaxed).saturating_add(frame.len());
    if total > limits::MAX_QUEUED_BYTES_TOTAL || shared.phase() != Phase::Running {
        return shared.counters.add(Counter::MessagesRefused);
    }
    // Pushed under the lock of the map, so that an outbox cannot retire between being found and being used.
    if let Some(outbox) = outboxes.by_key.get(&key) {
        return outbox.push(shared, to.address, lane, frame);
    }
    if outboxes.by_key.len() >= limits::MAX_OUTBOXES {
        return shared.counters.add(Counter::MessagesRefused);
    }
    let outbox = Arc::new(Outbox::new(key, to.address, outboxes.queued_bytes.clone()));
    outbox.push(shared, to.address, lane, frame);
    outboxes.by_key.insert(key, outbox.clone());
    shared.spawn(run(shared.clone(), outbox));
}

/// Takes no more messages and waits, for at most [`limits::CLOSE`], until those that are queued were acknowledged.
pub(super) async fn flush(shared: &Arc<Shared>) {
    shared.enter(Phase::Flushing);
    let all_ended = async {
        loop {
            let ended = shared.outbox_ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            if lock(&shared.outboxes).by_key.is_empty() {
                return;
            }
            ended.await;
        }
    };
    if tokio::time::timeout(limits::CLOSE, all_ended).await.is_err() {
        shared.counters.add(Counter::CloseTimeouts);
    }
}

/// What waits to be sent to one destination.
struct Outbox {
    key: Key,
    state: Mutex<State>,
    /// Woken by a push, one per lane.
    pushed: [Notify; LANES.len()],
    /// Woken by any push, for when there is no connection.
    pushed_any: Notify,
}

const LANES: [Lane; 4] = [Lane::Gossip, Lane::Raft, Lane::Request, Lane::Snapshot];

const fn place(lane: Lane) -> usize {
    match lane {
        Lane::Gossip => 0,
        Lane::Raft => 1,
        Lane::Request => 2,
        Lane::Snapshot => 3,
    }
}

struct State {
    /// Where the destination was last said to be.
    address: SocketAddr,
    queues: [Queue; LANES.len()],
    last_push: Instant,
    /// Bytes queued in all outboxes.
    queued_bytes: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<Bytes>,
    bytes: usize,
}

impl Outbox {
    fn new(key: Key, address: SocketAddr, queued_bytes: Arc<AtomicUsize>) -> Outbox {
        let state = State { address, queues: Default::default(), last_push: Instant::now(), queued_bytes };
        Outbox { key, state: Mutex::new(state), pushed: Default::default(), pushed_any: Notify::new() }
    }

    /// Queues a frame, making room as the lane's rule says.
    fn push(&self, shared: &Shared, address: SocketAddr, lane: Lane, frame: Bytes) {
        let mut state = lock(&self.state);
        state.address = address;
        state.last_push = Instant::now();
        while state.is_full(lane, frame.len()) {
            match lane {
                // Newer ones supersede older ones, and senders repeat what is not acknowledged.
                Lane::Gossip | Lane::Raft | Lane::Snapshot => {
                    if state.pop(lane).is_none() {
                        break;
                    }
                    shared.counters.add(match lane {
                        Lane::Raft | Lane::Snapshot => Counter::RaftDropped,
                        _ => Counter::GossipDropped,
                    });
                }
                Lane::Request => return shared.counters.add(Counter::RequestsDropped),
            }
        }
        state.push(lane, frame);
        drop(state);
        if let Some(pushed) = self.pushed.get(place(lane)) {
            pushed.notify_one();
        }
        self.pushed_any.notify_one();
    }

    fn is_empty(&self) -> bool {
        lock(&self.state).queues.iter().all(|queue| queue.frames.is_empty())
    }

    /// The next frame of a lane; none once the transport is flushing and there is no more, or the keys changed for more than the `keys`th
    /// time: the rest goes another way.
    async fn next(&self, shared: &Shared, lane: Lane, keys: u64) -> Option<Bytes> {
        let pushed = self.pushed.get(place(lane))?;
        loop {
            if shared.keys() > keys {
                return None;
            }
            if let Some(frame) = lock(&self.state).pop(lane) {
                return Some(frame);
            }
            tokio::select! {
                () = pushed.notified() => {}
                () = shared.keys_past(keys) => return None,
                () = shared.reached(Phase::Flushing) => return lock(&self.state).pop(lane),
            }
        }
    }

    /// Drops everything that waits.
    fn clear(&self) -> u64 {
        let mut state = lock(&self.state);
        LANES.iter().map(|lane| std::iter::from_fn(|| state.pop(*lane)).count() as u64).sum()
    }
}

impl State {
    fn is_full(&self, lane: Lane, more: usize) -> bool {
        self.queues.get(place(lane)).is_none_or(|queue| {
            queue.frames.len() >= limits::MAX_QUEUED || queue.bytes.saturating_add(more) > limits::MAX_QUEUED_BYTES
        })
    }

    fn push(&mut self, lane: Lane, frame: Bytes) {
        if let Some(queue) = self.queues.get_mut(place(lane)) {
            self.queued_bytes.fetch_add(frame.len(), Ordering::Relaxed);
            queue.bytes += frame.len();
            queue.frames.push_back(frame);
        }
    }

    fn pop(&mut self, lane: Lane) -> Option<Bytes> {
        let queue = self.queues.get_mut(place(lane))?;
        let frame = queue.frames.pop_front()?;
        queue.bytes -= frame.len();
        self.queued_bytes.fetch_sub(frame.len(), Ordering::Relaxed);
        Some(frame)
    }
}

/// Serves an outbox until it has been idle for long, or the transport closes.
async fn run(shared: Arc<Shared>, outbox: Arc<Outbox>) {
    tokio::select! {
        () = serve(&shared, &outbox) => {}
        () = shared.reached(Phase::Closed) => {}
    }
    lock(&shared.outboxes).retire(&outbox);
    shared.counters.add_many(Counter::MessagesRefused, outbox.clear());
    shared.outbox_ended.notify_waiters();
}

async fn serve(shared: &Arc<Shared>, outbox: &Outbox) {
    let mut pauses = Pauses::default();
    loop {
        if !wait_for_message(shared, outbox).await {
            return;
        }
        match find_link(shared, outbox).await {
            Ok(link) => {
                deliver(shared, outbox, &link).await;
                if link.since.elapsed() > limits::HANDSHAKE {
                    pauses = Pauses::default();
                    continue;
                }
            }
            Err(error) => {
                let dropped = outbox.clear();
                shared.counters.add_many(Counter::MessagesUnreachable, dropped);
                let address = lock(&outbox.state).address;
                if pauses.is_first() {
                    tracing::warn!(%address, destination = ?outbox.key, %error, "an agent cannot be reached");
                } else {
                    tracing::debug!(%address, destination = ?outbox.key, %error, "an agent still cannot be reached");
                }
            }
        }
        pause(shared, outbox, pauses.next()).await;
    }
}

/// Whether there is something to send, as opposed to a long silence or the end. Leaves the map of outboxes where not.
async fn wait_for_message(shared: &Shared, outbox: &Outbox) -> bool {
    loop {
        if !outbox.is_empty() {
            return true;
        }
        let idle = tokio::select! {
            () = outbox.pushed_any.notified() => false,
            () = tokio::time::sleep(limits::IDLE) => true,
            () = shared.reached(Phase::Flushing) => true,
        };
        if idle {
            let mut outboxes = lock(&shared.outboxes);
            if outbox.is_empty() {
                outboxes.retire(outbox);
                return false;
            }
        }
    }
}

/// Waits after a failure, but no longer than until the peer has dialled in.
async fn pause(shared: &Shared, outbox: &Outbox, length: Duration) {
    let over = tokio::time::sleep(length);
    tokio::pin!(over);
    loop {
        let changed = shared.peers_changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        if lock(&shared.peers).pick(outbox.key, shared.keys()).is_some() {
            return;
        }
        tokio::select! {
            () = &mut over => return,
            () = changed => {}
        }
    }
}

/// A link that exists, or that the peer makes meanwhile, or else a new one.
///
/// Where both sides dial at once, the dial of the lower id is the one to keep: its side goes on with it, and the other side gives its
/// own up once the lower one's has come in. A peer that came in although its id is the higher one is used only when the own dial
/// fails or takes its time.
async fn find_link(shared: &Arc<Shared>, outbox: &Outbox) -> Result<Arc<Link>, LinkError> {
    let pick = || lock(&shared.peers).pick(outbox.key, shared.keys());
    // One from before the keys changed is better than none.
    let pick_any = || lock(&shared.peers).pick(outbox.key, 0);
    if let Some(link) = pick() {
        return Ok(link);
    }
    let dial = dial_once(shared, outbox);
    tokio::pin!(dial);
    let mut patience = None;
    loop {
        let changed = shared.peers_changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        if let Some(link) = pick() {
            if link.dialler <= shared.id || patience.is_some_and(|end: Instant| end <= Instant::now()) {
                return Ok(link);
            }
            patience.get_or_insert_with(|| Instant::now() + limits::TIE);
        }
        let patience_over =
            tokio::time::sleep_until(patience.unwrap_or_else(|| Instant::now() + limits::HANDSHAKE).into());
        tokio::select! {
            dialled = &mut dial => return dialled.or_else(|error| pick().or_else(pick_any).ok_or(error)),
            () = changed => {}
            () = patience_over => {}
        }
    }
}

/// Dials, unless another outbox is dialling the same address: then it waits for that one's end first, which may have made the link.
async fn dial_once(shared: &Arc<Shared>, outbox: &Outbox) -> Result<Arc<Link>, LinkError> {
    let (address, for_raft) = {
        let state = lock(&outbox.state);
        (state.address, state.queues.get(place(Lane::Raft)).is_some_and(|queue| !queue.frames.is_empty()))
    };
    let _dialling = loop {
        let changed = shared.peers_changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        if lock(&shared.dialling).insert(address) {
            break Dialling { shared, address };
        }
        changed.await;
    };
    let expected = match outbox.key {
        Key::Id(id) => Some(id),
        Key::Address(_) => None,
    };
    link::dial(shared, address, expected, for_raft).await
}

/// Marks an address as being dialled for as long as it lives.
struct Dialling<'a> {
    shared: &'a Shared,
    address: SocketAddr,
}

impl Drop for Dialling<'_> {
    fn drop(&mut self) {
        lock(&self.shared.dialling).remove(&self.address);
        self.shared.peers_changed.notify_waiters();
    }
}

/// Writes all lanes side by side until the link breaks, nothing has been sent for long, the keys change, or all is flushed.
async fn deliver(shared: &Shared, outbox: &Outbox, link: &Link) {
    let keys = shared.keys();
    let lanes = async {
        tokio::try_join!(
            write_lane(shared, outbox, link, Lane::Gossip, keys),
            write_lane(shared, outbox, link, Lane::Raft, keys),
            write_lane(shared, outbox, link, Lane::Request, keys),
            write_lane(shared, outbox, link, Lane::Snapshot, keys),
        )
    };
    let idle = async {
        loop {
            tokio::time::sleep(limits::IDLE).await;
            if outbox.is_empty() && lock(&outbox.state).last_push.elapsed() >= limits::IDLE {
                return;
            }
        }
    };
    tokio::select! {
        _ = lanes => {}
        _ = link.connection.closed() => {}
        () = idle => {}
    }
}

/// The stream's or the connection's end.
struct Broken;

/// Writes one lane to a stream of its own, opened at its first message. Ends well only when all is flushed, or the keys changed for more than
/// the `keys`th time: then what was written has arrived.
async fn write_lane(shared: &Shared, outbox: &Outbox, link: &Link, lane: Lane, keys: u64) -> Result<(), Broken> {
    let mut stream: Option<LaneStream<'_>> = None;
    while let Some(frame) = outbox.next(shared, lane, keys).await {
        let stream = match &mut stream {
            Some(stream) => stream,
            none => none.insert(LaneStream {
                stream: link.connection.open_uni().await.map_err(|_| {
                    shared.counters.add(Counter::MessagesBroken);
                    Broken
                })?,
                writing: false,
                shared,
            }),
        };
        stream.write(frame).await?;
    }
    match stream {
        Some(stream) => stream.finish().await,
        None => Ok(()),
    }
}

/// A stream that is reset, not finished, when it is given up in the middle of a frame: the reader then knows that nobody is to blame.
struct LaneStream<'a> {
    stream: SendStream,
    writing: bool,
    shared: &'a Shared,
}

impl LaneStream<'_> {
    async fn write(&mut self, frame: Bytes) -> Result<(), Broken> {
        self.writing = true;
        frame::write(&mut self.stream, frame).await.map_err(|_| Broken)?;
        self.writing = false;
        self.shared.counters.add(Counter::MessagesSent);
        Ok(())
    }

    /// Finishes, and waits until the peer has acknowledged everything.
    async fn finish(mut self) -> Result<(), Broken> {
        self.stream.finish().map_err(|_| Broken)?;
        match self.stream.stopped().await {
            Ok(None) => Ok(()),
            Ok(Some(_)) | Err(_) => Err(Broken),
        }
    }
}

impl Drop for LaneStream<'_> {
    fn drop(&mut self) {
        if self.writing {
            self.shared.counters.add(Counter::MessagesBroken);
            // An error means that it has ended already.
            let _ = self.stream.reset(code::ABANDONED);
        }
    }
}

/// The pauses between attempts, doubling from the first to the longest.
#[derive(Default)]
struct Pauses {
    taken: u32,
}

impl Pauses {
    fn is_first(&self) -> bool {
        self.taken == 0
    }

    fn next(&mut self) -> Duration {
        let (first, longest) = limits::BACKOFF;
        let pause = first.saturating_mul(1 << self.taken.min(16)).min(longest);
        self.taken = self.taken.saturating_add(1);
        pause
    }
}
