use serde_json::{Value, json};

use super::*;
use crate::config::testing::section;
use crate::processor::testing::{Probe, process};
use crate::wire::{
    AnyValue, Layout, LogRecord, ResourceEntry, ScopeEntry, Span, Writer, resources,
};

fn batch(signal: Signal, records: &[Vec<u8>]) -> Batch {
    let mut writer = Writer::new();
    for record in records {
        writer.message(1, |entry| entry.message(2, |scope| scope.bytes(2, record)));
    }
    Batch::parse(signal, writer.into_vec().into()).unwrap()
}

fn span(trace_id: u128, trace_state: &str, fill: impl Fn(&mut Writer)) -> Vec<u8> {
    let mut span = Writer::new();
    span.bytes(1, &trace_id.to_be_bytes());
    if !trace_state.is_empty() {
        span.bytes(3, trace_state.as_bytes());
    }
    span.bytes(5, b"name");
    fill(&mut span);
    span.into_vec()
}

fn records(batch: &Batch) -> Vec<&[u8]> {
    let scopes = resources(batch.bytes()).flat_map(ResourceEntry::scopes);
    scopes.flat_map(ScopeEntry::records).collect()
}

async fn sampled(json: &Value, batch: Batch) -> Option<Batch> {
    process::<ProbabilisticSamplerConfig>(json, batch, &Probe::default()).await
}

/// The trace state of one span that is kept; `None` if it is not.
async fn trace_state(json: &Value, span: Vec<u8>) -> Option<String> {
    let kept = sampled(json, batch(Signal::Traces, &[span])).await?;
    assert_eq!(kept, Batch::parse(Signal::Traces, kept.bytes().clone()).unwrap());
    assert_eq!(kept.layout(), Layout::Leading);
    let span = Span::read(records(&kept)[0]);
    assert_eq!(span.name, b"name");
    Some(String::from_utf8(span.trace_state.to_vec()).unwrap())
}

const HIGH: u128 = (1 << 100) + 0xff_0000_0000_0000;

#[tokio::test]
async fn spans_say_with_what_probability_they_were_kept() {
    let half = json!({"mode": "equalizing", "sampling_percentage": 50});
    let check = async |json: &Value, before: &str, after: Option<&str>| {
        let state = trace_state(json, span(HIGH, before, |_| {})).await;
        assert_eq!(state.as_deref(), after, "{before}");
    };
    check(&half, "", Some("ot=th:8")).await;
    check(&half, "a=b,ot=k:v;th:4", Some("ot=th:8;k:v,a=b")).await;
    check(&half, "ot=th:c", Some("ot=th:c")).await;
    check(&half, "ot=rv:00000000000000", None).await;
    check(&half, "ot=rv:9b8233f7e3a151;th:0", Some("ot=rv:9b8233f7e3a151;th:8")).await;
    check(&half, "not a trace state", None).await;
    let quarter = json!({"mode": "proportional", "sampling_percentage": 50});
    check(&quarter, "ot=th:8", Some("ot=th:c")).await;
    let open = json!({"sampling_percentage": 50, "fail_closed": false});
    check(&open, "ot=th:8", Some("ot=th:8")).await;
    check(&open, "not a trace state", Some("not a trace state")).await;
}

#[tokio::test]
async fn a_hash_is_noted_as_randomness() {
    let all = json!({"sampling_percentage": 100});
    let state = trace_state(&all, span(1, "", |_| {})).await.unwrap();
    // FNV-1a of the seed and the id.
    let hash: u64 = [0; 4]
        .iter()
        .chain(&1_u128.to_be_bytes())
        .fold(0x811c_9dc5, |hash, byte| ((hash ^ u64::from(*byte)) * 0x0100_0193) & 0xffff_ffff);
    let unused = hash >> 18;
    let randomness =
        (0x3fff - (hash & 0x3fff)) << 42 | (unused ^ unused << 10) << 14 | hash & 0x3fff;
    assert_eq!(state, format!("ot=rv:{randomness:014x};th:0"));
    let again = trace_state(&all, span(1, &state, |_| {})).await;
    assert_eq!(again, None, "an item that names its randomness is none for this mode");
    let equalizing = json!({"mode": "equalizing", "sampling_percentage": 100});
    assert_eq!(trace_state(&equalizing, span(1, &state, |_| {})).await, Some(state));
}

#[tokio::test]
async fn what_is_left_out_leaves_no_empty_entries() {
    let half = json!({"mode": "equalizing", "sampling_percentage": 50});
    let spans = [span(1, "", |_| {}), span(HIGH, "", |_| {}), span(2, "", |_| {})];
    let kept = sampled(&half, batch(Signal::Traces, &spans)).await.unwrap();
    assert_eq!((kept.items(), resources(kept.bytes()).count()), (1, 1));
    assert!(sampled(&half, batch(Signal::Traces, &spans[..1])).await.is_none());
    let none = json!({"sampling_percentage": 0});
    assert!(sampled(&none, batch(Signal::Traces, &spans)).await.is_none());
}

