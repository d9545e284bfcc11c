//! Against the Collector's own answers.

use std::cell::RefCell;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use shared::membership::{Ring, RingHash};
use shared::wire::Writer;

use super::super::{RoutingKey, Split};
use super::*;

/// Gives every key an owner of its own.
#[derive(Default)]
struct OwnerOfEach(RefCell<Vec<Vec<u8>>>);

impl Owners for OwnerOfEach {
    fn owner(&self, key: &[u8]) -> Option<usize> {
        let mut keys = self.0.borrow_mut();
        let known = keys.iter().position(|known| known == key);
        Some(known.unwrap_or_else(|| {
            keys.push(key.to_vec());
            keys.len() - 1
        }))
    }

    fn hash(&self) -> RingHash {
        RingHash::OtelcolV0_156
    }
}

/// The keys of a batch with the number of their items, and how many items have no key.
fn keys(key: &RoutingKey, batch: &Batch) -> (BTreeMap<String, u64>, u64) {
    let owners = OwnerOfEach::default();
    let Split { parts, keyless } = key.split(batch, &owners);
    let keys = owners.0.into_inner();
    let text = |key: &[u8]| String::from_utf8_lossy(key).into_owned();
    let found = parts.iter().map(|(owner, part)| (text(&keys[*owner]), part.items() as u64));
    (found.collect(), keyless as u64)
}

/// Requests and the keys that the exporter's own functions (v0.157.0, whose keys are those of
/// v0.152.0 but for logs) make of them: all types of values, nested and with odd characters.
#[test]
fn keys_are_those_of_the_real_collector() {
    let golden = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/testdata/golden/otelcol-v0.157-keys.json"
    ));
    let golden: serde_json::Value = serde_json::from_str(golden).unwrap();
    let bytes = |value: &serde_json::Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
    let mut seen = BTreeMap::new();
    for (number, case) in golden.as_array().unwrap().iter().enumerate() {
        let signal = case["signal"].as_str().unwrap();
        let signal = Signal::ALL.into_iter().find(|one| one.name() == signal).unwrap();
        let name = case["routing_key"].as_str().unwrap();
        let names: Vec<String> = match case["routing_attributes"].as_array() {
            Some(names) => names.iter().map(|name| name.as_str().unwrap().to_owned()).collect(),
            None => Vec::new(),
        };
        let key = RoutingKey::parse(signal, name, &names).unwrap();
        let batch = Batch::parse(signal, bytes(&case["request"]).into()).unwrap();
        let expected: BTreeMap<String, u64> = case["keys"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(key, items)| {
                let key = STANDARD.decode(key).unwrap();
                (String::from_utf8_lossy(&key).into_owned(), items.as_u64().unwrap())
            })
            .collect();
        let (mut found, keyless) = keys(&key, &batch);
        assert_eq!(found.values().sum::<u64>(), batch.items() as u64);
        if (signal, name) == (Signal::Metrics, "service") {
            // The Collector drops metrics without a service; here they are spread.
            let kept = |key: &String| expected.contains_key(key);
            let spread = found.iter().filter(|(key, _)| !kept(key)).map(|(_, items)| items);
            assert!(spread.sum::<u64>() <= keyless);
            found.retain(|key, _| kept(key));
        }
        assert_eq!(found, expected, "{number}: {signal} by {name} {names:?}");
        *seen.entry((signal, name)).or_insert(0) += found.len();
    }
    assert_eq!(seen.len(), 11, "traces, logs and metrics by every key: {seen:?}");
    assert!(seen.values().all(|keys| *keys > 5), "{seen:?}");
}

/// One span of a service.
fn span(service: Option<&[u8]>) -> Batch {
    let mut writer = Writer::new();
    writer.message(1, |entry| {
        entry.message(1, |resource| {
            if let Some(service) = service {
                resource.string_attribute(1, b"service.name", service);
            }
        });
        entry.message(2, |scope| scope.message(2, |span| span.varint(6, 2)));
    });
    Batch::parse(Signal::Traces, writer.into_vec().into()).unwrap()
}

