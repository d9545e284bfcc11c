//! What holds for any bytes at all. The fuzz targets run these very functions.

use std::hint::black_box;

use shared::Signal;
use shared::wire::metric::{
    ExponentialHistogramDataPoint, HistogramDataPoint, NumberDataPoint, SummaryDataPoint,
};
use shared::wire::span::trace_id;
use shared::wire::{
    AnyValue, Attributes, Change, DataKind, Editor, Empties, Field, Fields, Grouping, Head, Layout,
    LogRecord, Malformed, Metric, ResourceEntry, ScopeEntry, Span, Temporality, Value, Visit,
    Writer, check, count, json, regroup, regroup_indexed, regroup_points, regroup_resources,
    resources, rewrite,
};

use crate::oracle::Request;

/// Readers end on any bytes. The check agrees with a full decoder but for what its documentation
/// leaves out, and what both accept is read as the decoder reads it.
pub(crate) fn check_and_read(bytes: &[u8]) {
    read_everything(bytes);
    for signal in Signal::ALL {
        match (check(signal, bytes), Request::decode(signal, bytes)) {
            (Ok(checked), Ok(decoded)) => {
                assert_eq!(checked.items, decoded.items());
                assert_eq!(checked.items, count(signal, bytes));
                spans_are_read_as_decoded(bytes, checked.layout, &decoded);
            }
            (Ok(_), Err(error)) => {
                let error = error.to_string();
                assert!(lies_deeper(&error), "accepted, but: {error}");
            }
            (Err(Malformed::TraceIdLength(_) | Malformed::SpanIdLength(_)), Ok(_))
            | (Err(_), Err(_)) => {}
            (Err(error), Ok(_)) => {
                // Of nested groups the decoder allows 100 levels, the check 64.
                let groups = bytes.iter().filter(|byte| **byte & 7 == 3).count();
                assert!(groups > 64, "refused, but it can be decoded: {error}");
            }
        }
    }
}

/// Every record is in exactly one part, with its own bytes and its entries' other fields; parts
/// of a request are requests.
pub(crate) fn regrouped(bytes: &[u8]) {
    let key = |span: &[u8]| <[u8; 16]>::try_from(trace_id(span, Layout::Mixed)).ok();
    let by_trace = regroup(bytes, key);
    for part in &by_trace {
        assert!(rows(&part.request).iter().all(|row| key(row.record) == part.key));
    }
    let parts = by_trace.into_iter().map(|part| (part.request, part.records));
    every_record_is_kept(bytes, &parts.collect::<Vec<_>>());

    let by_length = regroup_indexed(bytes, |record| record.len() % 5);
    for part in &by_length {
        assert!(rows(&part.request).iter().all(|row| row.record.len() % 5 == part.key));
    }
    let parts = by_length.into_iter().map(|part| (part.request, part.records));
    every_record_is_kept(bytes, &parts.collect::<Vec<_>>());

    let by_resource = regroup_resources(bytes, |entry| entry.content.len() % 3);
    let parts = by_resource.into_iter().map(|part| (part.request, part.records));
    every_record_is_kept(bytes, &parts.collect::<Vec<_>>());
}

/// Groups data points by their length.
pub(crate) struct ByLength;

impl<'a> Grouping<'a> for ByLength {
    fn group(&mut self, point: &'a [u8]) -> usize {
        point.len() % 3
    }
}

/// Every data point is in exactly one part, with its own bytes and all of its metric, scope and
/// resource; parts of a request are requests.
pub(crate) fn regrouped_by_point(bytes: &[u8]) {
    let parts = regroup_points(bytes, &mut ByLength);
    let mut kept = Vec::new();
    for part in &parts {
        assert_eq!(part.request.len(), part.request.capacity());
        let rows = point_rows(&part.request);
        assert!(rows.iter().all(|row| row.point.len() % 3 == part.key));
        assert_eq!(
            (rows.len(), count(Signal::Metrics, &part.request)),
            (part.records, part.records)
        );
        assert!(part.records > 0);
        if check(Signal::Metrics, bytes).is_ok() {
            assert!(check(Signal::Metrics, &part.request).is_ok());
        }
        kept.extend(rows);
    }
    let mut expected = point_rows(bytes);
    kept.sort();
    expected.sort();
    assert_eq!(kept, expected);
}

