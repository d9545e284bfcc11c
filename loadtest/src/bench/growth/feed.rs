//! What is sent: the same requests over and over, traces that were never sent before, or spans of
//! traces that are live.

use std::sync::Arc;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use shared::wire::{Field, Fields, Writer};
use shared::{Batch, Signal};

use crate::generate::Generator;
use crate::plan::Plan;
use crate::send::Source;

/// Spans in a request.
pub(super) const SPANS_PER_REQUEST: usize = 512;
/// Services of the generator in each request, of which each has two instances.
const GENERATED: u64 = 8;

/// Requests with at least `spans` generated spans; `start_ns` makes their ids and times.
pub(super) fn generated(seed: u64, spans: u64) -> Arc<[Batch]> {
    let mut plan = Plan::new(seed, u64::MAX);
    plan.start_ns = shared::clock::unix_ns();
    plan.services = usize::try_from(GENERATED).expect("8 is a usize");
    plan.spans_per_request = SPANS_PER_REQUEST;
    Generator::new(plan, Arc::default()).at_least(spans).into()
}

/// The same requests, with each resource's service renamed to one of `services` in all.
pub(super) fn renamed(requests: &[Batch], services: u64, seed: u64) -> Arc<[Batch]> {
    let mut rng = StdRng::seed_from_u64(seed);
    let groups = (services / GENERATED).max(1);
    let rename = |request: &Batch| {
        let mut writer = Writer::with_capacity(request.bytes().len() + 1024);
        for entry in Fields::new(request.bytes()) {
            let content = entry.value.bytes().unwrap_or_default();
            let group = rng.random_range(0..groups);
            writer.message(1, |writer| rename_entry(writer, content, group));
        }
        Batch::parse(Signal::Traces, Bytes::from(writer.into_vec())).expect("it was written well")
    };
    requests.iter().map(rename).collect::<Vec<_>>().into()
}

/// Writes a resource entry whose service belongs to a group.
fn rename_entry(writer: &mut Writer, entry: &[u8], group: u64) {
    for field in Fields::new(entry) {
        match field.value.bytes() {
            Some(resource) if field.number == 1 => writer.message(1, |writer| {
                Fields::new(resource).for_each(|field| rename_attribute(writer, &field, group));
            }),
            _ => writer.raw(field.raw),
        }
    }
}

/// Writes a resource's field, with another name if it is the service's.
fn rename_attribute(writer: &mut Writer, field: &Field<'_>, group: u64) {
    const KEY: &[u8] = b"service.name";
    let content = |message, number| {
        let field = Fields::new(message).find(|field| field.number == number);
        field.and_then(|field| field.value.bytes()).unwrap_or_default()
    };
    let attribute = field.value.bytes().unwrap_or_default();
    if field.number != 1 || content(attribute, 1) != KEY {
        return writer.raw(field.raw);
    }
    let mut name = content(content(attribute, 2), 1).to_vec();
    name.extend_from_slice(format!("-{group}").as_bytes());
    writer.string_attribute(1, KEY, &name);
}

/// Small spans of traces with numbers instead of lives of their own.
pub(super) struct Numbered {
    /// Which traces the spans are of.
    pub(super) traces: Traces,
    /// Spans that are left to send.
    pub(super) left: u64,
    /// Makes span ids.
    pub(super) next_span: u64,
}

/// Which traces spans are of.
pub(super) enum Traces {
    /// One after the other, from this number on.
    InOrder(u64),
    /// Any of the first so many.
    AtRandom(u64, Box<StdRng>),
}

impl Traces {
    fn next(&mut self) -> u64 {
        match self {
            Self::InOrder(next) => {
                *next += 1;
                *next - 1
            }
            Self::AtRandom(count, rng) => rng.random_range(0..*count),
        }
    }
}

impl Source for Numbered {
    fn next_request(&mut self) -> Option<Batch> {
        let count = self.left.min(SPANS_PER_REQUEST as u64);
        if count == 0 {
            return None;
        }
        self.left -= count;
        let mut writer = Writer::with_capacity(SPANS_PER_REQUEST * 200);
        writer.message(1, |entry| {
            entry.message(1, |resource| {
                resource.string_attribute(1, b"service.name", b"checkout");
            });
            entry.message(2, |scope| {
                for _ in 0..count {
                    self.next_span += 1;
                    let trace = trace_id(self.traces.next());
                    scope.message(2, |span| put_span(span, &trace, self.next_span));
                }
            });
        });
        let bytes = Bytes::from(writer.into_vec());
        Some(Batch::parse(Signal::Traces, bytes).expect("it was written well"))
    }

    fn finish(&mut self) {
        self.left = 0;
    }
}

/// The id of a numbered trace: as evenly spread as random ones.
fn trace_id(number: u64) -> [u8; 16] {
    xxhash_rust::xxh3::xxh3_128(&number.to_le_bytes()).to_be_bytes()
}

fn put_span(span: &mut Writer, trace_id: &[u8; 16], number: u64) {
    span.bytes(1, trace_id);
    span.bytes(2, &number.to_be_bytes());
    span.bytes(5, b"GET /cart/{id}");
    span.varint(6, 2);
    span.fixed64(7, 1_700_000_000_000_000_000);
    span.fixed64(8, 1_700_000_000_020_000_000);
    span.string_attribute(9, b"http.request.method", b"GET");
    span.int_attribute(9, b"http.response.status_code", 200);
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::item::for_each_item;

    fn services(requests: &[Batch]) -> HashSet<Vec<u8>> {
        let mut names = HashSet::new();
        for request in requests {
            for_each_item(request, |item| {
                names.insert(item.service().to_vec());
            });
        }
        names
    }

    #[test]
    fn services_are_renamed_and_spans_are_not_touched() {
        let requests = generated(1, 20_000);
        assert_eq!(services(&requests).len(), 8);
        let renamed = renamed(&requests, 80, 1);
        assert_eq!(services(&renamed).len(), 80);
        assert!(services(&renamed).contains(&b"checkout-3"[..]));
        let spans = |requests: &[Batch]| {
            let mut spans = Vec::new();
            for request in requests {
                for_each_item(request, |item| spans.push(item.ids().1.to_vec()));
            }
            spans
        };
        assert_eq!(spans(&requests), spans(&renamed));
    }

    #[test]
    fn numbered_traces_come_in_order_and_then_again_at_random() {
        let mut traces = HashSet::new();
        let mut visit = |numbered: &mut Numbered| {
            let (mut spans, mut new) = (0, 0);
            while let Some(request) = numbered.next_request() {
                for_each_item(&request, |item| {
                    spans += 1;
                    new += u32::from(traces.insert(item.ids().0.to_vec()));
                });
            }
            (spans, new)
        };
        let in_order = Traces::InOrder(0);
        let mut numbered = Numbered { traces: in_order, left: 1000, next_span: 0 };
        assert_eq!(visit(&mut numbered), (1000, 1000));
        let at_random = Traces::AtRandom(1000, Box::new(StdRng::seed_from_u64(1)));
        let mut numbered = Numbered { traces: at_random, left: 600, next_span: 0 };
        assert_eq!(visit(&mut numbered), (600, 0));
    }
}
