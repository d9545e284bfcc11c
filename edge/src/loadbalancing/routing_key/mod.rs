//! What a record is routed by. Pure: a batch and a ring give the parts of the batch.

use std::borrow::Cow;

use shared::Batch;
use shared::membership::{Ring, RingHash};
use shared::wire::{AnyValue, ResourceEntry};

/// What a record is routed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RoutingKey {
    /// The trace id: all spans of a trace go to one backend.
    TraceId,
    /// The resource's `service.name`: all spans of a service go to one backend.
    Service,
}

/// A batch, cut by the owners of its records.
#[derive(Debug)]
pub(super) struct Split {
    /// Owners, by their number on the ring, with what they own.
    pub(super) parts: Vec<(usize, Batch)>,
    /// Records without a key, which were spread over all backends.
    pub(super) keyless: usize,
}

impl RoutingKey {
    /// Reads `routing_key`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "" | "traceID" => Ok(Self::TraceId),
            "service" => Ok(Self::Service),
            _ => Err(format!("unsupported routing_key: {text} (supported: traceID, service)")),
        }
    }

    /// Cuts `batch` by the owners of its records. A batch with one owner stays as it is.
    ///
    /// The ring must have an endpoint.
    pub(super) fn split(self, batch: &Batch, ring: &Ring) -> Split {
        match self {
            Self::TraceId => by_trace_id(batch, ring),
            Self::Service => by_service(batch, ring),
        }
    }
}

fn owner(ring: &Ring, key: &[u8]) -> usize {
    ring.owner(key).expect("the ring has an endpoint")
}

/// Whether a record without a key is to be routed as the Collector does, all to one backend.
fn as_collector(ring: &Ring) -> bool {
    ring.hash() == RingHash::OtelcolV0_156
}

fn by_trace_id(batch: &Batch, ring: &Ring) -> Split {
    let mut keyless = 0;
    // Spans of a trace often follow each other.
    let mut last = None;
    let parts = batch.regroup_indexed(|span| {
        let id: Option<[u8; 16]> = batch.trace_id(span).try_into().ok().filter(|id| *id != [0; 16]);
        match (id, last) {
            (Some(id), Some((last_id, last_owner))) if id == last_id => last_owner,
            (Some(id), _) => {
                let owner = owner(ring, &id);
                last = Some((id, owner));
                owner
            }
            (None, _) => {
                keyless += 1;
                owner(ring, if as_collector(ring) { &[0; 16] } else { span })
            }
        }
    });
    Split { parts, keyless }
}

fn by_service(batch: &Batch, ring: &Ring) -> Split {
    let mut keyless = 0;
    let parts = batch.regroup_resources(|entry| {
        let service = service_name(entry);
        if service.is_none() {
            keyless += entry.scopes().map(|scope| scope.records().count()).sum::<usize>();
        }
        match (service, as_collector(ring)) {
            (service, true) => {
                let service = service.unwrap_or_default();
                owner(ring, &[b"service.name=", service.as_ref(), b"|"].concat())
            }
            (Some(service), false) => owner(ring, &service),
            (None, false) => owner(ring, entry.content),
        }
    });
    Split { parts, keyless }
}