/// Leaves out, replaces and keeps records by their length, and marks some scopes and resources.
struct ByRest;

const MARK: u32 = 1_000;

impl<'a> Editor<'a> for ByRest {
    fn enter_resource(&mut self, entry: ResourceEntry<'a>) -> Visit {
        match entry.content.len() % 7 {
            0 => Visit::Over,
            1 => Visit::Drop,
            _ => Visit::Into,
        }
    }

    fn record(&mut self, record: &'a [u8], new: &mut Writer) -> Change {
        match record.len() % 3 {
            0 => Change::Keep,
            1 => Change::Drop,
            _ => {
                new.raw(record);
                new.varint(MARK, 1);
                Change::Replace
            }
        }
    }

    fn leave_resource(&mut self, head: &mut Head) {
        head.replace().varint(MARK, 2);
    }
}

/// Keeps everything.
struct Keep;

impl Editor<'_> for Keep {}

/// Rewriting changes what it is told to change and nothing else.
pub(crate) fn rewritten(bytes: &[u8]) {
    let has_one_head = |content| messages(content, 1) < 2;
    let are_plain = resources(bytes).all(|entry| {
        has_one_head(entry.content) && entry.scopes().all(|scope| has_one_head(scope.content))
    });
    for empties in [Empties::Keep, Empties::Drop] {
        let kept = rewrite(bytes, empties, &mut Keep);
        if are_plain && empties == Empties::Keep {
            assert_eq!(kept, None);
        } else if let Some(kept) = kept
            && are_plain
        {
            assert_eq!(rows(&kept), rows(bytes));
        }
        let Some(new) = rewrite(bytes, empties, &mut ByRest) else { continue };
        let mut mark = Writer::new();
        mark.varint(MARK, 1);
        let mut expected = Vec::new();
        for entry in resources(bytes).filter(|entry| entry.content.len() % 7 != 1) {
            for record in entry.scopes().flat_map(ScopeEntry::records) {
                match record.len() % 3 {
                    _ if entry.content.len().is_multiple_of(7) => expected.push(record.to_vec()),
                    0 => expected.push(record.to_vec()),
                    1 => {}
                    _ => expected.push([record, mark.as_slice()].concat()),
                }
            }
        }
        let records: Vec<_> = rows(&new).iter().map(|row| row.record.to_vec()).collect();
        assert_eq!(records, expected);
        assert!(resources(&new).all(|entry| messages(entry.content, 1) == 1));
        for signal in Signal::ALL {
            // A mark behind the end of a record whose framing is broken does not mend it.
            assert!(check(signal, bytes).is_err() || check(signal, &new).is_ok());
        }
    }
}

fn messages(message: &[u8], number: u32) -> usize {
    let is_message = |field: &Field<'_>| field.number == number && field.value.bytes().is_some();
    Fields::new(message).filter(is_message).count()
}

/// What is read from JSON is a request, and writing it comes to a rest; a request is written as
/// JSON that can be read, whatever its fields hold.
pub(crate) fn json_both_ways(bytes: &[u8]) {
    for signal in Signal::ALL {
        if let Ok(request) = json::decode(signal, bytes) {
            assert!(check(signal, &request).is_ok());
            let written = encoded(signal, &request).expect("what was read can be written");
            let again = json::decode(signal, &written).expect("what was written can be read");
            assert_eq!(encoded(signal, &again), Some(written));
        }
        if check(signal, bytes).is_err() {
            continue;
        }
        let Some(written) = encoded(signal, bytes) else { continue };
        if let Err(error) = json::decode(signal, &written) {
            // The check does not look at the ids of links and exemplars.
            let id = error.path.ends_with("raceId") || error.path.ends_with("panId");
            assert!(id && error.reason.contains("hex digits"), "{error}");
        }
    }
}

