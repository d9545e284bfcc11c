//! Writes the same request differently: its fields in another order, unknown fields among them,
//! at every level.

use shared::Signal;
use shared::wire::{Fields, Writer};

use crate::requests::Source;

/// In which order the fields of a message stand. Those of one number keep theirs: it has a meaning.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Order {
    /// As SDKs write them.
    Ascending,
    /// As the Collector writes them.
    Descending,
    Shuffled,
}

/// Which fields of a message are messages.
type Messages = &'static [(u32, &'static Shape)];

struct Shape(Messages);

static TRACES: Shape = Shape(&[(1, &Shape(&[(1, &RESOURCE), (2, &SCOPE_SPANS)]))]);
static SCOPE_SPANS: Shape = Shape(&[(1, &SCOPE), (2, &SPAN)]);
static SPAN: Shape = Shape(&[(9, &KEY_VALUE), (11, &EVENT), (13, &LINK), (15, &LEAF)]);
static EVENT: Shape = Shape(&[(3, &KEY_VALUE)]);
static LINK: Shape = Shape(&[(4, &KEY_VALUE)]);
static LOGS: Shape = Shape(&[(1, &Shape(&[(1, &RESOURCE), (2, &SCOPE_LOGS)]))]);
static SCOPE_LOGS: Shape = Shape(&[(1, &SCOPE), (2, &LOG_RECORD)]);
static LOG_RECORD: Shape = Shape(&[(5, &ANY_VALUE), (6, &KEY_VALUE)]);
static METRICS: Shape = Shape(&[(1, &Shape(&[(1, &RESOURCE), (2, &SCOPE_METRICS)]))]);
static SCOPE_METRICS: Shape = Shape(&[(1, &SCOPE), (2, &METRIC)]);
static METRIC: Shape = Shape(&[
    (5, &Shape(&[(1, &NUMBER)])),
    (7, &Shape(&[(1, &NUMBER)])),
    (9, &Shape(&[(1, &HISTOGRAM)])),
    (10, &Shape(&[(1, &EXPONENTIAL)])),
    (11, &Shape(&[(1, &SUMMARY)])),
    (12, &KEY_VALUE),
]);
static NUMBER: Shape = Shape(&[(5, &EXEMPLAR), (7, &KEY_VALUE)]);
static HISTOGRAM: Shape = Shape(&[(8, &EXEMPLAR), (9, &KEY_VALUE)]);
static EXPONENTIAL: Shape = Shape(&[(1, &KEY_VALUE), (8, &LEAF), (9, &LEAF), (11, &EXEMPLAR)]);
static SUMMARY: Shape = Shape(&[(6, &LEAF), (7, &KEY_VALUE)]);
static EXEMPLAR: Shape = Shape(&[(7, &KEY_VALUE)]);
static RESOURCE: Shape = Shape(&[(1, &KEY_VALUE), (3, &LEAF)]);
static SCOPE: Shape = Shape(&[(3, &KEY_VALUE)]);
static KEY_VALUE: Shape = Shape(&[(2, &ANY_VALUE)]);
static ANY_VALUE: Shape =
    Shape(&[(5, &Shape(&[(1, &ANY_VALUE)])), (6, &Shape(&[(1, &KEY_VALUE)]))]);
static LEAF: Shape = Shape(&[]);

/// Writes `request` again with its fields in `order`, and with unknown fields where `source` says.
pub(crate) fn disturbed(
    signal: Signal,
    request: &[u8],
    order: Order,
    source: &mut Source<'_>,
) -> Vec<u8> {
    let shape = match signal {
        Signal::Traces => &TRACES,
        Signal::Metrics => &METRICS,
        Signal::Logs => &LOGS,
    };
    rewritten(shape, request, order, source)
}

fn rewritten(shape: &Shape, message: &[u8], order: Order, source: &mut Source<'_>) -> Vec<u8> {
    let mut fields: Vec<(u32, Vec<u8>)> = Vec::new();
    for field in Fields::new(message) {
        let nested = shape.0.iter().find(|(number, _)| *number == field.number);
        let raw = match (nested, field.value.bytes()) {
            (Some((number, shape)), Some(content)) => {
                let mut writer = Writer::new();
                writer.bytes(*number, &rewritten(shape, content, order, source));
                writer.into_vec()
            }
            _ => field.raw.to_vec(),
        };
        fields.push((field.number, raw));
    }
    for _ in 0..source.below(3) {
        fields.push(unknown_field(source));
    }
    match order {
        Order::Ascending => fields.sort_by_key(|(number, _)| *number),
        Order::Descending => fields.sort_by_key(|(number, _)| std::cmp::Reverse(*number)),
        Order::Shuffled => {
            let ranks: Vec<usize> = (0..31).map(|_| source.below(256)).collect();
            fields.sort_by_key(|(number, _)| ranks[*number as usize % 31]);
        }
    }
    fields.into_iter().flat_map(|(_, raw)| raw).collect()
}

/// A field of a number that no message has, of any wire type.
fn unknown_field(source: &mut Source<'_>) -> (u32, Vec<u8>) {
    let number = [100, 2_000, 536_870_911][source.below(3)];
    let mut writer = Writer::new();
    match source.below(5) {
        0 => writer.varint(number, u64::MAX),
        1 => writer.fixed64(number, 1),
        2 => writer.bytes(number, b"later version"),
        3 => writer.fixed32(number, 2),
        _ => {
            let tag = |wire_type: u64| {
                let mut varint = Vec::new();
                shared::wire::write::put_varint(&mut varint, u64::from(number) << 3 | wire_type);
                varint
            };
            let (start, end) = (tag(3), tag(4));
            writer.raw(&start);
            writer.bytes(7, b"in a group");
            writer.raw(&[0x0b, 0x10, 0x01, 0x0c]); // a group in the group
            writer.raw(&end);
        }
    }
    (number, writer.into_vec())
}
