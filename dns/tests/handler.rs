//! Behind hickory-server the same bytes come out as from `respond`.

// Helpers of tests may panic as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use hickory_proto::op::Message;
use hickory_proto::rr::{Record, RecordType};
use hickory_proto::serialize::binary::BinEncoder;
use hickory_server::net::NetError;
use hickory_server::net::runtime::TokioTime;
use hickory_server::net::xfer::Protocol;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponse;
use quorate_dns::Transport;
use std::sync::{Arc, Mutex};
use world::{crowd, dns, now, question};

/// Encodes as hickory-server's own sender does.
#[derive(Clone)]
struct Sender {
    limit: u16,
    sent: Arc<Mutex<Option<Vec<u8>>>>,
}

#[async_trait::async_trait]
impl ResponseHandler for Sender {
    async fn send_response<'a>(
        &mut self,
        response: MessageResponse<
            '_,
            'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
        >,
    ) -> Result<ResponseInfo, NetError> {
        let mut bytes = Vec::new();
        let mut encoder = BinEncoder::new(&mut bytes);
        encoder.set_max_size(response.edns().map_or(self.limit, |edns| edns.max_payload().max(self.limit)));
        let info = response.destructive_emit(&mut encoder)?;
        *self.sent.lock().unwrap() = Some(bytes);
        Ok(info)
    }
}

#[test]
fn the_same_bytes() {
    for (name, kind) in [
        ("web.service.consul.", RecordType::A),
        ("WEB.service.consul.", RecordType::SRV),
        ("nosuch.service.consul.", RecordType::A),
        ("consul.", RecordType::SOA),
        ("example.com.", RecordType::A),
    ] {
        for (protocol, transport, limit) in
            [(Protocol::Udp, Transport::Udp, 512), (Protocol::Tcp, Transport::Tcp, u16::MAX)]
        {
            for payload in [None, Some(1232)] {
                let asked = question(name, kind, payload);
                let direct = now(dns(crowd(200)).respond(&asked, transport)).unwrap();
                let request = Request::from_bytes(asked, "127.0.0.1:5353".parse().unwrap(), protocol).unwrap();
                let sent = Arc::new(Mutex::new(None));
                let sender = Sender { limit, sent: sent.clone() };
                let info = now(dns(crowd(200)).handle_request::<_, TokioTime>(&request, sender));
                let sent = sent.lock().unwrap().take().unwrap();
                assert_eq!(sent, direct, "{name} {kind} {transport:?} {payload:?}");
                assert_eq!(info.response_code, Message::from_vec(&sent).unwrap().metadata.response_code);
            }
        }
    }
}

#[test]
fn many_questions_are_not_echoed() {
    let mut asked = question("web.service.consul.", RecordType::A, None);
    asked[5] = 0;
    asked.truncate(12);
    let request = Request::from_bytes(asked, "127.0.0.1:5353".parse().unwrap(), Protocol::Udp).unwrap();
    let sent = Arc::new(Mutex::new(None));
    let sender = Sender { limit: 512, sent: sent.clone() };
    now(dns(crowd(1)).handle_request::<_, TokioTime>(&request, sender));
    assert_eq!(sent.lock().unwrap().as_ref().map(Vec::len), Some(12));
}
