//! The journey of one question.

use crate::answer::{self, Asked, Sections};
use crate::config::{Config, ConfigError, Zone};
use crate::question::{self, Question};
use crate::truncate::{self, Limits};
use hickory_proto::op::{Edns, Header, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, DecodeError};
use quorate_protocol::{
    Answer, Ask, Cluster, Consistency, HealthFilter, LocalRequest, Member, Read, ReadRequest, Refusal, Reply, Request,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How a question came, and so how much may be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// In a datagram: 512 bytes, or what the client's EDNS says up to 1232.
    Udp,
    /// On a connection: 64 KiB.
    Tcp,
}

/// Answers DNS questions from the catalogue of a cluster.
pub struct Dns {
    zone: Zone,
    cluster: Arc<dyn Cluster>,
    /// How many orders were drawn; with the seed it makes the next one.
    drawn: AtomicU64,
}

/// A question as it came, whoever decoded it.
pub(crate) struct Incoming<'a> {
    pub(crate) metadata: Metadata,
    /// None where there is not exactly one.
    pub(crate) query: Option<&'a Query>,
    /// The question section's bytes.
    pub(crate) echo: &'a [u8],
    pub(crate) edns: Option<&'a Edns>,
    pub(crate) transport: Transport,
}

/// An answer that fits, and the limit that it fits.
pub(crate) struct Outgoing {
    /// All but the question section.
    pub(crate) message: Message,
    /// Whether the question is echoed: not where there is no single sound one.
    pub(crate) echoes: bool,
    pub(crate) limit: u16,
}

impl Dns {
    /// Answers as `config` says, from `cluster`.
    ///
    /// # Errors
    ///
    /// The configuration names no domain that can be answered for.
    pub fn new(config: Config, cluster: Arc<dyn Cluster>) -> Result<Dns, ConfigError> {
        Ok(Dns { zone: Zone::new(config)?, cluster, drawn: AtomicU64::new(0) })
    }

    /// Answers a message. None where silence is the answer: to what is too short to be answered, and to answers, since two
    /// servers must not be made to talk to each other.
    pub async fn respond(&self, bytes: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let mut decoder = BinDecoder::new(bytes);
        let header = Header::read(&mut decoder).ok()?;
        let decoded = Decoded::read(header, &mut decoder);
        let (query, edns) = match &decoded {
            Ok(decoded) => (decoded.query.as_ref(), decoded.edns.as_ref()),
            Err(_) => (None, None),
        };
        let echo = match &decoded {
            Ok(decoded) => bytes.get(decoded.echo.clone()).unwrap_or_default(),
            Err(_) => &[],
        };
        let incoming = Incoming { metadata: header.metadata, query, echo, edns, transport };
        let outgoing = self.reply(incoming).await?;
        let echo = if outgoing.echoes { echo } else { &[] };
        truncate::encode(&outgoing.message, echo, outgoing.limit).ok()
    }

    /// The same for a message that was decoded elsewhere.
    pub(crate) async fn reply(&self, incoming: Incoming<'_>) -> Option<Outgoing> {
        if incoming.metadata.message_type == MessageType::Response {
            return None;
        }
        let limits = Limits::new(incoming.transport, incoming.edns, self.zone.config.udp_answer_limit);
        let mut message = Message::new(incoming.metadata.id, MessageType::Response, incoming.metadata.op_code);
        message.metadata = Metadata::response_from_request(&incoming.metadata);
        message.edns = incoming.edns.map(|asked| edns(asked, limits));
        // A question that points into the header is none: nothing written in a question can be repeated before it.
        let query = incoming.query.filter(|query| incoming.echo.len() == wire_length(&query.name) + 4);
        let refused = match query {
            _ if incoming.metadata.op_code != OpCode::Query => Some(ResponseCode::NotImp),
            None => Some(ResponseCode::FormErr),
            Some(_) if incoming.edns.is_some_and(|edns| edns.version() > 0) => Some(ResponseCode::BADVERS),
            Some(query) if query.query_class != DNSClass::IN => Some(ResponseCode::Refused),
            Some(_) => None,
        };
        if let (Some(query), None) = (query, refused) {
            let sections = self.sections(query, limits).await;
            message.metadata.authoritative = matches!(sections.code, ResponseCode::NoError | ResponseCode::NXDomain);
            message.metadata.response_code = sections.code;
            message.answers = sections.answers;
            message.authorities = sections.authorities;
            message.additionals = sections.additionals;
        }
        if let Some(code) = refused {
            message.metadata.response_code = code;
        }
        let echoes = query.is_some();
        truncate::fit(&mut message, if echoes { incoming.echo } else { &[] }, limits);
        Some(Outgoing { message, echoes, limit: limits.bytes })
    }

