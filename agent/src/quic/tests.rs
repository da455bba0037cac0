//! Transports on real loopback sockets. Waits are bounded and end with what is waited for; nothing sleeps.

use super::*;
use quinn::udp::{Transmit, UdpSocketState};
use quorate_protocol::wire::stream::Lane;
use quorate_protocol::{Answer, LogIndex, Refusal, Reply};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Receiver;

/// Far longer than anything here takes, so that a test that fails does so with a message.
const PATIENCE: Duration = Duration::from_secs(20);

struct Agent {
    transport: Transport,
    inbound: Receiver<Inbound>,
    id: NodeId,
}

fn config(node: u8, secret: &[u8], port: u16) -> Config {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let (name, datacenter) = (format!("node{node}"), "dc1".into());
    Config {
        bind: address,
        advertise: address,
        id: NodeId([node; 16]),
        name,
        datacenter,
        secrets: vec![secret.to_vec()],
    }
}

impl Agent {
    fn new(node: u8) -> Agent {
        Agent::bind(config(node, b"secret", 0))
    }

    fn bind(config: Config) -> Agent {
        let (sender, inbound) = mpsc::channel(256);
        let id = config.id;
        Agent { transport: Transport::bind(config, sender).unwrap(), inbound, id }
    }

    fn address(&self) -> SocketAddr {
        self.transport.local_addr()
    }

    fn by_id(&self) -> Destination {
        Destination { id: Some(self.id), address: self.address() }
    }

    fn by_address(&self) -> Destination {
        Destination { id: None, address: self.address() }
    }

    fn count(&self, name: &str) -> u64 {
        self.transport.counters()[name]
    }

    async fn next(&mut self) -> Inbound {
        tokio::time::timeout(PATIENCE, self.inbound.recv()).await.expect("nothing arrived").unwrap()
    }

    async fn message(&mut self) -> (Origin, Message) {
        match self.next().await {
            Inbound::Message { from, message } => (from, message),
            other => panic!("{other:?}"),
        }
    }

    /// Sends in a lane of choice: these tests are not about what messages say.
    fn send_in(&self, lane: Lane, to: Destination, message: Message) {
        outbox::queue(&self.transport.shared, to, lane, message.encode().into());
    }

    /// Waits until a counter reaches a value.
    async fn until(&self, name: &str, value: u64) {
        let end = Instant::now() + PATIENCE;
        while self.count(name) < value {
            assert!(Instant::now() < end, "{name} stays at {}: {:?}", self.count(name), self.transport.counters());
            tokio::task::yield_now().await;
        }
    }
}

fn request(id: u64) -> Message {
    Message::ForwardReply { id, reply: Box::new(Reply::Leader(None)) }
}

fn long_request(id: u64, length: usize) -> Message {
    let answer = Answer::Keys(vec!["x".repeat(length)]);
    let reply = Reply::Read { answer, index: LogIndex(1), known_leader: true, last_contact: Duration::ZERO };
    Message::ForwardReply { id, reply: Box::new(reply) }
}

#[tokio::test]
async fn messages_arrive_in_the_order_of_their_lane_in_both_directions() {
    let (mut a, mut b) = (Agent::new(1), Agent::new(2));
    let lanes = [Lane::Gossip, Lane::Raft, Lane::Request, Lane::Snapshot];
    for id in 0..300 {
        a.send_in(lanes[id % 4], b.by_address(), request(id as u64));
    }
    let mut received = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..300 {
        let (from, message) = b.message().await;
        assert_eq!(from, Origin { id: a.id, address: a.address() });
        match message {
            Message::ForwardReply { id, .. } => received[id as usize % 4].push(id),
            other => panic!("{other:?}"),
        }
    }
    for (lane, ids) in (0..).zip(received) {
        assert_eq!(ids, (lane..300).step_by(4).collect::<Vec<u64>>());
    }

    // The answer goes back over the connection that came in.
    b.transport.send(Origin { id: a.id, address: a.address() }.into(), request(7));
    assert_eq!(a.message().await, (Origin { id: b.id, address: b.address() }, request(7)));
    assert_eq!((b.count("connections_dialled"), b.count("connections_accepted")), (0, 1));
}

