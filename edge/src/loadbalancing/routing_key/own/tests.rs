use std::collections::BTreeSet;

use shared::Signal;
use shared::membership::{Ring, RingHash};
use shared::wire::{Span, Writer, resources};

use super::super::{RoutingKey, Split};
use super::*;

/// An attribute as it is written under a field number.
type Put = fn(&mut Writer, u32);

const TENANT: Put = |writer, number| writer.string_attribute(number, b"tenant", b"acme");
const OTHER_TENANT: Put = |writer, number| writer.string_attribute(number, b"tenant", b"umbrella");
const EMPTY_TENANT: Put = |writer, number| writer.string_attribute(number, b"tenant", b"");
const NUMBER_TENANT: Put = |writer, number| writer.int_attribute(number, b"tenant", 7);
const TEXT_TENANT: Put = |writer, number| writer.string_attribute(number, b"tenant", b"7");
const REGION: Put = |writer, number| writer.string_attribute(number, b"region", b"eu");
const SERVICE: Put = |writer, number| writer.string_attribute(number, b"service.name", b"cart");

fn put(writer: &mut Writer, number: u32, attributes: &[Put]) {
    for attribute in attributes {
        attribute(writer, number);
    }
}

/// What one record consists of.
#[derive(Default, Clone)]
struct One<'a> {
    resource: &'a [Put],
    scope: &'a [Put],
    record: &'a [Put],
    trace_id: &'a [u8],
    /// Name of the span or the metric.
    name: &'a [u8],
    /// Distinguishes records that are alike otherwise.
    time_ns: u64,
}

impl One<'_> {
    fn batch(&self, signal: Signal) -> Batch {
        let mut writer = Writer::new();
        writer.message(1, |entry| {
            entry.message(1, |resource| put(resource, 1, self.resource));
            entry.message(2, |scope| {
                scope.message(1, |scope| put(scope, 3, self.scope));
                scope.message(2, |record| match signal {
                    Signal::Traces => {
                        record.bytes(1, self.trace_id);
                        record.bytes(5, self.name);
                        record.varint(6, 2);
                        record.fixed64(7, self.time_ns);
                        put(record, 9, self.record);
                    }
                    Signal::Logs => {
                        record.fixed64(1, self.time_ns);
                        record.bytes(3, b"WARN");
                        record.message(5, |body| body.bytes(1, b"hello"));
                        put(record, 6, self.record);
                        record.bytes(9, self.trace_id);
                    }
                    Signal::Metrics => {
                        record.bytes(1, self.name);
                        record.message(9, |histogram| {
                            histogram.message(1, |point| {
                                point.fixed64(3, self.time_ns);
                                put(point, 9, self.record);
                            });
                        });
                    }
                });
            });
        });
        Batch::parse(signal, writer.into_vec().into()).unwrap()
    }

    /// The key, or `None` if there is none.
    #[track_caller]
    fn key(&self, signal: Signal, name: &str, names: &[&str]) -> Option<Vec<u8>> {
        let ring = Ring::new(RingHash::Xxh3, ["a".to_owned(), "b".to_owned()]);
        let explained = key(signal, name, names).explain(&self.batch(signal), &ring).unwrap();
        assert_eq!(ring.owner(&explained.key), Some(explained.owner));
        explained.has_key.then_some(explained.key)
    }
}

#[track_caller]
fn key(signal: Signal, name: &str, names: &[&str]) -> RoutingKey {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    RoutingKey::parse(signal, name, &names).unwrap()
}

const ALL: [Signal; 3] = [Signal::Traces, Signal::Logs, Signal::Metrics];

/// The keys by attributes in all signals, which must be the same, of records with these.
#[track_caller]
fn by_attributes(names: &[&str], one: &One<'_>) -> Option<Vec<u8>> {
    let keys: BTreeSet<_> = ALL.map(|signal| one.key(signal, "attributes", names)).into();
    assert_eq!(keys.len(), 1, "{keys:?}");
    keys.into_iter().next().unwrap()
}

#[test]
fn a_trace_id_is_the_same_key_in_spans_and_logs() {
    let one = One { trace_id: &[7; 16], ..One::default() };
    for signal in [Signal::Traces, Signal::Logs] {
        assert_eq!(one.key(signal, "traceID", &[]), Some(vec![7; 16]));
        for trace_id in [&[][..], &[0; 16]] {
            assert_eq!(One { trace_id, ..One::default() }.key(signal, "traceID", &[]), None);
        }
    }
}

