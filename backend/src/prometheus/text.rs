//! The text exposition format, version 0.0.4, and OpenMetrics, as Go's client writes them.
//!
//! Source: prometheus/common `expfmt/text_create.go`, `expfmt/openmetrics_create.go`.

use std::io::Write as _;

use super::exemplar::{Exemplar, between};
use super::histogram::Histogram;
use super::label_set::LabelSet;
use super::names::escaped_metric;
use super::value::{FamilyKind, Point, Summary, Value};

/// Which of the two formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Prometheus,
    OpenMetrics,
}

/// Writes the two lines that begin a family.
pub(crate) fn write_header(
    out: &mut Vec<u8>,
    dialect: Dialect,
    name: &str,
    kind: FamilyKind,
    help: &str,
) {
    let (name, type_name) = match (dialect, kind, name.strip_suffix("_total")) {
        // There, `_total` is not part of a counter's name, but every counter's sample has it.
        (Dialect::OpenMetrics, FamilyKind::Counter, Some(name)) => (name, kind.name()),
        (Dialect::OpenMetrics, FamilyKind::Counter, None) => (name, "unknown"),
        _ => (name, kind.name()),
    };
    out.extend_from_slice(b"# HELP ");
    write_name(out, name, "", &escaped_metric(name));
    out.push(b' ');
    let quotes = if dialect == Dialect::OpenMetrics { &b"\\\n\""[..] } else { b"\\\n" };
    escape(out, help.as_bytes(), quotes);
    out.extend_from_slice(b"\n# TYPE ");
    write_name(out, name, "", &escaped_metric(name));
    out.push(b' ');
    out.extend_from_slice(type_name.as_bytes());
    out.push(b'\n');
}

/// Ends the answer.
pub(crate) fn write_end(out: &mut Vec<u8>, dialect: Dialect) {
    if dialect == Dialect::OpenMetrics {
        out.extend_from_slice(b"# EOF\n");
    }
}

/// Writes all samples of a series.
pub(crate) fn write_series(
    out: &mut Vec<u8>,
    dialect: Dialect,
    name: &str,
    labels: &LabelSet,
    point: &Point,
    time_ns: Option<u64>,
) {
    let mut written = Vec::with_capacity(2 * labels.heap_bytes());
    for (name, value) in labels.iter() {
        write_label(&mut written, name, value);
    }
    let is_legacy = escaped_metric(name) == name;
    let mut series = Series { out, dialect, name, is_legacy, labels: &written, time_ns };
    match &point.value {
        Value::Counter(value) => {
            series.write("", Last::None, Number::Double(*value), point.exemplars.first());
        }
        Value::UpDown(value) | Value::Gauge(value) => {
            series.write("", Last::None, Number::Double(*value), None);
        }
        Value::Histogram(histogram) => series.histogram(histogram, &point.exemplars),
        Value::Exponential(exponential) => {
            series.histogram(&Histogram::of_exponential(exponential), &point.exemplars);
        }
        Value::Summary(summary) => series.summary(summary),
    }
}

/// A series on its way into the text.
struct Series<'a> {
    out: &'a mut Vec<u8>,
    dialect: Dialect,
    name: &'a str,
    /// Whether every scraper takes the name's characters.
    is_legacy: bool,
    /// As they stand in the text.
    labels: &'a [u8],
    time_ns: Option<u64>,
}

/// A sample's value.
#[derive(Debug, Clone, Copy)]
enum Number {
    Double(f64),
    Count(u64),
}

/// A sample's last label, which comes after all others whatever its name.
#[derive(Debug, Clone, Copy)]
enum Last {
    None,
    /// `le`.
    Bound(f64),
    /// `quantile`.
    Quantile(f64),
}

