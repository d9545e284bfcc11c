//! Requests as text.
//!
//! ```text
//! resource service.name="cart"
//!   scope lib 1.0
//!     span "GET /" trace=0a0b… id=01… parent=02… server 2026-08-21T09:30:00Z 12ms error http.route="/"
//! ```

use std::fmt::Write;
use std::time::Duration;

use crate::batch::Batch;
use crate::clock::rfc3339;
use crate::wire::metric::{
    ExponentialHistogramDataPoint, HistogramDataPoint, Number, NumberDataPoint, SummaryDataPoint,
};
use crate::wire::{
    AnyValue, Attributes, DataKind, Fields, LogRecord, Metric, Signal, Span, StatusCode, resources,
};

/// How deep a value's lists and maps are followed.
const MAX_DEPTH: usize = 16;

/// A line for each item.
pub(super) fn lines(batch: &Batch) -> String {
    dump(batch, Detail::Line)
}

/// All that is in the items, with their resources and scopes.
pub(super) fn everything(batch: &Batch) -> String {
    dump(batch, Detail::All)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Detail {
    Line,
    All,
}

fn dump(batch: &Batch, detail: Detail) -> String {
    let mut out = String::new();
    for entry in resources(batch.bytes()) {
        out.push_str("resource");
        attributes(&mut out, entry.resource().attributes());
        out.push('\n');
        for scope in entry.scopes() {
            let (name, version) = (text(scope.name()), text(scope.version()));
            if detail == Detail::All {
                line(&mut out, 1, format_args!("scope {name} {version}"));
            }
            for record in scope.records() {
                match batch.signal() {
                    Signal::Traces => span(&mut out, &Span::read(record), detail),
                    Signal::Logs => log(&mut out, &LogRecord::read(record), detail),
                    Signal::Metrics => metric(&mut out, &Metric::read(record), detail),
                }
            }
        }
    }
    out
}

fn line(out: &mut String, depth: usize, content: std::fmt::Arguments<'_>) {
    put(out, format_args!("{:indent$}{content}\n", "", indent = depth * 2));
}

fn put(out: &mut String, content: std::fmt::Arguments<'_>) {
    out.write_fmt(content).expect("writing to a string does not fail");
}

fn span(out: &mut String, span: &Span<'_>, detail: Detail) {
    let kind = match span.kind {
        1 => "internal",
        2 => "server",
        3 => "client",
        4 => "producer",
        5 => "consumer",
        _ => "unspecified",
    };
    let status = match span.status_code() {
        StatusCode::Unset => "unset",
        StatusCode::Ok => "ok",
        StatusCode::Error => "error",
    };
    let (name, trace, id) = (text(span.name), hex(span.trace_id), hex(span.span_id));
    let (parent, start) = (hex(span.parent_span_id), rfc3339(span.start_ns));
    let duration = Duration::from_nanos(span.duration_ns());
    put(
        out,
        format_args!(
            "    span {name:?} trace={trace} id={id} parent={parent} {kind} {start} {duration:?} {status}",
        ),
    );
    attributes(out, span.attributes());
    out.push('\n');
    if detail == Detail::Line {
        return;
    }
    for event in span.events() {
        let field = |number| Fields::new(event).filter(move |field| field.number == number).last();
        let name = field(2).and_then(|field| field.value.bytes()).unwrap_or_default();
        let time = match field(1).map(|field| field.value) {
            Some(crate::wire::Value::Fixed64(nanos)) => nanos,
            _ => 0,
        };
        put(out, format_args!("      event {:?} {}", text(name), rfc3339(time)));
        attributes(out, Attributes::new(event, 3));
        out.push('\n');
    }
}

fn log(out: &mut String, record: &LogRecord<'_>, detail: Detail) {
    let (time, severity) = (rfc3339(record.time_ns), text(record.severity_text));
    put(out, format_args!("    log {time} {severity} "));
    value(out, record.body(), 0);
    if detail == Detail::All {
        let (trace, id) = (hex(record.trace_id), hex(record.span_id));
        put(out, format_args!(" trace={trace} id={id} severity={}", record.severity_number));
    }
    attributes(out, record.attributes());
    out.push('\n');
}

fn metric(out: &mut String, metric: &Metric<'_>, detail: Detail) {
    let kind = match metric.kind {
        Some(kind) => format!("{kind:?}"),
        None => "empty".to_owned(),
    };
    let (name, unit, points) = (text(metric.name), text(metric.unit), metric.points().count());
    line(out, 2, format_args!("metric {name} {unit} {kind} {points} points"));
    if detail == Detail::Line {
        return;
    }
    for raw in metric.points() {
        match metric.kind {
            Some(DataKind::Gauge | DataKind::Sum) => {
                let point = NumberDataPoint::read(raw);
                put(out, format_args!("      {} ", rfc3339(point.time_ns)));
                match point.value {
                    Some(Number::Int(value)) => put(out, format_args!("{value}")),
                    Some(Number::Double(value)) => put(out, format_args!("{value}")),
                    None => out.push_str("no value"),
                }
                attributes(out, point.attributes());
            }
            Some(DataKind::Histogram) => {
                let point = HistogramDataPoint::read(raw);
                distribution(out, point.time_ns, point.count, point.sum);
                let counts: Vec<_> = point.bucket_counts().collect();
                let bounds: Vec<_> = point.explicit_bounds().collect();
                put(out, format_args!(" counts={counts:?} bounds={bounds:?}"));
                attributes(out, point.attributes());
            }
            Some(DataKind::ExponentialHistogram) => {
                let point = ExponentialHistogramDataPoint::read(raw);
                distribution(out, point.time_ns, point.count, point.sum);
                put(out, format_args!(" scale={} zeros={}", point.scale, point.zero_count));
                attributes(out, point.attributes());
            }
            Some(DataKind::Summary) => {
                let point = SummaryDataPoint::read(raw);
                distribution(out, point.time_ns, point.count, Some(point.sum));
                let quantiles: Vec<_> = point.quantiles().collect();
                put(out, format_args!(" quantiles={quantiles:?}"));
                attributes(out, point.attributes());
            }
            None => {}
        }
        out.push('\n');
    }
}

fn distribution(out: &mut String, time_ns: u64, count: u64, sum: Option<f64>) {
    put(out, format_args!("      {} count={count}", rfc3339(time_ns)));
    if let Some(sum) = sum {
        put(out, format_args!(" sum={sum}"));
    }
}

fn attributes<'a>(out: &mut String, list: impl Iterator<Item = (&'a [u8], AnyValue<'a>)>) {
    for (key, content) in list {
        put(out, format_args!(" {}=", text(key)));
        value(out, content, 0);
    }
}

fn value(out: &mut String, content: AnyValue<'_>, depth: usize) {
    match content {
        AnyValue::Empty => out.push_str("null"),
        AnyValue::String(string) => put(out, format_args!("{:?}", text(string))),
        AnyValue::Bool(flag) => put(out, format_args!("{flag}")),
        AnyValue::Int(integer) => put(out, format_args!("{integer}")),
        AnyValue::Double(double) => put(out, format_args!("{double}")),
        AnyValue::Bytes(bytes) => put(out, format_args!("0x{}", hex(bytes))),
        AnyValue::Array(_) | AnyValue::KeyValues(_) if depth == MAX_DEPTH => out.push('…'),
        AnyValue::Array(array) => {
            out.push('[');
            for (index, element) in AnyValue::elements(array).enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                value(out, element, depth + 1);
            }
            out.push(']');
        }
        AnyValue::KeyValues(list) => {
            out.push('{');
            for (index, (key, element)) in Attributes::of_list(list).enumerate() {
                put(out, format_args!("{}{}: ", if index == 0 { "" } else { ", " }, text(key)));
                value(out, element, depth + 1);
            }
            out.push('}');
        }
    }
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        put(&mut text, format_args!("{byte:02x}"));
    }
    text
}