#[test]
fn a_service_is_the_same_key_in_all_signals() {
    for signal in ALL {
        let one = One { resource: &[SERVICE], ..One::default() };
        assert_eq!(one.key(signal, "service", &[]), Some(b"cart".to_vec()));
        // Only the resource says which service it is.
        let one = One { scope: &[SERVICE], record: &[SERVICE], ..One::default() };
        assert_eq!(one.key(signal, "service", &[]), None);
    }
}

#[test]
fn a_resource_is_its_attributes_in_any_order() {
    let key =
        |signal, resource: &[Put]| One { resource, ..One::default() }.key(signal, "resource", &[]);
    for signal in [Signal::Logs, Signal::Metrics] {
        let cart = key(signal, &[SERVICE, TENANT, REGION]);
        assert_eq!(cart, key(Signal::Logs, &[REGION, SERVICE, TENANT]));
        assert_ne!(cart, key(signal, &[SERVICE, TENANT]));
        assert_ne!(cart, key(signal, &[SERVICE, OTHER_TENANT, REGION]));
        assert_ne!(key(signal, &[NUMBER_TENANT]), key(signal, &[TEXT_TENANT]));
        assert_eq!(key(signal, &[]), None);
    }
}

#[test]
fn attributes_mean_the_same_wherever_they_stand() {
    let names = ["tenant", "region"];
    let both: [Put; 2] = [REGION, TENANT];
    let expected = by_attributes(&names, &One { resource: &both, ..One::default() });
    assert!(expected.is_some());
    for one in [
        One { scope: &both, ..One::default() },
        One { record: &both, ..One::default() },
        One { resource: &[REGION], record: &[TENANT], ..One::default() },
        One { resource: &[TENANT], scope: &[REGION, OTHER_TENANT], ..One::default() },
        One { scope: &[TENANT], record: &[REGION, OTHER_TENANT], ..One::default() },
    ] {
        assert_eq!(by_attributes(&names, &one), expected);
    }
    let swapped = by_attributes(&["region", "tenant"], &One { resource: &both, ..One::default() });
    assert_ne!(swapped, expected);
}

#[test]
fn missing_empty_and_otherwise_typed_values_are_different_keys() {
    let names = ["tenant", "region"];
    let keys =
        [&[REGION][..], &[EMPTY_TENANT, REGION], &[TEXT_TENANT, REGION], &[NUMBER_TENANT, REGION]]
            .map(|record| by_attributes(&names, &One { record, ..One::default() }));
    assert!(keys.iter().all(Option::is_some));
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 4);
    assert_eq!(by_attributes(&names, &One { record: &[SERVICE], ..One::default() }), None);
}

#[test]
fn pseudo_attributes_are_fields_of_the_record_unless_resource_or_scope_have_them() {
    const KIND: Put = |writer, number| writer.string_attribute(number, b"span.kind", b"Server");
    const OTHER: Put = |writer, number| writer.string_attribute(number, b"span.kind", b"Client");
    let by = |one: One<'_>, signal, name| one.key(signal, "attributes", &[name]);
    let server = by(One::default(), Signal::Traces, "span.kind");
    assert!(server.is_some());
    assert_eq!(by(One { record: &[OTHER], ..One::default() }, Signal::Traces, "span.kind"), server);
    assert_eq!(by(One { scope: &[KIND], ..One::default() }, Signal::Traces, "span.kind"), server);
    assert_ne!(
        by(One { resource: &[OTHER], ..One::default() }, Signal::Traces, "span.kind"),
        server
    );
    // They belong to one signal; elsewhere the name is one like any other.
    assert_eq!(by(One::default(), Signal::Logs, "span.kind"), None);

    assert_eq!(by(One::default(), Signal::Traces, "span.name"), None);
    assert!(by(One { name: b"GET", ..One::default() }, Signal::Traces, "span.name").is_some());
    let keys = ["log.severity", "log.body"].map(|name| by(One::default(), Signal::Logs, name));
    assert!(keys[0].is_some() && keys[1].is_some() && keys[0] != keys[1]);
    assert_eq!(by(One::default(), Signal::Metrics, "log.body"), None);
}