impl Series<'_> {
    fn histogram(&mut self, histogram: &Histogram, exemplars: &[Exemplar]) {
        let mut low = f64::NEG_INFINITY;
        for (bound, count) in &histogram.buckets {
            let exemplar = between(exemplars, low, *bound);
            self.write("_bucket", Last::Bound(*bound), Number::Count(*count), exemplar);
            low = *bound;
        }
        let exemplar = between(exemplars, low, f64::INFINITY);
        let count = Number::Count(histogram.count);
        self.write("_bucket", Last::Bound(f64::INFINITY), count, exemplar);
        self.write("_sum", Last::None, Number::Double(histogram.sum), None);
        self.write("_count", Last::None, count, None);
    }

    fn summary(&mut self, summary: &Summary) {
        for (quantile, value) in &summary.quantiles {
            self.write("", Last::Quantile(*quantile), Number::Double(*value), None);
        }
        self.write("_sum", Last::None, Number::Double(summary.sum), None);
        self.write("_count", Last::None, Number::Count(summary.count), None);
    }

    /// Writes one sample.
    fn write(&mut self, suffix: &str, last: Last, value: Number, exemplar: Option<&Exemplar>) {
        let mut has_brace = !self.is_legacy;
        if self.is_legacy {
            self.out.extend_from_slice(self.name.as_bytes());
            self.out.extend_from_slice(suffix.as_bytes());
        } else {
            self.out.push(b'{');
            write_quoted(self.out, self.name, suffix);
        }
        if !self.labels.is_empty() {
            self.out.push(if has_brace { b',' } else { b'{' });
            self.out.extend_from_slice(self.labels);
            has_brace = true;
        }
        let last = match last {
            Last::None => None,
            Last::Bound(bound) => Some(("le", bound)),
            Last::Quantile(quantile) => Some(("quantile", quantile)),
        };
        if let Some((label, number)) = last {
            self.out.push(if has_brace { b',' } else { b'{' });
            self.out.extend_from_slice(label.as_bytes());
            self.out.extend_from_slice(b"=\"");
            write_number(self.out, self.dialect, number);
            self.out.push(b'"');
            has_brace = true;
        }
        self.out.extend_from_slice(if has_brace { b"} " } else { b" " });
        self.value(value);
        self.time();
        if let (Some(exemplar), Dialect::OpenMetrics) = (exemplar, self.dialect) {
            write_exemplar(self.out, exemplar);
        }
        self.out.push(b'\n');
    }

    fn value(&mut self, value: Number) {
        match (value, self.dialect) {
            (Number::Double(value), dialect) => write_number(self.out, dialect, value),
            (Number::Count(count), Dialect::Prometheus) => {
                write_number(self.out, Dialect::Prometheus, as_f64(count));
            }
            (Number::Count(count), Dialect::OpenMetrics) => {
                let _infallible = write!(self.out, "{count}");
            }
        }
    }

    /// Milliseconds; in OpenMetrics seconds.
    fn time(&mut self) {
        let Some(millis) = self.time_ns.map(|time_ns| time_ns / 1_000_000) else { return };
        self.out.push(b' ');
        match self.dialect {
            Dialect::Prometheus => {
                let _infallible = write!(self.out, "{millis}");
            }
            Dialect::OpenMetrics => {
                write_number(self.out, Dialect::OpenMetrics, as_f64(millis) / 1e3);
            }
        }
    }
}

fn write_exemplar(out: &mut Vec<u8>, exemplar: &Exemplar) {
    let mut labels = Vec::new();
    for (name, value) in exemplar.labels.iter() {
        write_label(&mut labels, name, value);
    }
    out.extend_from_slice(b" # {");
    out.extend_from_slice(&labels);
    out.extend_from_slice(b"} ");
    write_number(out, Dialect::OpenMetrics, exemplar.value);
    if exemplar.time_ns != 0 {
        out.push(b' ');
        write_number(out, Dialect::OpenMetrics, as_f64(exemplar.time_ns) / 1e9);
    }
}

/// Appends `name="value"`, behind a comma unless it is the first.
fn write_label(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    if !out.is_empty() {
        out.push(b',');
    }
    let is_legacy = match name {
        [first, ..] if first.is_ascii_digit() => false,
        name => name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_'),
    };
    match is_legacy {
        true => out.extend_from_slice(name),
        false => write_quoted(out, &String::from_utf8_lossy(name), ""),
    }
    out.extend_from_slice(b"=\"");
    escape(out, value, b"\\\n\"");
    out.push(b'"');
}

/// Writes a metric's name, in quotes if not every scraper takes its characters.
fn write_name(out: &mut Vec<u8>, name: &str, suffix: &str, escaped: &str) {
    match name == escaped {
        true => {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(suffix.as_bytes());
        }
        false => write_quoted(out, name, suffix),
    }
}

fn write_quoted(out: &mut Vec<u8>, name: &str, suffix: &str) {
    out.push(b'"');
    escape(out, name.as_bytes(), b"\\\n\"");
    out.extend_from_slice(suffix.as_bytes());
    out.push(b'"');
}

fn escape(out: &mut Vec<u8>, text: &[u8], special: &[u8]) {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| special.contains(byte)) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'\n' => out.extend_from_slice(b"\\n"),
            byte => out.extend([b'\\', byte]),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// Writes a number as Go's `%g` does with the fewest digits that tell it apart: with an exponent