fn encoded(signal: Signal, request: &[u8]) -> Option<Vec<u8>> {
    let mut written = Vec::new();
    json::encode(signal, request, &mut written).ok().map(|()| written)
}

/// Whether a decoder's error lies below what the check looks at, or in text.
fn lies_deeper(error: &str) -> bool {
    const BELOW: [&str; 11] = [
        "attributes",
        "entity_refs",
        "events",
        "links",
        "status",
        "body",
        "metadata",
        "exemplars",
        "positive",
        "negative",
        "quantile_values",
    ];
    let below = BELOW.iter().any(|field| error.contains(&format!(".{field}: ")));
    below || error.contains("UTF-8") || error.contains("recursion limit")
}

fn spans_are_read_as_decoded(bytes: &[u8], layout: Layout, decoded: &Request) {
    for (row, expected) in rows(bytes).iter().zip(decoded.spans()) {
        let span = Span::read(row.record);
        assert_eq!(trace_id(row.record, layout), expected.trace_id);
        assert_eq!(span.trace_id, expected.trace_id);
        assert_eq!(span.span_id, expected.span_id);
        assert_eq!(span.parent_span_id, expected.parent_span_id);
        assert_eq!(span.trace_state, expected.trace_state.as_bytes());
        assert_eq!(span.name, expected.name.as_bytes());
        assert_eq!(low_half(span.kind), expected.kind);
        assert_eq!(span.start_ns, expected.start_time_unix_nano);
        assert_eq!(span.end_ns, expected.end_time_unix_nano);
        assert_eq!(span.flags, expected.flags);
        assert_eq!(span.attributes().count(), expected.attributes.len());
        assert_eq!(span.events().count(), expected.events.len());
    }
}

/// An enum as decoders see it: 32 bits, whatever is above them.
#[allow(clippy::cast_possible_truncation, reason = "that is what a decoder does")]
pub(crate) fn low_half(number: u64) -> i32 {
    number as i32
}

/// A record with what it must not lose: the other fields of its resource and scope entry.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row<'a> {
    resource: Vec<&'a [u8]>,
    scope: Vec<&'a [u8]>,
    record: &'a [u8],
}

/// A data point with what it must not lose.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct PointRow<'a> {
    resource: Vec<&'a [u8]>,
    scope: Vec<&'a [u8]>,
    /// The fields of the metric that are not data.
    metric: Vec<&'a [u8]>,
    data: (Option<u32>, u64, bool),
    point: &'a [u8],
}

fn point_rows(request: &[u8]) -> Vec<PointRow<'_>> {
    let mut points = Vec::new();
    for Row { resource, scope, record } in rows(request) {
        let metric = Metric::read(record);
        let is_data = |number, value: Value<'_>| {
            matches!(number, 5 | 7 | 9 | 10 | 11) && value.bytes().is_some()
        };
        let fields = Fields::new(record).filter(|field| !is_data(field.number, field.value));
        let fields: Vec<_> = fields.map(|field| field.raw).collect();
        let temporality = Temporality::number(metric.temporality);
        points.extend(metric.points().map(|point| PointRow {
            resource: resource.clone(),
            scope: scope.clone(),
            metric: fields.clone(),
            data: (metric.kind.map(DataKind::field), temporality, metric.monotonic),
            point,
        }));
    }
    points
}

fn rows(request: &[u8]) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for entry in resources(request) {
        for scope in entry.scopes() {
            rows.extend(scope.records().map(|record| Row {
                resource: header(entry.content),
                scope: header(scope.content),
                record,
            }));
        }
    }
    rows
}

