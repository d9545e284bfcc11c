//! Requests that are made once and replayed from memory, and what has to arrive of them.
//!
//! An edge keeps nothing, so it may get the same requests again and again. A backend remembers
//! traces; for each of its rounds their ids are changed, all spans of a trace alike, and what the
//! policies make of the new ids is worked out again.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashSet;
use shared::config::Compression;
use shared::transport::compression::compress;
use shared::wire::Fields;

use super::content::{Depth, for_each_span, trace_key};
use super::manifest::{Asked, Files, Made, Manifest, Stored};
use super::panel::Sent;
use crate::cli::PolicySet;
use crate::generate::Generator;
use crate::oracle::Sightings;
use crate::plan::Plan;
use crate::testbed::TestbedError;
use crate::truth::TraceTruth;

/// A request as it goes over the wire: flag, length and message of gRPC.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) body: Bytes,
    pub(super) spans: u64,
    /// Of the message, uncompressed.
    pub(super) bytes: u64,
}

/// What has to arrive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) spans: u64,
    pub(super) bytes_sum: u64,
    pub(super) content_sum: u64,
    pub(super) traces: u64,
}

/// What is to be sent in a round.
#[derive(Clone)]
pub(super) struct Work {
    pub(super) requests: Arc<[Request]>,
    /// How many to send: from the first, over and over.
    pub(super) count: usize,
    pub(super) expected: Expected,
}

impl Work {
    /// Spans in all requests that are to be sent.
    pub(super) fn spans(&self) -> u64 {
        self.sent().map(|request| request.spans).sum()
    }

    /// Every request that is to be sent.
    pub(super) fn sent(&self) -> impl Iterator<Item = &Request> {
        self.requests.iter().cycle().take(self.count)
    }
}

/// A payload in memory.
pub(super) struct Payload {
    pub(super) manifest: Manifest,
    messages: Vec<Bytes>,
    traces: Vec<TraceTruth>,
}

/// Bytes of a trace in its file: id, spans, sightings, start and end.
const TRACE_BYTES: usize = 40;

impl Payload {
    /// Reads the payload from `folder`, or makes it there.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub(super) fn ensure(
        folder: &Path,
        sent: Sent,
        seed: u64,
        spans: u64,
    ) -> Result<Self, TestbedError> {
        let asked = Asked::new(sent, seed, spans);
        let files = Files::new(folder, &asked);
        match files.load(&asked) {
            Some(stored) => Ok(Self::read(stored)),
            None => Ok(Self::read(make(&files, sent, asked)?)),
        }
    }

    fn read(stored: Stored) -> Self {
        let file = Bytes::from(stored.requests);
        let (mut messages, mut at) = (Vec::new(), 0);
        while let Some(length) = file.get(at..at + 4) {
            let length = u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
            messages.push(file.slice(at + 4..at + 4 + length));
            at += 4 + length;
        }
        let traces = stored.traces.chunks_exact(TRACE_BYTES).map(read_trace).collect();
        Self { manifest: stored.manifest, messages, traces }
    }

    /// The requests as they were generated: messages without frames.
    pub(super) fn messages(&self) -> &[Bytes] {
        &self.messages
    }

    /// The requests, to be sent any number of times.
    ///
    /// # Errors
    /// Of the compressor, which has none to expect.
    pub(super) fn replay(&self, compression: Compression) -> Result<Replay, TestbedError> {
        let (mut requests, mut digests) = (Vec::new(), Vec::new());
        for message in self.messages() {
            let digest = Digest::of(message, |_| true);
            requests.push(frame(message, compression, digest.expected.spans)?);
            digests.push(digest);
        }
        Ok(Replay { requests: requests.into(), digests })
    }

    /// The requests with other trace ids, of which `policies` keep some.
    pub(super) fn renamed(&self, key: u128, policies: PolicySet) -> Result<Work, TestbedError> {
        let policies = policies.oracle();
        let renamed =
            |trace: &TraceTruth| TraceTruth { id: rename(trace.id, key), ..trace.clone() };
        let kept: HashSet<u64> = self
            .traces
            .iter()
            .map(renamed)
            .filter(|trace| policies.keeps(trace))
            .map(|trace| trace_key(&trace.id))
            .collect();
        let (mut requests, mut total) = (Vec::new(), Digest::default());
        for message in self.messages() {
            let mut message = message.to_vec();
            rename_traces(&mut message, key);
            total.add(Digest::of(&message, |key| kept.contains(&key)));
            let spans = count(&message);
            requests.push(frame(&message, Compression::None, spans)?);
        }
        let count = requests.len();
        Ok(Work { requests: requests.into(), count, expected: total.close() })
    }
}

/// Requests that are sent over and over.
pub(super) struct Replay {
    requests: Arc<[Request]>,
    digests: Vec<Digest>,
}

impl Replay {
    /// As many requests as it takes to send this many spans, rounded up.
    pub(super) fn work(&self, spans: u64) -> Work {
        let (mut count, mut sent, mut total) = (0, 0, Digest::default());
        while sent < spans {
            let index = count % self.requests.len();
            sent += self.requests[index].spans;
            // Once all were sent their traces are known.
            total.add_sums(self.digests[index].expected);
            if count < self.requests.len() {
                total.traces.extend(&self.digests[index].traces);
            }
            count += 1;
        }
        Work { requests: Arc::clone(&self.requests), count, expected: total.close() }
    }
}