/// The resource's `service.name` as text; nothing if it is missing, empty or not a scalar.
fn service_name(entry: ResourceEntry<'_>) -> Option<Cow<'_, [u8]>> {
    let name = match entry.resource().attribute(b"service.name")? {
        AnyValue::String(name) => Cow::Borrowed(name),
        AnyValue::Int(number) => Cow::Owned(number.to_string().into_bytes()),
        AnyValue::Bool(value) => Cow::Owned(value.to_string().into_bytes()),
        _ => return None,
    };
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use shared::wire::{Signal, Span, Writer, export};

    use super::*;

    fn ring(hash: RingHash, backends: usize) -> Ring {
        Ring::new(hash, (0..backends).map(|i| format!("10.0.0.{i}:4317")))
    }

    /// Entries of one service each, with spans of these traces; 0 stands for no trace id.
    fn batch(entries: &[(&str, &[u8])]) -> Batch {
        let mut writer = Writer::new();
        for (service, traces) in entries {
            writer.message(1, |entry| {
                entry.message(1, |resource| {
                    if !service.is_empty() {
                        resource.string_attribute(1, b"service.name", service.as_bytes());
                    }
                });
                entry.message(2, |scope| {
                    scope.message(1, |scope| scope.bytes(1, service.as_bytes()));
                    for (number, trace) in traces.iter().enumerate() {
                        scope.message(2, |span| {
                            if *trace > 0 {
                                span.bytes(1, &[*trace; 16]);
                            }
                            span.bytes(5, format!("{service}-{number}").as_bytes());
                        });
                    }
                });
            });
        }
        Batch::parse(Signal::Traces, writer.into_vec().into()).unwrap()
    }

    /// Service, scope, trace and name of every span.
    fn spans(batch: &Batch) -> Vec<(String, String, Vec<u8>, String)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut spans = Vec::new();
        for entry in export::resources(batch.bytes()) {
            let service = service_name(entry).unwrap_or_default();
            for scope in entry.scopes() {
                for span in scope.records().map(Span::read) {
                    let trace = span.trace_id.to_vec();
                    spans.push((text(&service), text(scope.name()), trace, text(span.name)));
                }
            }
        }
        spans
    }

    #[test]
    fn every_trace_has_one_owner_and_spans_keep_resource_and_scope() {
        let batch = batch(&[
            ("cart", &[1, 2, 3, 1, 4, 5, 6, 7]),
            ("shop", &[7, 6, 5, 4, 3, 2, 1, 1, 8, 9]),
        ]);
        for hash in [RingHash::Xxh3, RingHash::OtelcolV0_156] {
            let ring = ring(hash, 4);
            let split = RoutingKey::TraceId.split(&batch, &ring);
            let (mut owners, mut all) = (BTreeMap::new(), Vec::new());
            for (owner, part) in &split.parts {
                assert_eq!(part.items(), spans(part).len());
                for span in spans(part) {
                    assert_eq!(ring.owner(&span.2), Some(*owner));
                    assert_eq!(*owners.entry(span.2.clone()).or_insert(*owner), *owner);
                    all.push(span);
                }
            }
            let mut expected = spans(&batch);
            all.sort();
            expected.sort();
            assert_eq!(all, expected);
            assert!(split.parts.len() > 1);
            assert_eq!(split.keyless, 0);
        }
    }

    #[test]
    fn a_batch_with_one_owner_is_not_copied() {
        let batch = batch(&[("cart", &[1, 1]), ("shop", &[1])]);
        for key in [RoutingKey::TraceId, RoutingKey::Service] {
            let split = key.split(&batch, &ring(RingHash::Xxh3, 1));
            assert_eq!(split.parts, [(0, batch.clone())]);
            assert_eq!(split.parts[0].1.bytes().as_ptr(), batch.bytes().as_ptr());
        }
    }

    #[test]
    fn spans_without_a_trace_id_are_spread_and_counted() {
        let batch = batch(&[("cart", &[0; 64])]);
        let ring = ring(RingHash::Xxh3, 4);
        let split = RoutingKey::TraceId.split(&batch, &ring);
        assert_eq!((split.parts.len(), split.keyless), (4, 64));
        let again = RoutingKey::TraceId.split(&batch, &ring);
        assert_eq!(split.parts, again.parts);
    }

    #[test]
    fn the_collectors_ring_sends_spans_without_a_trace_id_to_one_backend() {
        let names = ["backend-1:4317", "backend-2:4317", "backend-3:4317"].map(str::to_owned);
        let ring = Ring::new(RingHash::OtelcolV0_156, names);
        let split = RoutingKey::TraceId.split(&batch(&[("cart", &[0; 9])]), &ring);
        assert_eq!((split.parts[0].0, split.parts.len(), split.keyless), (1, 1, 9));
    }

    #[test]
    fn every_service_has_one_owner() {
        let services: Vec<String> = (0..20).map(|i| format!("service-{i}")).collect();
        let entries: Vec<(&str, &[u8])> =
            services.iter().chain(&services).map(|name| (name.as_str(), &[1, 2][..])).collect();
        let split = RoutingKey::Service.split(&batch(&entries), &ring(RingHash::Xxh3, 4));
        assert_eq!(split.parts.len(), 4);
        let mut seen = BTreeSet::new();
        for (_, part) in &split.parts {
            let here: BTreeSet<_> = spans(part).into_iter().map(|span| span.0).collect();
            assert!(here.iter().all(|service| seen.insert(service.clone())));
        }
        assert_eq!(seen.len(), 20);
        assert_eq!(split.parts.iter().map(|(_, part)| part.items()).sum::<usize>(), 80);
    }

    #[test]
    fn the_collectors_ring_gets_the_collectors_key_of_a_service() {
        let names = ["backend-1:4317", "backend-2:4317", "backend-3:4317"].map(str::to_owned);
        let ring = Ring::new(RingHash::OtelcolV0_156, names);
        let owner_of =
            |service| RoutingKey::Service.split(&batch(&[(service, &[1])]), &ring).parts[0].0;
        assert_eq!(owner_of("checkout"), 0);
        assert_eq!(owner_of(""), 0);
        assert_eq!(owner_of("checkout"), ring.owner(b"service.name=checkout|").unwrap());
    }

    #[test]
    fn entries_without_a_service_are_spread_and_counted() {
        let entries: Vec<(&str, Vec<u8>)> =
            (1..=40).map(|trace| ("", vec![trace, trace])).collect();
        let entries: Vec<(&str, &[u8])> =
            entries.iter().map(|(service, traces)| (*service, &traces[..])).collect();
        let split = RoutingKey::Service.split(&batch(&entries), &ring(RingHash::Xxh3, 4));
        assert_eq!((split.parts.len(), split.keyless), (4, 80));
    }
}
