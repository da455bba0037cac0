//! The journey behind hickory-server: it decodes and sends, [`Dns::reply`] does the rest.

use crate::respond::{Dns, Incoming, Transport};
use hickory_proto::op::{Header, HeaderCounts, Metadata};
use hickory_proto::serialize::binary::BinDecoder;
use hickory_server::net::runtime::Time;
use hickory_server::net::xfer::Protocol;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::{MessageResponseBuilder, Queries};

#[async_trait::async_trait]
impl RequestHandler for Dns {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, mut sender: R) -> ResponseInfo {
        let transport = if request.protocol() == Protocol::Udp { Transport::Udp } else { Transport::Tcp };
        let query = match request.queries.queries() {
            [query] => Some(query.original()),
            _ => None,
        };
        let echo = request.queries.as_bytes();
        let edns = request.edns.as_ref();
        let incoming = Incoming { metadata: request.metadata, query, echo, edns, transport };
        let Some(outgoing) = self.reply(incoming).await else {
            return unsent(&request.metadata);
        };
        let message = outgoing.message;
        let nothing = Queries::read(&mut BinDecoder::new(&[]), 0);
        let queries = match &nothing {
            Ok(nothing) if !outgoing.echoes => nothing,
            _ => &request.queries,
        };
        let response = MessageResponseBuilder::new(queries, message.edns.as_ref()).build(
            message.metadata,
            message.answers.iter(),
            message.authorities.iter(),
            [],
            message.additionals.iter(),
        );
        match sender.send_response(response).await {
            Ok(sent) => sent,
            Err(error) => {
                tracing::debug!(%error, client = %request.src(), "DNS answer not sent");
                unsent(&request.metadata)
            }
        }
    }
}

/// hickory-server wants a header even where nothing went out.
fn unsent(asked: &Metadata) -> ResponseInfo {
    Header { metadata: Metadata::response_from_request(asked), counts: HeaderCounts::default() }.into()
}
