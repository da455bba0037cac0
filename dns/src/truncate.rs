//! What fits, and the bytes.
//!
//! * Nothing is ever longer than [`Limits::bytes`].
//! * TC is set if, and only if, something was left out; the client then asks again over TCP.
//! * An answer goes together with the addresses of its target, so that what is left is complete in itself.

use crate::Transport;
use hickory_proto::ProtoError;
use hickory_proto::op::{Edns, EmitAndCount, Header, Message, emit_message_parts};
use hickory_proto::rr::{Name, RData, Record};
use hickory_proto::serialize::binary::BinEncoder;
use std::collections::BTreeSet;

/// The largest UDP payload: what crosses every path unfragmented (DNS flag day 2020), and a bound for amplification.
pub(crate) const UDP_MAX: u16 = 1232;
/// The largest UDP payload for those who do not say what they take (RFC 1035, 4.2.1).
const UDP_PLAIN: u16 = 512;
/// Consul's upper bound for answers without EDNS.
const PLAIN_ANSWERS_MAX: usize = 8;
/// No record is shorter: a pointer, ten bytes of header, a byte of data.
const RECORD_MIN: usize = 13;

/// How much may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes of the whole message.
    pub(crate) bytes: u16,
    /// Records in the answer section.
    pub(crate) answers: usize,
}

impl Limits {
    /// The limits for a client on this transport, with or without EDNS. `udp_answer_limit` of 0 is none.
    pub(crate) fn new(transport: Transport, edns: Option<&Edns>, udp_answer_limit: usize) -> Limits {
        match (transport, edns) {
            (Transport::Tcp, _) => Limits { bytes: u16::MAX, answers: usize::MAX },
            (Transport::Udp, Some(edns)) => {
                Limits { bytes: edns.max_payload().clamp(UDP_PLAIN, UDP_MAX), answers: usize::MAX }
            }
            (Transport::Udp, None) if udp_answer_limit == 0 => Limits { bytes: UDP_PLAIN, answers: usize::MAX },
            (Transport::Udp, None) => Limits { bytes: UDP_PLAIN, answers: udp_answer_limit.min(PLAIN_ANSWERS_MAX) },
        }
    }

    /// One record more than can be sent: there is no use in building others, and this one shows the cut.
    pub(crate) fn room(self) -> usize {
        self.answers.min(usize::from(self.bytes) / RECORD_MIN) + 1
    }
}

/// Leaves out what does not fit, and sets TC if it did. `echo` is the question section as it will be sent.
pub(crate) fn fit(message: &mut Message, echo: &[u8], limits: Limits) {
    if message.answers.len() > limits.answers {
        keep_answers(message, limits.answers);
    }
    if fits(message, echo, limits.bytes) {
        return;
    }
    let whole = message.clone();
    let kept = |count: usize| {
        let mut cut = whole.clone();
        keep_answers(&mut cut, count);
        cut
    };
    // A longer prefix is never shorter in bytes, so the largest that fits can be searched for.
    let mut fitting = 0;
    let mut too_many = whole.answers.len();
    while too_many.saturating_sub(fitting) > 1 {
        let middle = fitting.midpoint(too_many);
        if fits(&kept(middle), echo, limits.bytes) { fitting = middle } else { too_many = middle }
    }
    // Rather one answer without the address of its target than none.
    *message = kept(fitting.max(1));
    for section in [Section::Additional, Section::Authority, Section::Answer] {
        if fits(message, echo, limits.bytes) {
            return;
        }
        message.metadata.truncation = true;
        match section {
            Section::Additional => message.additionals.clear(),
            Section::Authority => message.authorities.clear(),
            Section::Answer => message.answers.clear(),
        }
    }
}

/// The message as bytes. It was made to fit, so that nothing is lost here.
pub(crate) fn encode(message: &Message, echo: &[u8], limit: u16) -> Result<Vec<u8>, ProtoError> {
    let mut bytes = Vec::with_capacity(usize::from(UDP_PLAIN));
    emit(message, echo, limit, &mut bytes)?;
    Ok(bytes)
}

#[derive(Clone, Copy)]
enum Section {
    Additional,
    Authority,
    Answer,
}

/// Keeps the first answers and the additional records that belong to them.
fn keep_answers(message: &mut Message, count: usize) {
    message.answers.truncate(count);
    let targets: BTreeSet<&Name> = message.answers.iter().filter_map(target).collect();
    message.additionals.retain(|record| targets.contains(&record.name));
    message.metadata.truncation = true;
}

fn target(record: &Record) -> Option<&Name> {
    match &record.data {
        RData::SRV(srv) => Some(&srv.target),
        RData::NS(ns) => Some(&ns.0),
        _ => None,
    }
}

fn fits(message: &Message, echo: &[u8], limit: u16) -> bool {
    let mut bytes = Vec::with_capacity(usize::from(limit.min(UDP_MAX)));
    // The encoder sets TC by itself where a record did not fit.
    emit(message, echo, limit, &mut bytes)
        .is_ok_and(|header| header.metadata.truncation == message.metadata.truncation && !lost(message, &header))
}

fn lost(message: &Message, header: &Header) -> bool {
    let additionals = message.additionals.len() + usize::from(message.edns.is_some());
    usize::from(header.counts.answers) < message.answers.len()
        || usize::from(header.counts.authorities) < message.authorities.len()
        || usize::from(header.counts.additionals) < additionals
}

/// Encodes exactly as hickory-server does, so that a size measured here is the size that is sent.
fn emit(message: &Message, echo: &[u8], limit: u16, bytes: &mut Vec<u8>) -> Result<Header, ProtoError> {
    let mut encoder = BinEncoder::new(bytes);
    encoder.set_max_size(limit);
    emit_message_parts(
        &message.metadata,
        &mut Echo(echo),
        &mut message.answers.iter(),
        &mut message.authorities.iter(),
        &mut message.additionals.iter(),
        message.edns.as_ref(),
        None,
        &mut encoder,
    )
}

/// The question section as the client wrote it, to the letter and the case; empty for none.
struct Echo<'a>(&'a [u8]);

impl EmitAndCount for Echo<'_> {
    fn emit(&mut self, encoder: &mut BinEncoder<'_>) -> Result<usize, ProtoError> {
        let start = encoder.offset();
        encoder.emit_vec(self.0)?;
        if !self.0.is_empty() {
            encoder.store_label_pointer(start, encoder.offset());
        }
        Ok(usize::from(!self.0.is_empty()))
    }
}