#[tokio::test]
async fn a_reply_of_ten_mebibytes_passes_and_one_above_the_limit_is_refused() {
    let (a, mut b) = (Agent::new(1), Agent::new(2));
    let long = long_request(1, 10 << 20);
    a.transport.send(b.by_id(), long.clone());
    assert_eq!(b.message().await.1, long);
    a.transport.send(b.by_id(), long_request(2, 33 << 20));
    let Message::ForwardReply { id: 2, reply } = b.message().await.1 else { panic!("no reply") };
    let Reply::Refused(Refusal::Invalid(why)) = *reply else { panic!("{reply:?}") };
    assert!(why.contains("the answer has 3460") && why.contains("in pages"), "{why}");
    assert_eq!(a.count("messages_too_long"), 1);
    // What nobody waits for is only counted.
    a.send_in(Lane::Gossip, b.by_id(), long_request(3, 33 << 20));
    a.transport.send(b.by_id(), request(4));
    assert_eq!(b.message().await.1, request(4));
    assert_eq!(a.count("messages_too_long"), 2);
}

#[tokio::test]
async fn both_dial_at_once_and_both_are_heard() {
    let (mut a, mut b) = (Agent::new(1), Agent::new(2));
    a.transport.send(b.by_id(), request(1));
    b.transport.send(a.by_id(), request(2));
    assert_eq!(b.message().await.1, request(1));
    assert_eq!(a.message().await.1, request(2));
}

#[tokio::test]
async fn a_stranger_without_the_secret_is_refused_by_both_sides() {
    let (mut a, mut stranger) = (Agent::new(1), Agent::bind(config(2, b"another secret", 0)));
    stranger.transport.send(a.by_address(), request(1));
    a.until("handshakes_failed", 1).await;
    stranger.until("messages_dropped_unreachable", 1).await;
    a.transport.send(stranger.by_address(), request(2));
    a.until("messages_dropped_unreachable", 1).await;
    assert!(a.inbound.try_recv().is_err() && stranger.inbound.try_recv().is_err());
    assert_eq!(a.count("connections_accepted") + a.count("connections_dialled"), 0);
    assert_eq!(stranger.count("connections_accepted") + stranger.count("connections_dialled"), 0);
}

#[tokio::test]
async fn another_agent_than_expected_gets_nothing() {
    let (a, mut b) = (Agent::new(1), Agent::new(2));
    a.transport.send(Destination { id: Some(NodeId([9; 16])), address: b.address() }, request(1));
    a.until("id_mismatches", 1).await;
    a.until("messages_dropped_unreachable", 1).await;
    // Whoever it is stays reachable under its own name.
    a.transport.send(b.by_id(), request(2));
    assert_eq!(b.message().await.1, request(2));
}

#[tokio::test]
async fn an_agent_that_dials_itself_notices() {
    let mut a = Agent::new(1);
    a.transport.send(a.by_address(), request(1));
    a.until("self_connections", 1).await;
    a.until("messages_dropped_unreachable", 1).await;
    assert!(a.inbound.try_recv().is_err());
}

#[tokio::test]
async fn garbage_changes_only_counters() {
    let (mut a, mut b) = (Agent::new(1), Agent::new(2));
    let stranger = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.set_nonblocking(true).unwrap();
    let mut noise = 0x9e37_79b9_u32;
    let mut quic = 0;
    for length in (1..1200).step_by(11) {
        let mut bytes: Vec<u8> = (0..length)
            .map(|_| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (noise >> 24) as u8
            })
            .collect();
        // Short headers, and long ones that claim to be Initial packets of version 1.
        bytes[0] = if length % 2 == 0 { 0x40 } else { 0xc0 } | (bytes[0] & 0x3f);
        if length % 3 == 0 && length > 5 {
            bytes[1..5].copy_from_slice(&1_u32.to_be_bytes());
        }
        stranger.send_to(&bytes, a.address()).unwrap();
        quic += 1;
    }
    a.until("quic_packets_received", quic).await;
    for bytes in [&[0x00][..], &[0x3f; 300], &[0x80; 1232]] {
        stranger.send_to(bytes, a.address()).unwrap();
        let from = stranger.local_addr().unwrap();
        assert_eq!(a.next().await, Inbound::Datagram { from, bytes: bytes.to_vec() });
    }
    assert_eq!(a.count("connections_accepted"), 0);
    b.transport.send(a.by_id(), request(1));
    assert_eq!(a.message().await.1, request(1));
    a.transport.send(b.by_id(), request(2));
    assert_eq!(b.message().await.1, request(2));
}

