//! Properties of the wire code on arbitrary requests and arbitrary bytes, with the generated OTLP
//! types as the oracle.

mod disturb;
mod edits;
mod oracle;
mod properties;
mod requests;

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use proptest::collection::vec;
use proptest::prelude::*;
use shared::wire::{
    self, Attributes, Empties, Fields, Layout, LogRecord, Malformed, Span, check, json,
};
use shared::wire::{ResourceEntry, ScopeEntry};
use shared::{Batch, Signal};

use disturb::{Order, disturbed};
use oracle::Request;
use requests::Source;

fn signals() -> impl Strategy<Value = Signal> {
    prop::sample::select(Signal::ALL.to_vec())
}

fn orders() -> impl Strategy<Value = Order> {
    prop::sample::select(vec![Order::Ascending, Order::Descending, Order::Shuffled])
}

/// Bytes to build requests from.
fn seeds() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..2_000)
}

/// A request, and its bytes in some order with unknown fields at all levels.
fn requests(signal: Signal) -> impl Strategy<Value = (Request, Vec<u8>)> {
    (seeds(), seeds(), orders()).prop_map(move |(seed, noise, order)| {
        let request = Source::new(&seed).request(signal);
        let bytes = disturbed(signal, &request.encode(), order, &mut Source::new(&noise));
        (request, bytes)
    })
}

