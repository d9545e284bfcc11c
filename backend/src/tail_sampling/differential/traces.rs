//! Random traces, cut into pieces that arrive in any order.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};

/// Keys of attributes, few enough that policies hit them.
pub(super) const KEYS: [&str; 4] = ["a", "b", "http.method", "n"];
/// Texts of attributes.
pub(super) const TEXTS: [&str; 5] = ["", "get", "post", "v12", "/cart/v3"];

/// Spans of one trace under one resource.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    /// The trace.
    pub(super) trace: u64,
    /// What they are under.
    pub(super) resource: Resource,
    /// The spans.
    pub(super) spans: Vec<Span>,
}

impl Piece {
    /// As an entry of a request.
    pub(super) fn resource_spans(&self) -> ResourceSpans {
        let scope = InstrumentationScope { name: "scope".to_owned(), ..Default::default() };
        ResourceSpans {
            resource: Some(self.resource.clone()),
            scope_spans: vec![ScopeSpans {
                scope: Some(scope),
                spans: self.spans.clone(),
                ..Default::default()
            }],
            ..Default::default()
        }
    }
}

/// Pieces that have not arrived yet.
pub(super) struct Traces(Vec<Piece>);

impl Traces {
    /// Some traces of some spans.
    pub(super) fn random(random: &mut StdRng) -> Self {
        let mut pieces = Vec::new();
        for _ in 0..random.random_range(1..40) {
            // Ids that a hash spreads, numbered so that a failure can name them.
            let trace = u64::from(random.random::<u32>());
            for _ in 0..random.random_range(1..5) {
                let attributes = attributes(random);
                let resource = Resource { attributes, ..Default::default() };
                let count = random.random_range(1..4);
                let spans = (0..count).map(|_| span(random, trace)).collect();
                pieces.push(Piece { trace, resource, spans });
            }
        }
        pieces.shuffle(random);
        Self(pieces)
    }

    /// The next few pieces.
    pub(super) fn next_request(&mut self, random: &mut StdRng) -> Option<Vec<Piece>> {
        let count = random.random_range(1..6).min(self.0.len());
        (count > 0).then(|| self.0.split_off(self.0.len() - count))
    }
}

/// The trace id of a number.
pub(super) fn id(trace: u64) -> [u8; 16] {
    (u128::from(trace) << 64 | u128::from(trace.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1))
        .to_be_bytes()
}

/// The number of a trace id.
pub(super) fn number(id: [u8; 16]) -> u64 {
    u64::try_from(u128::from_be_bytes(id) >> 64).unwrap()
}

fn span(random: &mut StdRng, trace: u64) -> Span {
    const MILLISECOND: u64 = 1_000_000;
    let start = (1_700_000_000_000 + random.random_range(0..400)) * MILLISECOND
        + random.random_range(0..MILLISECOND);
    let parent = if random.random_bool(0.2) { Vec::new() } else { vec![7; 8] };
    let states = ["", "k=v", "k=w,other=v", "other=v,k=v", "not a trace state", "k=v,k=w"];
    Span {
        trace_id: id(trace).to_vec(),
        span_id: random.random::<[u8; 8]>().to_vec(),
        parent_span_id: parent,
        trace_state: (*states.choose(random).unwrap()).to_owned(),
        flags: [0, 0x100, 0x101, 1].choose(random).copied().unwrap(),
        name: ["GET /a", "POST /b", "job"].choose(random).copied().unwrap().to_owned(),
        kind: random.random_range(0..6),
        start_time_unix_nano: start,
        end_time_unix_nano: start + random.random_range(0..300 * MILLISECOND),
        attributes: attributes(random),
        events: (0..random.random_range(0..3)).map(|_| event(random)).collect(),
        status: random.random_bool(0.7).then(|| Status {
            code: [0, 0, 0, 1, 2].choose(random).copied().unwrap(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn event(random: &mut StdRng) -> Event {
    let name = ["exception", "log"].choose(random).copied().unwrap().to_owned();
    Event { name, attributes: attributes(random), ..Default::default() }
}

fn attributes(random: &mut StdRng) -> Vec<KeyValue> {
    let mut attributes = Vec::new();
    for key in KEYS {
        if random.random_bool(0.3) {
            let value = Some(AnyValue { value: value(random) });
            attributes.push(KeyValue { key: key.to_owned(), value, ..Default::default() });
        }
    }
    attributes
}

fn value(random: &mut StdRng) -> Option<Value> {
    match random.random_range(0..10) {
        0 => None,
        1 => Some(Value::BoolValue(random.random_bool(0.5))),
        2 => Some(Value::DoubleValue(f64::from(random.random_range(-4..12)) / 2.0)),
        3..=5 => Some(Value::IntValue(random.random_range(-5..15))),
        _ => Some(Value::StringValue((*TEXTS.choose(random).unwrap()).to_owned())),
    }
}