#[tokio::test]
async fn datagrams_pass_beside_quic_and_only_unmarked_ones() {
    let (a, mut b) = (Agent::new(1), Agent::new(2));
    a.transport.send_datagram(b.address(), vec![0x01, 2, 3]);
    assert_eq!(b.next().await, Inbound::Datagram { from: a.address(), bytes: vec![0x01, 2, 3] });
    a.transport.send_datagram(b.address(), vec![0x41, 2, 3]);
    a.transport.send_datagram(b.address(), Vec::new());
    assert_eq!(a.count("datagrams_marked_quic"), 2);
}

#[tokio::test]
async fn a_full_queue_to_the_engine_drops_datagrams_and_counts_them() {
    let a = Agent::new(1);
    let mut b = Agent::new(2);
    for n in 0..400_u16 {
        a.transport.send_datagram(b.address(), [&[0], &n.to_be_bytes()[..]].concat());
        // One by one, so that the system's own buffer does not overflow first.
        b.until("datagrams_received", u64::from(n.min(255)) + 1).await;
    }
    b.until("datagrams_dropped", 400 - 256).await;
    assert_eq!(b.next().await, Inbound::Datagram { from: a.address(), bytes: vec![0, 0, 0] });
}

#[tokio::test]
async fn coalesced_datagrams_are_split() {
    let mut a = Agent::new(1);
    let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let state = UdpSocketState::new((&sender).into()).unwrap();
    let segments = state.max_gso_segments().min(5);
    let contents: Vec<u8> = (0..segments).flat_map(|n| std::iter::repeat_n(n as u8, 100)).collect();
    let transmit = Transmit {
        destination: a.address(),
        ecn: None,
        contents: &contents[..contents.len() - 40],
        segment_size: Some(100),
        src_ip: None,
    };
    state.send((&sender).into(), &transmit).unwrap();
    for n in 0..segments {
        let length = if n + 1 == segments { 60 } else { 100 };
        let bytes = vec![n as u8; length];
        assert_eq!(a.next().await, Inbound::Datagram { from: sender.local_addr().unwrap(), bytes });
    }
}