    async fn sections(&self, query: &Query, limits: Limits) -> Sections {
        let only = |code| Sections { code, ..Sections::default() };
        let Some((question, domain)) = question::parse(&query.name, &self.zone) else {
            return only(ResponseCode::Refused);
        };
        if matches!(query.query_type, RecordType::AXFR | RecordType::IXFR) {
            return only(ResponseCode::NotImp);
        }
        let here = self.zone.config.datacenter.as_str();
        let asked = Asked { name: &query.name, kind: query.query_type, domain, dc: here, room: limits.room() };
        let answered = match question {
            Question::Malformed => Ok(answer::no_such_name(&self.zone, domain)),
            Question::Branch => Ok(answer::no_data(&self.zone, domain)),
            Question::Addr(ip) => Ok(answer::addr(&self.zone, asked, ip)),
            Question::Apex => self.apex(asked).await,
            Question::Node { name, dc } => self.node(asked, name, dc).await,
            Question::Service { name, tag, dc } => self.service(asked, name, tag, dc).await,
        };
        match answered {
            Ok(sections) => sections,
            Err(Refusal::NoPathToDatacenter) => answer::no_such_name(&self.zone, domain),
            Err(refusal) => {
                tracing::debug!(%refusal, name = %query.name, "DNS question not answered");
                only(ResponseCode::ServFail)
            }
        }
    }

    async fn node(&self, asked: Asked<'_>, name: String, dc: Option<String>) -> Result<Sections, Refusal> {
        match self.read(dc, Read::NodeServices { node: name }).await? {
            Answer::NodeServices(Some(found)) => Ok(answer::node(&self.zone, asked, &found.node)),
            _ => Ok(answer::no_such_name(&self.zone, asked.domain)),
        }
    }

    async fn service(
        &self,
        asked: Asked<'_>,
        name: String,
        tag: Option<String>,
        dc: Option<String>,
    ) -> Result<Sections, Refusal> {
        let health = if self.zone.config.only_passing { HealthFilter::Passing } else { HealthFilter::NotCritical };
        // The tag was lowered with the rest of the name, so the comparison that must ignore case is made here.
        let read = Read::ServiceHealth { service: name, tags: Vec::new(), node_meta: BTreeMap::new(), health };
        let there = dc.clone();
        let Answer::Instances(mut instances) = self.read(dc, read).await? else {
            return Ok(answer::no_such_name(&self.zone, asked.domain));
        };
        if let Some(tag) = tag {
            instances.retain(|instance| instance.service.tags.iter().any(|carried| carried.to_lowercase() == tag));
        }
        let asked = Asked { dc: there.as_deref().unwrap_or(asked.dc), ..asked };
        Ok(answer::service(&self.zone, asked, instances, &mut self.dice()))
    }

    async fn apex(&self, asked: Asked<'_>) -> Result<Sections, Refusal> {
        let mut servers = Vec::new();
        if asked.kind == RecordType::NS {
            servers = match self.cluster.ask(Request::here(Ask::Local(LocalRequest::Members))).await {
                Reply::Members(members) => members,
                other => return Err(unexpected(other)),
            };
            servers.retain(|member: &Member| {
                member.is_server() && member.is_alive() && member.datacenter() == self.zone.config.datacenter
            });
        }
        Ok(answer::apex(&self.zone, asked, servers, &mut self.dice()))
    }

    async fn read(&self, dc: Option<String>, read: Read) -> Result<Answer, Refusal> {
        let ask = Ask::Read(ReadRequest { consistency: Consistency::Stale, ..ReadRequest::now(read) });
        match self.cluster.ask(Request { dc, ask }).await {
            Reply::Read { answer, .. } => Ok(answer),
            other => Err(unexpected(other)),
        }
    }

    fn dice(&self) -> ChaCha8Rng {
        let drawn = self.drawn.fetch_add(1, Ordering::Relaxed);
        ChaCha8Rng::seed_from_u64(self.zone.config.seed.wrapping_add(drawn))
    }
}

/// What came back instead of what was asked for.
fn unexpected(reply: Reply) -> Refusal {
    match reply {
        Reply::Refused(refusal) => refusal,
        other => {
            debug_assert!(false, "the cluster answered another question: {other:?}");
            Refusal::Invalid("the agent answered another question: report this as a bug".into())
        }
    }
}

/// Our OPT: the size that bounds this answer, and the client's DO bit (RFC 3225, 3).
fn edns(asked: &Edns, limits: Limits) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(limits.bytes.min(truncate::UDP_MAX)).set_dnssec_ok(asked.flags().dnssec_ok);
    edns
}

fn wire_length(name: &Name) -> usize {
    name.iter().map(|label| label.len() + 1).sum::<usize>() + 1
}

struct Decoded {
    query: Option<Query>,
    echo: std::ops::Range<usize>,
    edns: Option<Edns>,
}

impl Decoded {
    /// Reads what follows the header. The counts in it are claims: nothing is allocated by them.
    fn read(header: Header, decoder: &mut BinDecoder<'_>) -> Result<Decoded, DecodeError> {
        let start = decoder.index();
        if header.counts.queries != 1 {
            return Ok(Decoded { query: None, echo: start..start, edns: None });
        }
        let query = Query::read(decoder)?;
        let echo = start..decoder.index();
        let op = header.metadata.op_code;
        Message::read_records(decoder, usize::from(header.counts.answers), false, op)?;
        Message::read_records(decoder, usize::from(header.counts.authorities), false, op)?;
        let (_, edns, _) = Message::read_records(decoder, usize::from(header.counts.additionals), true, op)?;
        Ok(Decoded { query: Some(query), echo, edns })
    }
}
