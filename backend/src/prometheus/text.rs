//! The text exposition format, version 0.0.4, as Go's client writes it.

use std::fmt::Write as _;

/// What the server answers with.
pub(crate) const CONTENT_TYPE: &str =
    "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

/// Writes the two lines that begin a family.
pub(crate) fn write_header(out: &mut String, name: &str, type_name: &str, help: &str) {
    out.push_str("# HELP ");
    out.push_str(name);
    out.push(' ');
    escape(out, help, |c| c == '\\' || c == '\n');
    out.push_str("\n# TYPE ");
    out.push_str(name);
    out.push(' ');
    out.push_str(type_name);
    out.push('\n');
}

/// A line's last label, which comes after all others whatever its name.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Last {
    None,
    /// `le`.
    Bound(f64),
    /// `quantile`.
    Quantile(f64),
}

/// Writes one sample. `labels` stand as [`write_label`] wrote them.
pub(crate) fn write_sample(
    out: &mut String,
    (name, suffix): (&str, &str),
    labels: &str,
    last: Last,
    value: f64,
    time_ns: Option<u64>,
) {
    out.push_str(name);
    out.push_str(suffix);
    let last = match last {
        Last::None => None,
        Last::Bound(bound) => Some(("le", bound)),
        Last::Quantile(quantile) => Some(("quantile", quantile)),
    };
    if !labels.is_empty() || last.is_some() {
        out.push('{');
        out.push_str(labels);
        if let Some((label, number)) = last {
            if !labels.is_empty() {
                out.push(',');
            }
            out.push_str(label);
            out.push_str("=\"");
            write_number(out, number);
            out.push('"');
        }
        out.push('}');
    }
    out.push(' ');
    write_number(out, value);
    if let Some(time_ns) = time_ns {
        let _infallible = write!(out, " {}", time_ns / 1_000_000);
    }
    out.push('\n');
}

/// Appends `name="value"`, behind a comma unless it is the first.
pub(crate) fn write_label(out: &mut String, name: &str, value: &str) {
    if !out.is_empty() {
        out.push(',');
    }
    out.push_str(name);
    out.push_str("=\"");
    escape(out, value, |c| matches!(c, '\\' | '\n' | '"'));
    out.push('"');
}

fn escape(out: &mut String, text: &str, special: impl Fn(char) -> bool) {
    let mut rest = text;
    while let Some(at) = rest.find(&special) {
        let (clean, tail) = rest.split_at(at);
        out.push_str(clean);
        let mut chars = tail.chars();
        match chars.next() {
            Some('\n') => out.push_str("\\n"),
            Some(c) => out.extend(['\\', c]),
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
}

/// Writes a number as Go's `%g` does with the fewest digits that tell it apart: with an exponent
/// below -4 and from 6 on.
pub(crate) fn write_number(out: &mut String, number: f64) {
    if number.is_nan() {
        return out.push_str("NaN");
    }
    if number.is_infinite() {
        return out.push_str(if number > 0.0 { "+Inf" } else { "-Inf" });
    }
    let start = out.len();
    let _infallible = write!(out, "{number:e}");
    let exponent = out.get(start..).and_then(|written| written.split_once('e'));
    let Some((digits, exponent)) = exponent else { return };
    let (digits, exponent) = (digits.len(), exponent.parse::<i32>().unwrap_or_default());
    if (-4..6).contains(&exponent) {
        out.truncate(start);
        let _infallible = write!(out, "{number}");
    } else {
        out.truncate(start + digits);
        let sign = if exponent < 0 { '-' } else { '+' };
        let _infallible = write!(out, "e{sign}{:02}", exponent.abs());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (142.0, "142"),
            (0.25, "0.25"),
            (20_130.25, "20130.25"),
            (100_000.0, "100000"),
            (1_000_000.0, "1e+06"),
            (1_234_567.5, "1.2345675e+06"),
            (299_792_458.0, "2.99792458e+08"),
            (1e21, "1e+21"),
            (0.0001, "0.0001"),
            (1e-7, "1e-07"),
            (-1.5e-300, "-1.5e-300"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            let mut out = String::new();
            write_number(&mut out, number);
            assert_eq!(out, text);
        }
    }

    #[test]
    fn values_and_help_are_escaped() {
        let mut labels = String::new();
        write_label(&mut labels, "a", "x\"y\\z\n");
        write_label(&mut labels, "b", "");
        assert_eq!(labels, r#"a="x\"y\\z\n",b="""#);
        let mut header = String::new();
        write_header(&mut header, "m", "gauge", "say \"hi\"\n\\");
        assert_eq!(header, "# HELP m say \"hi\"\\n\\\\\n# TYPE m gauge\n");
    }

    #[test]
    fn the_last_label_follows_all_others() {
        let mut out = String::new();
        write_sample(&mut out, ("m", "_bucket"), "z=\"1\"", Last::Bound(2.5), 3.0, None);
        write_sample(
            &mut out,
            ("m", ""),
            "",
            Last::Quantile(0.99),
            1.0,
            Some(1_700_000_060_123_000_000),
        );
        write_sample(&mut out, ("m", "_sum"), "", Last::None, 1.0, None);
        assert_eq!(
            out,
            "m_bucket{z=\"1\",le=\"2.5\"} 3\nm{quantile=\"0.99\"} 1 1700000060123\nm_sum 1\n"
        );
    }
}