#[tokio::test]
async fn the_priority_of_a_span_wins() {
    let none = json!({"sampling_percentage": 0});
    let all = json!({"sampling_percentage": 100});
    let with = |fill: fn(&mut Writer)| {
        span(HIGH, "", move |span| span.attribute(9, b"sampling.priority", fill))
    };
    let keeping: [fn(&mut Writer); 3] =
        [|value| value.varint(3, 1), |value| value.double(4, 0.5), |value| value.bytes(1, b"1")];
    for fill in keeping {
        assert_eq!(trace_state(&none, with(fill)).await.as_deref(), Some("ot=th:0"));
    }
    let rejecting: [fn(&mut Writer); 3] =
        [|value| value.varint(3, 0), |value| value.double(4, 0.0), |value| value.bytes(1, b"0")];
    for fill in rejecting {
        assert_eq!(trace_state(&all, with(fill)).await, None);
    }
    let silent: [fn(&mut Writer); 3] = [
        |value| value.varint(3, u64::MAX),
        |value| value.bytes(1, b"high"),
        |value| value.varint(2, 1),
    ];
    for fill in silent {
        assert!(trace_state(&all, with(fill)).await.is_some());
        assert!(trace_state(&none, with(fill)).await.is_none());
    }
}

fn log(trace_id: u128, attributes: &[(&str, Value)]) -> Vec<u8> {
    let mut record = Writer::new();
    for (key, value) in attributes {
        match value {
            Value::String(text) => {
                record.string_attribute(6, key.as_bytes(), text.as_bytes());
            }
            number => record.int_attribute(6, key.as_bytes(), number.as_i64().unwrap()),
        }
    }
    if trace_id != 0 {
        record.bytes(9, &trace_id.to_be_bytes());
    }
    record.into_vec()
}

/// `sampling.threshold` and `sampling.randomness` of a log record that is kept.
async fn attributes(json: &Value, record: Vec<u8>) -> Option<[Option<String>; 2]> {
    let kept = sampled(json, batch(Signal::Logs, &[record])).await?;
    let record = LogRecord::read(records(&kept)[0]);
    Some(["sampling.threshold", "sampling.randomness"].map(|key| {
        let text = record.attribute(key.as_bytes()).and_then(AnyValue::as_string);
        text.map(|text| String::from_utf8(text.to_vec()).unwrap())
    }))
}

#[tokio::test]
async fn log_records_say_it_by_attributes() {
    let half = json!({"mode": "equalizing", "sampling_percentage": 50});
    let kept = attributes(&half, log(HIGH, &[])).await;
    assert_eq!(kept, Some([Some("8".to_owned()), None]));
    let named = log(0, &[("sampling.randomness", json!("9b8233f7e3a151"))]);
    let kept = attributes(&half, named).await;
    assert_eq!(kept, Some([Some("8".to_owned()), Some("9b8233f7e3a151".to_owned())]));
    assert_eq!(attributes(&half, log(1, &[])).await, None);
    assert_eq!(attributes(&half, log(HIGH, &[("sampling.threshold", json!("x"))])).await, None);
}

#[tokio::test]
async fn log_records_without_a_trace_id_are_sampled_by_an_attribute() {
    let json = json!({"sampling_percentage": 100, "from_attribute": "order"});
    let by_order = attributes(&json, log(0, &[("order", json!("17"))])).await.unwrap();
    assert!(by_order[1].is_some());
    assert_eq!(attributes(&json, log(0, &[("order", json!(17))])).await.unwrap(), by_order);
    let by_trace = attributes(&json, log(HIGH, &[("order", json!("17"))])).await.unwrap();
    assert_ne!(by_trace, by_order);
    let record = json!({
        "sampling_percentage": 100, "from_attribute": "order", "attribute_source": "record",
    });
    let kept = attributes(&record, log(HIGH, &[("order", json!("17"))])).await.unwrap();
    assert_eq!(kept, by_order);
    assert_eq!(attributes(&json, log(0, &[])).await, None);
}

#[tokio::test]
async fn the_priority_of_a_log_record_is_a_percentage() {
    let json = json!({"sampling_percentage": 0, "sampling_priority": "keep"});
    let kept = attributes(&json, log(1, &[("keep", json!(25))])).await;
    assert_eq!(kept, Some([Some("c".to_owned()), None]));
    for nothing in [json!(0), json!(200), json!("50")] {
        assert_eq!(attributes(&json, log(1, &[("keep", nothing)])).await, None);
    }
}

#[test]
fn problems_are_named_by_their_key() {
    let check = |json: Value, expected: &str| {
        let (_, problems, _) = section(&json, ProbabilisticSamplerConfig::validate);
        assert_eq!(problems, [format!("a::{expected}")]);
    };
    check(json!({"sampling_percentage": -1}), "sampling_percentage: must not be negative");
    let small = "sampling_percentage: is too small to be told from 0";
    check(json!({"sampling_percentage": 1e-20}), small);
    check(json!({"sampling_percentage": 1e300}), "sampling_percentage: is not a percentage");
    check(json!({"sampling_precision": 0}), "sampling_precision: must be between 1 and 14");
    check(json!({"sampling_precision": 15}), "sampling_precision: must be between 1 and 14");
    check(
        json!({"mode": "tail"}),
        "mode: expected one of hash_seed, proportional, equalizing, got a string \"tail\"",
    );
    check(
        json!({"attribute_source": "log"}),
        "attribute_source: expected one of traceID, record, got a string \"log\"",
    );
}
