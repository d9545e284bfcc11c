use super::*;
use crate::wire::Writer;

/// A request with one record.
fn request(record: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.message(1, |entry| entry.message(2, |scope| scope.bytes(2, record)));
    writer.into_vec()
}

fn written(fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::new();
    fill(&mut writer);
    writer.into_vec()
}

#[track_caller]
fn layout(span: &[u8], expected: Layout) {
    let checked = check(Signal::Traces, &request(span)).unwrap();
    assert_eq!(checked, Checked { items: 1, layout: expected });
}

#[track_caller]
fn refused(signal: Signal, record: &[u8], expected: Malformed) {
    assert_eq!(check(signal, &request(record)), Err(expected));
}

#[test]
fn the_place_of_the_trace_id_is_noted() {
    let span = |order: &[u32]| {
        written(|span| {
            for number in order {
                match number {
                    1 => span.bytes(1, &[7; 16]),
                    5 => span.bytes(5, b"GET /"),
                    number => span.varint(*number, 1),
                }
            }
        })
    };
    layout(&span(&[1, 5, 6]), Layout::Leading);
    layout(&span(&[6, 5, 1]), Layout::Trailing);
    layout(&span(&[6, 1, 5]), Layout::Mixed);
    layout(&span(&[1, 5, 1]), Layout::Mixed);
    layout(&span(&[5, 6]), Layout::Mixed);
}

#[test]
fn a_tag_or_length_written_longer_than_needed_is_no_leading_id() {
    let long_tag = [&[0x8a, 0x00, 16], &[7; 16][..]].concat();
    layout(&long_tag, Layout::Mixed);
    let long_length = [&[0x0a, 0x90, 0x00], &[7; 16][..]].concat();
    layout(&long_length, Layout::Mixed);
}

#[test]
fn ids_of_odd_lengths_are_refused() {
    let bytes = |number, length| written(|record| record.bytes(number, &vec![7; length]));
    refused(Signal::Traces, &bytes(1, 15), Malformed::TraceIdLength(15));
    refused(Signal::Traces, &bytes(2, 16), Malformed::SpanIdLength(16));
    refused(Signal::Traces, &bytes(4, 7), Malformed::SpanIdLength(7));
    refused(Signal::Logs, &bytes(9, 8), Malformed::TraceIdLength(8));
    refused(Signal::Logs, &bytes(10, 1), Malformed::SpanIdLength(1));
}

/// What the check found, or found wrong, when every field was read in full.
fn read_in_full(record: &[u8]) -> Result<Layout, Malformed> {
    let (mut ids, mut at, mut leading, mut trailing) = (0, 0, false, false);
    let mut fields = Fields::new(record);
    for field in fields.by_ref() {
        check_type(&field, SPAN, "Span")?;
        let end = at + field.raw.len();
        match (field.number, field.value) {
            (1, Value::Bytes(id)) if !matches!(id.len(), 0 | 16) => {
                return Err(Malformed::TraceIdLength(id.len()));
            }
            (2 | 4, Value::Bytes(id)) if !matches!(id.len(), 0 | 8) => {
                return Err(Malformed::SpanIdLength(id.len()));
            }
            (1, _) => {
                ids += 1;
                let is_canonical = field.raw.len() == 18;
                leading = is_canonical && at == 0;
                trailing = is_canonical && end == record.len();
            }
            _ => {}
        }
        at = end;
    }
    match (fields.is_malformed(), ids, leading, trailing) {
        (true, ..) => Err(Malformed::Framing("Span")),
        (false, 1, true, _) => Ok(Layout::Leading),
        (false, 1, false, true) => Ok(Layout::Trailing),
        _ => Ok(Layout::Mixed),
    }
}

#[test]
fn passing_over_fields_finds_what_reading_them_does() {
    let seeds: [&[u8]; 6] = [
        &[0x0a, 16, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
        &[0x12, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0x22, 0],
        &[0x39, 1, 2, 3, 4, 5, 6, 7, 8, 0x85, 0x01, 1, 2, 3, 4, 0x30, 0x82, 0x01],
        &[0x4a, 3, 1, 2, 3, 0x4a, 0x83, 0x00, 1, 2, 3, 0x30, 1],
        &[0x6d, 1, 2, 3, 4, 0x7b, 0x08, 1, 0x7c],
        &[0x9a, 0x06, 1, 7],
    ];
    let check_one = |record: &[u8]| {
        let found = check(Signal::Traces, &request(record)).map(|checked| checked.layout);
        assert_eq!(found, read_in_full(record), "{record:?}");
    };
    for first in seeds {
        for second in seeds {
            let record = [first, second].concat();
            (0..=record.len()).for_each(|end| check_one(&record[..end]));
            for index in 0..record.len() {
                for byte in [0x00, 0x02, 0x08, 0x0a, 0x0c, 0x22, 0x7f, 0x80, 0xff] {
                    let mut changed = record.clone();
                    changed[index] = byte;
                    check_one(&changed);
                }
            }
        }
    }
}

#[test]
fn a_known_field_of_another_type_is_refused() {
    let varint = |number| written(|record| record.varint(number, 1));
    refused(Signal::Traces, &varint(5), Malformed::WireType("Span"));
    refused(Signal::Logs, &varint(1), Malformed::WireType("LogRecord"));
    refused(Signal::Metrics, &varint(12), Malformed::WireType("Metric"));
    let resource = written(|request| {
        request.message(1, |entry| entry.message(1, |resource| resource.bytes(2, b"")));
    });
    assert_eq!(check(Signal::Logs, &resource), Err(Malformed::WireType("Resource")));
}

#[test]
fn an_empty_request_is_one_without_items() {
    for signal in Signal::ALL {
        assert_eq!(check(signal, &[]), Ok(Checked { items: 0, layout: Layout::Mixed }));
    }
}

#[test]
fn metrics_are_counted_in_data_points() {
    let metric = |kinds: &[(u32, usize)]| {
        written(|metric| {
            metric.bytes(1, b"requests");
            for (kind, points) in kinds {
                metric.message(*kind, |data| {
                    (0..*points).for_each(|_| data.bytes(1, b""));
                });
            }
        })
    };
    let points = |kinds: &[(u32, usize)]| {
        let request = request(&metric(kinds));
        let items = check(Signal::Metrics, &request).unwrap().items;
        assert_eq!(items, count(Signal::Metrics, &request));
        items
    };
    assert_eq!(points(&[]), 0);
    assert_eq!(points(&[(7, 3)]), 3);
    assert_eq!(points(&[(7, 3), (7, 2)]), 5, "a message given twice is merged");
    assert_eq!(points(&[(7, 3), (9, 2)]), 2, "the last kind counts");
    assert_eq!(points(&[(7, 3), (9, 2), (7, 1)]), 1, "and what came before it is gone");
}

#[test]
fn data_points_are_checked_to_their_fields() {
    let metric =
        |kind, point: &[u8]| written(|metric| metric.message(kind, |data| data.bytes(1, point)));
    refused(Signal::Metrics, &metric(5, &[0x22]), Malformed::Framing("data point"));
    refused(Signal::Metrics, &metric(5, &[0x20, 1]), Malformed::WireType("data point"));
    let buckets = written(|point| point.bytes(6, &[0; 12]));
    refused(Signal::Metrics, &metric(9, &buckets), Malformed::Framing("data point"));
    let unpacked = written(|point| point.fixed64(6, 1));
    assert!(check(Signal::Metrics, &request(&metric(9, &unpacked))).is_ok());
}