fn header(entry: &[u8]) -> Vec<&[u8]> {
    let nested = |value| matches!(value, Value::Bytes(_));
    Fields::new(entry)
        .filter(|field| field.number != 2 || !nested(field.value))
        .map(|field| field.raw)
        .collect()
}

/// Compares the records of `request` with those of its parts and their counts.
fn every_record_is_kept(request: &[u8], parts: &[(Vec<u8>, usize)]) {
    let mut kept = Vec::new();
    for (part, records) in parts {
        let rows = rows(part);
        assert!(*records > 0);
        assert_eq!(rows.len(), *records);
        kept.extend(rows);
    }
    let mut expected = rows(request);
    expected.sort();
    kept.sort();
    assert_eq!(kept, expected);

    let joined: Vec<u8> = parts.iter().flat_map(|(part, _)| part.iter().copied()).collect();
    for signal in Signal::ALL {
        if let Ok(checked) = check(signal, request) {
            let items = |part: &[u8]| check(signal, part).expect("a part is a request").items;
            assert_eq!(items(&joined), checked.items);
            assert_eq!(parts.iter().map(|(part, _)| items(part)).sum::<usize>(), checked.items);
        }
    }
}

/// Calls every reader, on what a request holds and on the bytes themselves.
fn read_everything(bytes: &[u8]) {
    for entry in resources(bytes) {
        entry.resource().attributes().for_each(|(_, value)| read_value(value, 0));
        entry.resource().attribute(b"service.name");
        entry.schema_url();
        for scope in entry.scopes() {
            black_box((scope.name(), scope.version(), scope.schema_url()));
            scope.attributes().for_each(|(_, value)| read_value(value, 0));
            scope.records().for_each(read_record);
        }
    }
    read_record(bytes);
    read_value(AnyValue::read(bytes), 0);
    json::decode(Signal::Traces, bytes).ok();
}

fn read_record(record: &[u8]) {
    for layout in [Layout::Leading, Layout::Trailing, Layout::Mixed] {
        trace_id(record, layout);
    }
    let span = Span::read(record);
    black_box((span.status_code(), span.is_root(), span.duration_ns()));
    span.attributes().for_each(|(_, value)| read_value(value, 0));
    span.events().for_each(read_record_attributes);
    let log = LogRecord::read(record);
    read_value(log.body(), 0);
    log.attributes().for_each(|(_, value)| read_value(value, 0));
    let metric = Metric::read(record);
    for point in metric.points() {
        read_point(metric.kind, point);
    }
}

fn read_record_attributes(event: &[u8]) {
    Attributes::new(event, 3).for_each(|(_, value)| read_value(value, 0));
}

fn read_point(kind: Option<DataKind>, point: &[u8]) {
    match kind {
        None => unreachable!("a metric without a kind has no points"),
        Some(DataKind::Gauge | DataKind::Sum) => {
            NumberDataPoint::read(point).attributes().for_each(drop);
        }
        Some(DataKind::Histogram) => {
            let point = HistogramDataPoint::read(point);
            black_box((point.bucket_counts().count(), point.explicit_bounds().count()));
        }
        Some(DataKind::ExponentialHistogram) => {
            let point = ExponentialHistogramDataPoint::read(point);
            black_box((point.positive.counts().count(), point.negative.counts().count()));
        }
        Some(DataKind::Summary) => {
            SummaryDataPoint::read(point).quantiles().for_each(drop);
        }
    }
}

fn read_value(value: AnyValue<'_>, depth: usize) {
    match value {
        _ if depth == 20 => {}
        AnyValue::Array(array) => {
            AnyValue::elements(array).for_each(|value| read_value(value, depth + 1));
        }
        AnyValue::KeyValues(list) => {
            Attributes::of_list(list).for_each(|(_, value)| read_value(value, depth + 1));
        }
        _ => {}
    }
}