/// Binds an address that a transport in this process is just letting go of.
async fn bind_again(config: Config) -> Agent {
    let end = Instant::now() + PATIENCE;
    loop {
        let (sender, inbound) = mpsc::channel(256);
        match Transport::bind(config.clone(), sender) {
            Ok(transport) => return Agent { transport, inbound, id: config.id },
            Err(error) => assert!(Instant::now() < end, "{error}"),
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_peer_that_was_killed_and_restarted_is_reached_at_once() {
    let mut a = Agent::new(1);
    // Its own runtime, to be torn down without a word to anybody.
    let doomed = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut b = {
        let _inside = doomed.enter();
        Agent::new(2)
    };
    a.transport.send(b.by_id(), request(1));
    assert_eq!(b.message().await.1, request(1));
    let (to, port) = (b.by_id(), b.address().port());
    doomed.shutdown_background();
    drop(b);

    let mut b = bind_again(config(2, b"secret", port)).await;
    let start = Instant::now();
    let mut id = 2;
    // The first may be lost with the dead connection; its answer, a reset, tells.
    let received = loop {
        a.transport.send(to, request(id));
        if let Ok(received) = tokio::time::timeout(Duration::from_millis(50), b.message()).await {
            break received;
        }
        id += 1;
    };
    assert_eq!(received.0, Origin { id: a.id, address: a.address() });
    assert!(start.elapsed() < limits::STALLED, "{:?}: longer than even a stall takes to notice", start.elapsed());
    // And in the other direction.
    b.transport.send(a.by_id(), request(0));
    assert_eq!(a.message().await.1, request(0));
}

#[tokio::test]
async fn closing_writes_out_what_is_queued() {
    let (a, mut b) = (Agent::new(1), Agent::new(2));
    a.transport.send(b.by_id(), request(1));
    assert_eq!(b.message().await.1, request(1));
    for id in 0..20 {
        a.transport.send(b.by_id(), long_request(id, 10_000));
    }
    let (_, received) = tokio::join!(a.transport.close(), async {
        let mut received = Vec::new();
        while received.len() < 20 {
            received.push(b.message().await.1);
        }
        received
    });
    assert_eq!(received, (0..20).map(|id| long_request(id, 10_000)).collect::<Vec<_>>());
    a.transport.send(b.by_id(), request(99));
    assert_eq!(a.count("messages_dropped_limit"), 1);
}

#[tokio::test]
async fn an_unreachable_destination_costs_a_bounded_queue() {
    let a = Agent::new(1);
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = Destination { id: Some(NodeId([7; 16])), address: nobody.local_addr().unwrap() };
    for n in 0..limits::MAX_QUEUED + 10 {
        for lane in [Lane::Gossip, Lane::Raft, Lane::Request, Lane::Snapshot] {
            a.send_in(lane, to, request(n as u64));
        }
    }
    let dropped = ["gossip", "raft", "request"].map(|lane| a.count(&format!("messages_dropped_{lane}")));
    assert_eq!(dropped, [10, 20, 10], "snapshots count as Raft");
}

#[tokio::test]
async fn a_taken_port_is_refused_with_a_remedy() {
    let a = Agent::new(1);
    let (sender, _inbound) = mpsc::channel(1);
    let error = Transport::bind(config(2, b"secret", a.address().port()), sender).err().unwrap().to_string();
    assert!(error.contains(&a.address().to_string()) && error.contains("-serf-lan-port"), "{error}");
    let (sender, _inbound) = mpsc::channel(1);
    let elsewhere = Config { bind: "192.0.2.1:0".parse().unwrap(), ..config(2, b"secret", 0) };
    let error = Transport::bind(elsewhere, sender).err().unwrap().to_string();
    assert!(error.contains("192.0.2.1:0") && error.contains("-bind"), "{error}");
}

#[tokio::test]
async fn keys_change_under_load_and_no_message_is_lost_or_repeated() {
    let (mut a, mut b) = (Agent::new(1), Agent::new(2));
    let keys = |list: &[&str]| -> Vec<Vec<u8>> { list.iter().map(|key| key.as_bytes().to_vec()).collect() };
    let steps = [keys(&["secret", "new"]), keys(&["new", "secret"]), keys(&["new"])];
    let (mut sent, mut received) = (0, [0, 0]);
    for step in &steps {
        for changed in [0, 1] {
            for _ in 0..200 {
                a.transport.send(b.by_id(), request(sent));
                b.transport.send(a.by_id(), request(sent));
                sent += 1;
            }
            // While that is on its way; the other follows a moment later.
            [&a, &b][changed].transport.set_keys(step).unwrap();
            for (n, agent) in [&mut b, &mut a].into_iter().enumerate() {
                // Messages of an old connection and of its successor may overtake each other.
                let mut came: Vec<u64> = Vec::new();
                while came.len() < 200 {
                    match agent.message().await.1 {
                        Message::ForwardReply { id, .. } => came.push(id),
                        other => panic!("{other:?}"),
                    }
                }
                came.sort_unstable();
                assert_eq!(came, (sent - 200..sent).collect::<Vec<u64>>());
                received[n] += came.len();
            }
        }
    }
    assert_eq!(received, [1200, 1200]);
    // Whoever knows only the key that was removed is a stranger.
    let late = Agent::new(3);
    late.transport.send(b.by_address(), request(0));
    late.until("messages_dropped_unreachable", 1).await;
}

#[tokio::test]
async fn who_knows_only_the_old_key_is_let_in_while_it_is_installed() {
    let mut a = Agent::bind(Config { secrets: vec![b"new".to_vec(), b"secret".to_vec()], ..config(1, b"", 0) });
    let mut late = Agent::new(2);
    late.transport.send(a.by_address(), request(1));
    let (from, _) = a.message().await;
    assert_eq!(from.id, late.id);
    a.transport.send(from.into(), request(2));
    assert_eq!(late.message().await.1, request(2));
}