/// What is expected of some requests, with the traces that are in them.
#[derive(Debug, Clone, Default)]
struct Digest {
    expected: Expected,
    traces: HashSet<u64>,
}

impl Digest {
    /// Of those spans of a message whose traces are wanted.
    fn of(message: &[u8], mut wanted: impl FnMut(u64) -> bool) -> Self {
        let mut digest = Self::default();
        for_each_span(message, Depth::Content, |span| {
            let trace = trace_key(span.trace_id());
            if wanted(trace) {
                digest.traces.insert(trace);
                digest.add_sums(Expected {
                    spans: 1,
                    bytes_sum: span.bytes_hash(),
                    content_sum: span.content_hash(),
                    traces: 0,
                });
            }
        });
        digest
    }

    fn add(&mut self, other: Self) {
        self.add_sums(other.expected);
        self.traces.extend(other.traces);
    }

    fn add_sums(&mut self, other: Expected) {
        let sums = &mut self.expected;
        sums.spans += other.spans;
        sums.bytes_sum = sums.bytes_sum.wrapping_add(other.bytes_sum);
        sums.content_sum = sums.content_sum.wrapping_add(other.content_sum);
    }

    fn close(self) -> Expected {
        Expected { traces: self.traces.len() as u64, ..self.expected }
    }
}

fn make(files: &Files, sent: Sent, asked: Asked) -> Result<Stored, TestbedError> {
    let mut plan = Plan::new(asked.seed, u64::MAX);
    plan.services = sent.services;
    plan.look = sent.look;
    plan.field_order = sent.field_order;
    plan.spans_per_request = sent.spans_per_request;
    // Ten policies have all the leaves that three have, in the same order.
    let mut generator = Generator::new(plan, Arc::new(PolicySet::Ten.oracle()));
    let mut requests = Vec::new();
    while let Some(batch) = generator.next_request() {
        let length = u32::try_from(batch.bytes().len())
            .map_err(|_| TestbedError::new("a request would be larger than 4 GiB"))?;
        requests.extend_from_slice(&length.to_be_bytes());
        requests.extend_from_slice(batch.bytes());
        if generator.truth().spans >= asked.spans {
            generator.finish();
        }
    }
    let truth = generator.into_truth();
    let mut traces = Vec::with_capacity(truth.traces.len() * TRACE_BYTES);
    for trace in &truth.traces {
        write_trace(trace, &mut traces);
    }
    let made = Made {
        asked,
        spans: truth.spans,
        requests: truth.requests,
        bytes: truth.bytes,
        traces: truth.traces.len() as u64,
    };
    files.store(made, requests, traces)
}

fn write_trace(trace: &TraceTruth, file: &mut Vec<u8>) {
    file.extend_from_slice(&trace.id);
    file.extend_from_slice(&trace.spans.to_be_bytes());
    file.extend_from_slice(&trace.sightings.to_bits().to_be_bytes());
    file.extend_from_slice(&trace.start_ns.to_be_bytes());
    file.extend_from_slice(&trace.end_ns.to_be_bytes());
}

fn read_trace(bytes: &[u8]) -> TraceTruth {
    let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let long = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    TraceTruth {
        id: bytes[..16].try_into().expect("sixteen bytes"),
        spans: word(16),
        sightings: Sightings::from_bits(word(20)),
        start_ns: long(24),
        end_ns: long(32),
        fingerprint: 0,
    }
}

fn rename(id: [u8; 16], key: u128) -> [u8; 16] {
    (u128::from_be_bytes(id) ^ key).to_be_bytes()
}

/// Changes the trace id of every span, in place.
fn rename_traces(message: &mut [u8], key: u128) {
    let start = message.as_ptr().addr();
    let mut places = Vec::new();
    for_each_span(message, Depth::Bytes, |span| {
        if let Some(id) = Fields::new(span.record).find(|field| field.number == 1)
            && let Some(id) = id.value.bytes()
            && id.len() == 16
        {
            places.push(id.as_ptr().addr() - start);
        }
    });
    for place in places {
        let id = &mut message[place..place + 16];
        let renamed = rename((&*id).try_into().expect("sixteen bytes"), key);
        id.copy_from_slice(&renamed);
    }
}

fn count(message: &[u8]) -> u64 {
    let mut spans = 0;
    for_each_span(message, Depth::Bytes, |_| spans += 1);
    spans
}

fn frame(message: &[u8], compression: Compression, spans: u64) -> Result<Request, TestbedError> {
    let packed = match compression {
        Compression::None => None,
        compression => Some(
            compress(compression, message)
                .map_err(|error| TestbedError::new(format!("cannot compress: {error}")))?,
        ),
    };
    let content = packed.as_deref().unwrap_or(message);
    let length = u32::try_from(content.len())
        .map_err(|_| TestbedError::new("a request is larger than 4 GiB"))?;
    let mut body = Vec::with_capacity(5 + content.len());
    body.push(u8::from(packed.is_some()));
    body.extend_from_slice(&length.to_be_bytes());
    body.extend_from_slice(content);
    Ok(Request { body: body.into(), spans, bytes: message.len() as u64 })
}

/// An endpoint as gRPC names it.
pub(super) fn uri(target: SocketAddr) -> String {
    format!("http://{target}/opentelemetry.proto.collector.trace.v1.TraceService/Export")
}