fn any_requests() -> impl Strategy<Value = (Signal, Request, Vec<u8>)> {
    signals().prop_flat_map(|signal| {
        requests(signal).prop_map(move |(request, bytes)| (signal, request, bytes))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_request_is_accepted_and_counted_as_it_is_decoded((signal, request, bytes) in any_requests()) {
        let decoded = Request::decode(signal, &bytes).unwrap();
        prop_assert_eq!(decoded.encode(), request.encode()); // NaN is not equal to itself
        prop_assert_eq!(check(signal, &bytes).unwrap().items, request.items());
        properties::check_and_read(&bytes);
    }

    #[test]
    fn spans_are_read_as_they_are_decoded((request, bytes) in requests(Signal::Traces)) {
        let layout = check(Signal::Traces, &bytes).unwrap().layout;
        for (raw, expected) in records(&bytes).zip(request.spans()) {
            let span = Span::read(raw);
            prop_assert_eq!(wire::span::trace_id(raw, layout), &expected.trace_id);
            prop_assert_eq!(span.name, expected.name.as_bytes());
            let code = expected.status.as_ref().map_or(0, |status| status.code);
            let code = if matches!(code, 1 | 2) { code } else { 0 };
            prop_assert_eq!(span.status_code() as i32, code);
            same_attributes(span.attributes(), &expected.attributes);
        }
    }

    #[test]
    fn log_records_are_read_as_they_are_decoded((request, bytes) in requests(Signal::Logs)) {
        let Request::Logs(request) = request else { unreachable!("logs were asked for") };
        let scopes = request.resource_logs.iter().flat_map(|entry| &entry.scope_logs);
        for (raw, expected) in records(&bytes).zip(scopes.flat_map(|scope| &scope.log_records)) {
            let record = LogRecord::read(raw);
            prop_assert_eq!(record.time_ns, expected.time_unix_nano);
            prop_assert_eq!(record.observed_ns, expected.observed_time_unix_nano);
            prop_assert_eq!(properties::low_half(record.severity_number), expected.severity_number);
            prop_assert_eq!(record.severity_text, expected.severity_text.as_bytes());
            prop_assert_eq!(record.trace_id, &expected.trace_id);
            prop_assert_eq!(wire::log::trace_id(raw), &expected.trace_id);
            prop_assert_eq!(record.span_id, &expected.span_id);
            prop_assert_eq!(record.event_name, expected.event_name.as_bytes());
            prop_assert_eq!(record.flags, expected.flags);
            same_value(record.body(), expected.body.as_ref());
            same_attributes(record.attributes(), &expected.attributes);
        }
    }

    #[test]
    fn regrouping_keeps_every_record_with_its_resource_and_scope((_, _, bytes) in any_requests()) {
        properties::regrouped(&bytes);
    }

    #[test]
    fn rewriting_changes_what_it_is_told_to((_, _, bytes) in any_requests()) {
        properties::rewritten(&bytes);
    }

    #[test]
    fn rewriting_is_decoded_as_changing_what_was_decoded(
        (signal, _, bytes) in any_requests(),
        choices in vec(any::<u8>(), 1..50),
        empties in prop::sample::select(vec![Empties::Keep, Empties::Drop]),
    ) {
        let batch = Batch::parse(signal, bytes.into()).unwrap();
        let mut decoded = Request::decode(signal, batch.bytes()).unwrap();
        let mut editor = edits::Edits::new(signal, &choices);
        let rewritten = batch.rewrite(empties, &mut editor);
        edits::apply(&mut decoded, &choices, empties);
        let read = Request::decode(signal, rewritten.bytes()).unwrap();
        prop_assert_eq!(read.encode(), decoded.encode());
        prop_assert_eq!(rewritten.items(), decoded.items());
        let parsed = Batch::parse(signal, rewritten.bytes().clone()).unwrap();
        prop_assert_eq!(parsed, rewritten);
    }

    #[test]
    fn metrics_cut_by_point_keep_every_point_as_others_decode_it((_, bytes) in requests(Signal::Metrics)) {
        properties::regrouped_by_point(&bytes);
        let batch = Batch::parse(Signal::Metrics, bytes.into()).unwrap();
        let mut points = Vec::new();
        for (_, part) in batch.regroup_points(&mut properties::ByLength) {
            let decoded = Request::decode(Signal::Metrics, part.bytes()).unwrap();
            prop_assert_eq!(decoded.items(), part.items());
            points.extend(decoded.points());
        }
        let mut expected = Request::decode(Signal::Metrics, batch.bytes()).unwrap().points();
        points.sort();
        expected.sort();
        prop_assert_eq!(points, expected);
    }

    #[test]
    fn parts_are_decoded_by_others((signal, request, bytes) in any_requests()) {
        let batch = Batch::parse(signal, bytes.into()).unwrap();
        let parts = batch.regroup(|record| batch.trace_id(record).first().copied());
        let mut items = 0;
        for (_, part) in parts {
            items += Request::decode(signal, part.bytes()).unwrap().items();
            let parsed = Batch::parse(signal, part.bytes().clone()).unwrap();
            prop_assert_eq!(parsed.items(), part.items());
        }
        prop_assert_eq!(items, request.items());
    }

    #[test]
    fn a_request_cut_off_is_refused((signal, _, bytes) in any_requests(), at in any::<prop::sample::Index>()) {
        let cut = at.index(bytes.len() + 1);
        let mut end = 0;
        let mut ends = Fields::new(&bytes).map(|field| { end += field.raw.len(); end });
        let between_entries = cut == 0 || ends.any(|end| end == cut);
        let result = check(signal, &bytes[..cut]);
        prop_assert_eq!(result.is_ok(), between_entries);
        if !between_entries {
            prop_assert_eq!(result, Err(Malformed::Framing("ExportServiceRequest")));
        }
    }

    #[test]
    fn damaged_requests_do_no_harm((_, _, bytes) in any_requests(), damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut bytes = bytes;
        for (at, byte) in damage {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        properties::check_and_read(&bytes);
        properties::regrouped(&bytes);
        properties::regrouped_by_point(&bytes);
        properties::rewritten(&bytes);
        properties::json_both_ways(&bytes);
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..200)) {
        properties::check_and_read(&bytes);
        properties::regrouped(&bytes);
        properties::regrouped_by_point(&bytes);
        properties::rewritten(&bytes);
        properties::json_both_ways(&bytes);
    }

    #[test]
    fn json_and_back_is_the_same_request((signal, request, bytes) in any_requests()) {
        let mut text = Vec::new();
        json::encode(signal, &bytes, &mut text).unwrap();
        let back = json::decode(signal, &text).unwrap();
        prop_assert_eq!(Request::decode(signal, &back).unwrap().encode(), request.encode());
    }

    #[test]
    fn json_of_others_is_the_same_request(signal in signals(), seed in seeds()) {
        // Their writer turns NaN and infinities into null here and there.
        let request = Source::finite(&seed).request(signal);
        let text = match &request {
            Request::Traces(request) => serde_json::to_vec(request),
            Request::Metrics(request) => serde_json::to_vec(request),
            Request::Logs(request) => serde_json::to_vec(request),
        };
        let back = json::decode(signal, &text.unwrap()).unwrap();
        prop_assert_eq!(Request::decode(signal, &back).unwrap().encode(), request.encode());
    }

    #[test]
    fn damaged_json_does_no_harm((signal, _, bytes) in any_requests(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut text = Vec::new();
        json::encode(signal, &bytes, &mut text).unwrap();
        let at = at.index(text.len());
        text[at] = byte;
        properties::json_both_ways(&text);
    }
}

#[test]
fn the_layout_of_both_kinds_of_encoders_is_seen() {
    let seed: Vec<u8> = [1, 0, 1, 0, 1, 1, 7, 1].into_iter().chain([0; 90]).collect();
    let request = Source::new(&seed).request(Signal::Traces);
    assert_eq!(request.items(), 1);
    for (order, expected) in
        [(Order::Ascending, Layout::Leading), (Order::Descending, Layout::Trailing)]
    {
        let bytes = disturbed(Signal::Traces, &request.encode(), order, &mut Source::new(&[]));
        assert_eq!(check(Signal::Traces, &bytes).unwrap().layout, expected);
    }
}

fn records(request: &[u8]) -> impl Iterator<Item = &[u8]> {
    wire::resources(request).flat_map(ResourceEntry::scopes).flat_map(ScopeEntry::records)
}

#[track_caller]
fn same_attributes<'a>(
    read: impl Iterator<Item = (&'a [u8], wire::AnyValue<'a>)>,
    expected: &[KeyValue],
) {
    let read: Vec<_> = read.collect();
    assert_eq!(read.len(), expected.len());
    for ((key, value), expected) in read.into_iter().zip(expected) {
        assert_eq!(key, expected.key.as_bytes());
        same_value(value, expected.value.as_ref());
    }
}

#[track_caller]
fn same_value(read: wire::AnyValue<'_>, expected: Option<&AnyValue>) {
    use any_value::Value;
    use wire::AnyValue as Read;
    match (read, expected.and_then(|expected| expected.value.as_ref())) {
        (Read::Empty, None) => {}
        (Read::String(read), Some(Value::StringValue(text))) => assert_eq!(read, text.as_bytes()),
        (Read::Bool(read), Some(Value::BoolValue(flag))) => assert_eq!(read, *flag),
        (Read::Int(read), Some(Value::IntValue(number))) => assert_eq!(read, *number),
        (Read::Double(read), Some(Value::DoubleValue(number))) => {
            assert_eq!(read.to_bits(), number.to_bits());
        }
        (Read::Bytes(read), Some(Value::BytesValue(bytes))) => assert_eq!(read, bytes),
        (Read::Array(read), Some(Value::ArrayValue(array))) => {
            let read: Vec<_> = wire::AnyValue::elements(read).collect();
            assert_eq!(read.len(), array.values.len());
            for (read, expected) in read.into_iter().zip(&array.values) {
                same_value(read, Some(expected));
            }
        }
        (Read::KeyValues(read), Some(Value::KvlistValue(list))) => {
            same_attributes(Attributes::of_list(read), &list.values);
        }
        (read, expected) => unreachable!("{read:?} was read, {expected:?} expected"),
    }
}