/// below -4 and from 6 on. In OpenMetrics a number that would look like an integer gets a `.0`.
pub(crate) fn write_number(out: &mut Vec<u8>, dialect: Dialect, number: f64) {
    if number.is_nan() {
        return out.extend_from_slice(b"NaN");
    }
    if number.is_infinite() {
        return out.extend_from_slice(if number > 0.0 { b"+Inf" } else { b"-Inf" });
    }
    let start = out.len();
    let magnitude = number.abs();
    if magnitude == 0.0 || (1e-4..1e6).contains(&magnitude) {
        let _infallible = write!(out, "{number}");
        if dialect == Dialect::OpenMetrics && !out[start..].contains(&b'.') {
            out.extend_from_slice(b".0");
        }
        return;
    }
    let _infallible = write!(out, "{number:e}");
    let Some(at) = out[start..].iter().position(|byte| *byte == b'e') else { return };
    let exponent = std::str::from_utf8(&out[start + at + 1..]).unwrap_or_default();
    let exponent: i32 = exponent.parse().unwrap_or_default();
    out.truncate(start + at);
    let sign = if exponent < 0 { '-' } else { '+' };
    let _infallible = write!(out, "e{sign}{:02}", exponent.abs());
}

#[allow(clippy::cast_precision_loss, reason = "Prometheus has doubles only")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        for (number, text, open_metrics) in [
            (0.0, "0", "0.0"),
            (-0.0, "-0", "-0.0"),
            (142.0, "142", "142.0"),
            (0.25, "0.25", "0.25"),
            (20_130.25, "20130.25", "20130.25"),
            (100_000.0, "100000", "100000.0"),
            (999_999.9, "999999.9", "999999.9"),
            (1_000_000.0, "1e+06", "1e+06"),
            (1_234_567.5, "1.2345675e+06", "1.2345675e+06"),
            (299_792_458.0, "2.99792458e+08", "2.99792458e+08"),
            (1e21, "1e+21", "1e+21"),
            (0.0001, "0.0001", "0.0001"),
            (0.000_099, "9.9e-05", "9.9e-05"),
            (1e-7, "1e-07", "1e-07"),
            (-1.5e-300, "-1.5e-300", "-1.5e-300"),
            (f64::NAN, "NaN", "NaN"),
            (f64::INFINITY, "+Inf", "+Inf"),
            (f64::NEG_INFINITY, "-Inf", "-Inf"),
        ] {
            for (dialect, text) in
                [(Dialect::Prometheus, text), (Dialect::OpenMetrics, open_metrics)]
            {
                let mut out = Vec::new();
                write_number(&mut out, dialect, number);
                assert_eq!(String::from_utf8(out).unwrap(), text);
            }
        }
    }

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_and_help_are_escaped() {
        let labels = text(|out| {
            write_label(out, b"a", b"x\"y\\z\n");
            write_label(out, b"b", b"");
            write_label(out, "ü \"".as_bytes(), b"1");
        });
        assert_eq!(labels, r#"a="x\"y\\z\n",b="","ü \""="1""#);
        for (dialect, help) in
            [(Dialect::Prometheus, r#"say "hi"\n\\"#), (Dialect::OpenMetrics, r#"say \"hi\"\n\\"#)]
        {
            let header = text(|out| {
                write_header(out, dialect, "m", FamilyKind::Gauge, "say \"hi\"\n\\");
            });
            assert_eq!(header, format!("# HELP m {help}\n# TYPE m gauge\n"));
        }
    }

    #[test]
    fn in_open_metrics_a_counter_is_one_by_its_name() {
        let header = |name| {
            text(|out| write_header(out, Dialect::OpenMetrics, name, FamilyKind::Counter, ""))
        };
        assert_eq!(header("calls_total"), "# HELP calls \n# TYPE calls counter\n");
        assert_eq!(header("calls"), "# HELP calls \n# TYPE calls unknown\n");
        assert_eq!(header("a.b_total"), "# HELP \"a.b\" \n# TYPE \"a.b\" counter\n");
    }

    #[test]
    fn the_last_label_follows_all_others() {
        let summary = Summary { count: 3, sum: 1.0, quantiles: [(0.99, 1.0)].into() };
        let point = Point::new(Value::Summary(summary), 0, 0);
        let labels = LabelSet::of_pairs([("z", "1")].into_iter());
        let time_ns = Some(1_700_000_060_123_000_000);
        for (dialect, expected) in [
            (
                Dialect::Prometheus,
                "m{z=\"1\",quantile=\"0.99\"} 1 1700000060123\n\
                 m_sum{z=\"1\"} 1 1700000060123\n\
                 m_count{z=\"1\"} 3 1700000060123\n",
            ),
            (
                Dialect::OpenMetrics,
                "m{z=\"1\",quantile=\"0.99\"} 1.0 1.700000060123e+09\n\
                 m_sum{z=\"1\"} 1.0 1.700000060123e+09\n\
                 m_count{z=\"1\"} 3 1.700000060123e+09\n",
            ),
        ] {
            let written = text(|out| write_series(out, dialect, "m", &labels, &point, time_ns));
            assert_eq!(written, expected);
        }
    }
}