#[test]
fn a_metric_is_its_name() {
    let one = One { name: b"requests", resource: &[SERVICE], ..One::default() };
    assert_eq!(one.key(Signal::Metrics, "metric", &[]), Some(b"requests".to_vec()));
    assert_eq!(One::default().key(Signal::Metrics, "metric", &[]), None);
}

#[test]
fn a_stream_is_all_that_identifies_it_and_nothing_else() {
    let key = |one: One<'_>| one.key(Signal::Metrics, "streamID", &[]).unwrap();
    let one = One {
        resource: &[SERVICE, REGION],
        scope: &[TENANT],
        record: &[TENANT, REGION],
        name: b"requests",
        ..One::default()
    };
    let expected = key(one.clone());
    assert_eq!(key(One { time_ns: 5, ..one.clone() }), expected);
    assert_eq!(key(One { resource: &[REGION, SERVICE], ..one.clone() }), expected);
    assert_eq!(key(One { record: &[REGION, TENANT], ..one.clone() }), expected);
    for other in [
        One { resource: &[SERVICE], ..one.clone() },
        One { scope: &[], ..one.clone() },
        One { record: &[OTHER_TENANT, REGION], ..one.clone() },
        One { record: &[SERVICE, REGION], ..one.clone() },
        One { name: b"errors", ..one.clone() },
    ] {
        assert_ne!(key(other), expected);
    }
}

#[test]
fn records_without_a_key_are_spread_evenly_and_counted() {
    let ring = Ring::new(RingHash::Xxh3, (0..4).map(|number| format!("10.0.0.{number}")));
    for (signal, name, names) in [
        (Signal::Traces, "attributes", &["tenant"][..]),
        (Signal::Logs, "attributes", &["tenant"]),
        (Signal::Metrics, "attributes", &["tenant"]),
        (Signal::Logs, "traceID", &[]),
        (Signal::Logs, "service", &[]),
        (Signal::Metrics, "service", &[]),
        (Signal::Metrics, "resource", &[]),
        (Signal::Metrics, "metric", &[]),
    ] {
        let batches = (0..400).map(|time_ns| One { time_ns, ..One::default() }.batch(signal));
        let batch = Batch::concat_all(batches.collect()).unwrap();
        let Split { parts, keyless } = key(signal, name, names).split(&batch, &ring);
        assert_eq!(keyless, 400, "{signal} by {name}");
        let items: Vec<_> = parts.iter().map(|(_, part)| part.items()).collect();
        assert_eq!(items.iter().sum::<usize>(), 400);
        assert!(
            items.len() == 4 && items.iter().all(|items| *items > 60),
            "{signal} by {name}: {items:?}"
        );
    }
}

#[test]
fn each_record_goes_by_its_own_key_and_a_key_to_one_backend() {
    let ring = Ring::new(RingHash::Xxh3, (0..4).map(|number| format!("10.0.0.{number}")));
    let mut writer = Writer::new();
    writer.message(1, |entry| {
        entry.message(1, |resource| resource.string_attribute(1, b"region", b"eu"));
        entry.message(2, |scope| {
            for number in 0..60_u64 {
                scope.message(2, |record| {
                    record.int_attribute(9, b"tenant", (number % 20).cast_signed());
                });
            }
        });
    });
    let batch = Batch::parse(Signal::Traces, writer.into_vec().into()).unwrap();
    let key = key(Signal::Traces, "attributes", &["region", "tenant"]);
    let Split { parts, keyless } = key.split(&batch, &ring);
    assert_eq!((parts.len(), keyless), (4, 0));
    let tenants = |part: &Batch| -> Vec<i64> {
        let scopes = resources(part.bytes()).flat_map(ResourceEntry::scopes);
        let spans = scopes.flat_map(ScopeEntry::records).map(Span::read);
        spans
            .map(|span| match span.attribute(b"tenant") {
                Some(AnyValue::Int(number)) => number,
                _ => -1,
            })
            .collect()
    };
    let mut seen = BTreeSet::new();
    for (_, part) in &parts {
        let (tenants, all): (BTreeSet<i64>, _) =
            (tenants(part).into_iter().collect(), tenants(part));
        assert_eq!(all.len(), tenants.len() * 3);
        assert!(tenants.into_iter().all(|tenant| seen.insert(tenant)));
    }
    assert_eq!(seen.len(), 20);
}
