//! Cuts a batch into pieces of a limited size.
//!
//! Records keep their order, and each piece repeats the headers of the resource and scope entries
//! that its records stand in. A metric with more data points than a piece may hold is cut between
//! its points. A single record that is larger than a piece becomes a piece alone.

use crate::batch::Batch;
use crate::wire::export::resources;
use crate::wire::write::varint_len;
use crate::wire::{
    DataKind, Field, Fields, Metric, ResourceEntry, ScopeEntry, Signal, Value, Writer,
    regroup_indexed,
};

use super::Sizer;

/// Cuts `batch` into a first piece of at most `first` and others of at most `rest`, in the unit of
/// `sizer`. There is no first piece when not even one record fits.
///
/// `rest` must not be 0. Sizes in bytes are estimated from above, by a few bytes an entry.
pub fn split(
    batch: &Batch,
    first: usize,
    rest: usize,
    sizer: Sizer,
) -> (Option<Batch>, Vec<Batch>) {
    if sizer.measure(batch) <= first {
        return (Some(batch.clone()), Vec::new());
    }
    let mut request = batch.bytes().clone();
    if sizer == Sizer::Items && batch.signal() == Signal::Metrics {
        let largest = largest_metric(&request);
        if largest > rest {
            request = cut_metrics(&request, rest).into();
        }
    }
    let plan = plan(batch.signal(), &request, first, rest, sizer);
    let mut groups = plan.groups.into_iter();
    let parts = regroup_indexed(&request, |_| groups.next().unwrap_or_default());
    let (mut head, mut tail) = (None, Vec::with_capacity(parts.len()));
    for part in parts {
        let piece = batch.part(part.request.into(), plan.items[part.key]);
        match part.key {
            0 => head = Some(piece),
            _ => tail.push(piece),
        }
    }
    (head, tail)
}

/// Which piece each record goes to, and the items of each piece.
struct Plan {
    groups: Vec<usize>,
    items: Vec<usize>,
}

fn plan(signal: Signal, request: &[u8], first: usize, rest: usize, sizer: Sizer) -> Plan {
    let mut plan = Plan { groups: Vec::new(), items: vec![0] };
    let (mut used, mut limit) = (0, first);
    for entry in resources(request) {
        let mut entry_open = false;
        for scope in entry.scopes() {
            let mut scope_open = false;
            for record in scope.records() {
                let items = item_count(signal, record);
                let size = match sizer {
                    Sizer::Requests => 1,
                    Sizer::Items => items,
                    Sizer::Bytes => framed(record.len()),
                };
                let headers = |entry_open: bool, scope_open: bool| match sizer {
                    Sizer::Bytes => {
                        (if entry_open { 0 } else { header_size(entry.content) })
                            + (if scope_open { 0 } else { header_size(scope.content) })
                    }
                    _ => 0,
                };
                let mut needed = size + headers(entry_open, scope_open);
                if used + needed > limit {
                    // The first piece may stay empty; every other one takes at least this record.
                    plan.items.push(0);
                    (used, limit) = (0, rest);
                    needed = size + headers(false, false);
                }
                (entry_open, scope_open) = (true, true);
                used += needed.max(1);
                let group = plan.items.len() - 1;
                plan.items[group] += items;
                plan.groups.push(group);
            }
        }
    }
    plan
}

/// Bytes of an entry without its nested entries, with room for its own tag and length.
fn header_size(entry: &[u8]) -> usize {
    let nested = |number: u32, value: Value<'_>| number == 2 && matches!(value, Value::Bytes(_));
    let header: usize = Fields::new(entry)
        .filter(|field| !nested(field.number, field.value))
        .map(|field| field.raw.len())
        .sum();
    header + 1 + varint_len(u64::from(u32::MAX))
}

/// Bytes of a message with its tag and length.
fn framed(length: usize) -> usize {
    1 + varint_len(length as u64) + length
}

fn data_points(metric: &[u8]) -> usize {
    Metric::read(metric).points().count()
}

/// Spans, data points or log records in one record.
fn item_count(signal: Signal, record: &[u8]) -> usize {
    match signal {
        Signal::Traces | Signal::Logs => 1,
        Signal::Metrics => data_points(record),
    }
}

fn largest_metric(request: &[u8]) -> usize {
    resources(request)
        .flat_map(ResourceEntry::scopes)
        .flat_map(ScopeEntry::records)
        .map(data_points)
        .max()
        .unwrap_or_default()
}

/// The same request with each metric of more than `most` points written as several of that name.
fn cut_metrics(request: &[u8], most: usize) -> Vec<u8> {
    let mut output = Writer::with_capacity(request.len() + request.len() / 8);
    for entry in resources(request) {
        output.message(1, |output| {
            for field in Fields::new(entry.content) {
                match (field.number, field.value) {
                    (2, Value::Bytes(scope)) => {
                        output.message(2, |output| cut_scope(scope, most, output));
                    }
                    _ => output.raw(field.raw),
                }
            }
        });
    }
    output.into_vec()
}

fn cut_scope(scope: &[u8], most: usize, output: &mut Writer) {
    for field in Fields::new(scope) {
        match (field.number, field.value) {
            (2, Value::Bytes(metric)) if data_points(metric) > most => {
                cut_metric(metric, most, output);
            }
            _ => output.raw(field.raw),
        }
    }
}

/// Writes a metric as several records of at most `most` points each.
fn cut_metric(raw: &[u8], most: usize, output: &mut Writer) {
    let metric = Metric::read(raw);
    let Some(number) = metric.kind.map(DataKind::field) else { return output.bytes(2, raw) };
    let is_data = |field: &Field<'_>| field.number == number;
    let points: Vec<_> = metric.points().collect();
    for points in points.chunks(most) {
        output.message(2, |output| {
            for field in Fields::new(raw).filter(|field| !is_data(field)) {
                output.raw(field.raw);
            }
            output.message(number, |output| {
                let data = Fields::new(raw).filter(is_data).filter_map(|field| field.value.bytes());
                for field in data.flat_map(Fields::new).filter(|field| !is_point(field)) {
                    output.raw(field.raw);
                }
                for point in points {
                    output.bytes(1, point);
                }
            });
        });
    }
}

fn is_point(field: &Field<'_>) -> bool {
    field.number == 1 && matches!(field.value, Value::Bytes(_))
}

#[cfg(test)]
mod tests;
