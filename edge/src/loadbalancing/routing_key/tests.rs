//! Our own keys over all signals, and what both kinds have in common.

use std::collections::{BTreeMap, BTreeSet};

use shared::membership::Ring;
use shared::wire::{Span, Writer, export};

use super::own::service_name;
use super::*;

/// A key of traces without names of attributes.
fn traces_by(name: &str) -> RoutingKey {
    RoutingKey::parse(Signal::Traces, name, &[]).unwrap()
}

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
    let batch =
        batch(&[("cart", &[1, 2, 3, 1, 4, 5, 6, 7]), ("shop", &[7, 6, 5, 4, 3, 2, 1, 1, 8, 9])]);
    for hash in [RingHash::Xxh3, RingHash::OtelcolV0_156] {
        let ring = ring(hash, 4);
        let split = traces_by("traceID").split(&batch, &ring);
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
    for key in [traces_by(""), traces_by("service")] {
        let split = key.split(&batch, &ring(RingHash::Xxh3, 1));
        assert_eq!(split.parts, [(0, batch.clone())]);
        assert_eq!(split.parts[0].1.bytes().as_ptr(), batch.bytes().as_ptr());
    }
}

#[test]
fn spans_without_a_trace_id_are_spread_and_counted() {
    let batch = batch(&[("cart", &[0; 64])]);
    let ring = ring(RingHash::Xxh3, 4);
    let split = traces_by("traceID").split(&batch, &ring);
    assert_eq!((split.parts.len(), split.keyless), (4, 64));
    let again = traces_by("traceID").split(&batch, &ring);
    assert_eq!(split.parts, again.parts);
}

#[test]
fn the_collectors_ring_sends_spans_without_a_trace_id_to_one_backend() {
    let names = ["backend-1:4317", "backend-2:4317", "backend-3:4317"].map(str::to_owned);
    let ring = Ring::new(RingHash::OtelcolV0_156, names);
    let split = traces_by("traceID").split(&batch(&[("cart", &[0; 9])]), &ring);
    assert_eq!((split.parts[0].0, split.parts.len(), split.keyless), (1, 1, 9));
}

#[test]
fn every_service_has_one_owner() {
    let services: Vec<String> = (0..20).map(|i| format!("service-{i}")).collect();
    let entries: Vec<(&str, &[u8])> =
        services.iter().chain(&services).map(|name| (name.as_str(), &[1, 2][..])).collect();
    let split = traces_by("service").split(&batch(&entries), &ring(RingHash::Xxh3, 4));
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
        |service| traces_by("service").split(&batch(&[(service, &[1])]), &ring).parts[0].0;
    assert_eq!(owner_of("checkout"), 0);
    assert_eq!(owner_of(""), 0);
    assert_eq!(owner_of("checkout"), ring.owner(b"service.name=checkout|").unwrap());
}

#[test]
fn entries_without_a_service_are_spread_and_counted() {
    let entries: Vec<(&str, Vec<u8>)> = (1..=40).map(|trace| ("", vec![trace, trace])).collect();
    let entries: Vec<(&str, &[u8])> =
        entries.iter().map(|(service, traces)| (*service, &traces[..])).collect();
    let split = traces_by("service").split(&batch(&entries), &ring(RingHash::Xxh3, 4));
    assert_eq!((split.parts.len(), split.keyless), (4, 80));
}

/// Reads a key that must be wrong; all of its errors.
#[track_caller]
fn errors(signal: Signal, key: &str, names: &[&str]) -> Vec<String> {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let wrong = RoutingKey::parse(signal, key, &names).unwrap_err();
    wrong.into_iter().map(|(key, text)| format!("{key}: {text}")).collect()
}

#[test]
fn every_signal_has_its_default_and_the_keys_of_the_collector() {
    let names = ["traceID", "service", "resource", "metric", "streamID", "attributes"];
    for (signal, default, supported) in [
        (Signal::Traces, "traceID", &["traceID", "service", "attributes"][..]),
        (Signal::Logs, "service", &["traceID", "service", "resource", "attributes"]),
        (Signal::Metrics, "service", &["service", "resource", "metric", "streamID", "attributes"]),
    ] {
        assert_eq!(RoutingKey::parse(signal, "", &[]).unwrap().name(), default);
        for name in names {
            let attributes: &[String] = match name {
                "attributes" => &["tenant".to_owned()],
                _ => &[],
            };
            assert_eq!(RoutingKey::check(name, attributes), []);
            match RoutingKey::parse(signal, name, attributes) {
                Ok(key) => {
                    assert_eq!(key.name(), name);
                    assert!(supported.contains(&name), "{signal} by {name}");
                }
                Err(_) => assert!(!supported.contains(&name), "{signal} by {name}"),
            }
        }
    }
}

#[test]
fn what_is_wrong_is_said_in_the_collectors_words() {
    assert_eq!(
        errors(Signal::Traces, "metric", &[]),
        [
            "routing_key: unsupported routing_key: metric (traces support traceID, service, attributes)"
        ]
    );
    assert_eq!(
        errors(Signal::Logs, "traceid", &[]),
        ["routing_key: unsupported routing_key: traceid (supported: traceID, service, resource, \
          metric, streamID, attributes)"]
    );
    assert_eq!(
        errors(Signal::Logs, "attributes", &[]),
        ["routing_attributes: routing_attributes must be specified when routing_key is \
          \"attributes\""]
    );
    assert_eq!(
        errors(Signal::Metrics, "", &["tenant"]),
        ["routing_attributes: routing_attributes can only be used when routing_key is \
          \"attributes\"; got \"\". Remove routing_attributes or set routing_key to \
          \"attributes\""]
    );
    let wrong = RoutingKey::check("span", &["tenant".to_owned()]);
    assert_eq!(
        wrong.iter().map(|(key, _)| *key).collect::<Vec<_>>(),
        ["routing_key", "routing_attributes"]
    );
}