#[test]
fn spans_are_placed_as_published_vectors_say() {
    let ring = |names: &[&str]| {
        Ring::new(RingHash::OtelcolV0_156, names.iter().map(|name| (*name).to_owned()))
    };
    let a = ring(&["backend-1:4317", "backend-2:4317", "backend-3:4317"]);
    let b = ring(&[
        "10.0.0.1:4317",
        "10.0.0.2:4317",
        "10.0.0.3:4317",
        "10.0.0.4:4317",
        "10.0.0.5:4317",
    ]);
    let check = |key: &RoutingKey, service, text: &str, hash: u64, backends: [usize; 2]| {
        for (ring, backend) in [&a, &b].into_iter().zip(backends) {
            let explained = key.explain(&span(service), ring).unwrap();
            assert_eq!(String::from_utf8_lossy(&explained.key), text);
            assert_eq!((ring.place(&explained.key).hash, explained.owner), (hash, backend - 1));
        }
    };
    let key = |name, names: &[&str]| {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        RoutingKey::parse(Signal::Traces, name, &names).unwrap()
    };
    let service = key("service", &[]);
    check(&service, Some(b"checkout"), "service.name=checkout|", 0x0f59_30dd, [1, 4]);
    check(&service, None, "service.name=|", 0xe7bd_1c61, [1, 5]);
    let both = key("attributes", &["service.name", "span.kind"]);
    check(&both, Some(b"checkout"), "service.name=checkout|span.kind=Server|", 0x462a_8e77, [2, 5]);
}

#[test]
fn resources_have_the_collectors_identity() {
    let check = |fill: fn(&mut Writer), expected: &str| {
        let mut writer = Writer::new();
        writer.message(1, fill);
        let entry = ResourceEntry { content: writer.as_slice() };
        let digest = Digests::default().digest(entry.resource().attributes());
        let mut key = Vec::new();
        Identity::of_resource(digest).put("resource", &mut key);
        assert_eq!(String::from_utf8(key).unwrap(), expected);
    };
    check(|_| {}, "resource/88201fb960ff6465");
    check(
        |resource| resource.string_attribute(1, b"service.name", b"checkout"),
        "resource/9d126046fdb6c015",
    );
    check(
        |resource| {
            resource.string_attribute(1, b"service.name", b"checkout");
            resource.int_attribute(1, b"process.pid", 42);
            resource.string_attribute(1, b"service.instance.id", b"a1");
        },
        "resource/1bf90ef810dca1f5",
    );
}

#[test]
fn of_the_spans_of_a_trace_in_a_scope_the_first_decides() {
    let mut writer = Writer::new();
    writer.message(1, |entry| {
        entry.message(2, |scope| {
            for (trace, tenant) in [(1, b"a"), (2, b"b"), (1, b"c"), (2, b"d")] {
                scope.message(2, |span| {
                    span.bytes(1, &[trace; 16]);
                    span.string_attribute(9, b"tenant", tenant);
                });
            }
        });
    });
    let batch = Batch::parse(Signal::Traces, writer.into_vec().into()).unwrap();
    let key = RoutingKey::parse(Signal::Traces, "attributes", &["tenant".to_owned()]).unwrap();
    let expected = [("tenant=a|".to_owned(), 2), ("tenant=b|".to_owned(), 2)];
    assert_eq!(keys(&key, &batch), (expected.into(), 0));
}

#[test]
fn records_without_a_key_go_to_one_backend_and_are_counted() {
    let batch = Batch::concat_all(vec![span(None); 9]).unwrap();
    for (name, text) in
        [("traceID", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), ("service", "service.name=|")]
    {
        let key = RoutingKey::parse(Signal::Traces, name, &[]).unwrap();
        assert_eq!(keys(&key, &batch), ([(text.to_owned(), 9)].into(), 9));
    }
}

#[test]
fn log_records_without_a_trace_id_are_spread() {
    let mut writer = Writer::new();
    writer.message(1, |entry| {
        entry.message(2, |scope| {
            scope.message(2, |record| record.bytes(9, &[0xab; 16]));
            (1..=5).for_each(|time| scope.message(2, |record| record.fixed64(1, time)));
        });
    });
    let batch = Batch::parse(Signal::Logs, writer.into_vec().into()).unwrap();
    let key = RoutingKey::parse(Signal::Logs, "traceID", &[]).unwrap();
    let (keys, keyless) = keys(&key, &batch);
    assert_eq!((keys.len(), keyless), (6, 5));
    assert_eq!(keys["abababababababababababababababab"], 1);
}
