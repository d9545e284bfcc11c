//! Names of OTLP as names of Prometheus.
//!
//! Source: prometheus/otlptranslator `metric_namer.go`, `label_namer.go`, `unit_namer.go`.

use std::borrow::Cow;

/// What the name of a metric depends on besides its text and unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameKind {
    /// A sum that only grows.
    Counter,
    /// A gauge of OTLP, not a sum that goes up and down.
    Gauge,
    /// Anything else.
    Other,
}

/// Whether unit and type become part of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Suffixes {
    With,
    Without,
}

/// The name of a metric's family; `None` when the name has no letter or digit.
pub(crate) fn metric_name(
    namespace: &str,
    name: &str,
    unit: &str,
    kind: NameKind,
    suffixes: Suffixes,
) -> Option<String> {
    if !name.contains(is_name_char) {
        return None;
    }
    let name = match suffixes {
        Suffixes::With => with_suffixes(name, unit, kind),
        Suffixes::Without => join(name.split(|c: char| !is_name_char(c) && c != '_')),
    };
    let mut full = String::with_capacity(namespace.len() + 1 + name.len());
    if !namespace.is_empty() {
        full.extend(namespace.chars().map(|c| if is_name_char(c) { c } else { '_' }));
        full.push('_');
    }
    full.push_str(&name);
    if full.starts_with(|c: char| c.is_ascii_digit()) {
        full.insert(0, '_');
    }
    Some(full)
}

/// The name of a label: always one, so that no attribute is lost.
pub(crate) fn label_name(attribute: &str) -> Cow<'_, str> {
    let is_valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let clean = match attribute.chars().all(is_valid) {
        true => Cow::Borrowed(attribute),
        false => attribute.chars().map(|c| if is_valid(c) { c } else { '_' }).collect(),
    };
    match clean.as_bytes() {
        [first, ..] if first.is_ascii_digit() => Cow::Owned(format!("key_{clean}")),
        // Prometheus keeps such labels to itself.
        [b'_', b'_', ..] => Cow::Owned(format!("key{clean}")),
        [] => Cow::Borrowed("key_"),
        _ => clean,
    }
}

fn with_suffixes(name: &str, unit: &str, kind: NameKind) -> String {
    let mut tokens: Vec<&str> =
        name.split(|c: char| !is_name_char(c)).filter(|token| !token.is_empty()).collect();
    let unit = unit.trim();
    let (main, per) = unit_tokens(unit);
    for suffix in [&main, &per] {
        if !suffix.is_empty() && !tokens.contains(&suffix.as_str()) {
            tokens.push(suffix);
        }
    }
    let last = match kind {
        NameKind::Counter => Some("total"),
        NameKind::Gauge if unit == "1" => Some("ratio"),
        _ => None,
    };
    if let Some(last) = last {
        tokens.retain(|token| *token != last);
        tokens.push(last);
    }
    tokens.join("_")
}

/// A unit as the tokens of a name: what is measured, and what it is measured per.
fn unit_tokens(unit: &str) -> (String, String) {
    let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
    let (main, per) = (main.trim(), per.trim());
    let main = match main.contains(['{', '}']) {
        true => String::new(),
        false => clean(main_unit(main)),
    };
    let per = match per.is_empty() || per.contains(['{', '}']) {
        true => String::new(),
        false => clean(per_unit(per)),
    };
    match per.is_empty() {
        true => (main, per),
        false => (main, format!("per_{per}")),
    }
}

fn clean(unit: &str) -> String {
    join(unit.split(|c: char| !is_name_char(c)))
}

fn join<'a>(tokens: impl Iterator<Item = &'a str>) -> String {
    let mut joined = String::new();
    for token in tokens.filter(|token| !token.is_empty()) {
        if !joined.is_empty() {
            joined.push('_');
        }
        joined.push_str(token);
    }
    joined
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == ':'
}

fn main_unit(unit: &str) -> &str {
    match unit {
        "d" => "days",
        "h" => "hours",
        "min" => "minutes",
        "s" => "seconds",
        "ms" => "milliseconds",
        "us" => "microseconds",
        "ns" => "nanoseconds",
        "By" => "bytes",
        "KiBy" => "kibibytes",
        "MiBy" => "mebibytes",
        "GiBy" => "gibibytes",
        "TiBy" => "tebibytes",
        "KBy" => "kilobytes",
        "MBy" => "megabytes",
        "GBy" => "gigabytes",
        "TBy" => "terabytes",
        "m" => "meters",
        "V" => "volts",
        "A" => "amperes",
        "J" => "joules",
        "W" => "watts",
        "g" => "grams",
        "Cel" => "celsius",
        "Hz" => "hertz",
        "1" => "",
        "%" => "percent",
        other => other,
    }
}

fn per_unit(unit: &str) -> &str {
    match unit {
        "s" => "second",
        "m" => "minute",
        "h" => "hour",
        "d" => "day",
        "w" => "week",
        "mo" => "month",
        "y" => "year",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, unit: &str, kind: NameKind, expected: &str) {
        let found = metric_name("", name, unit, kind, Suffixes::With);
        assert_eq!(found.as_deref(), Some(expected));
    }

    /// These are what the Collector's exporter exposed.
    #[test]
    fn units_and_types_become_suffixes() {
        use NameKind::{Counter, Gauge, Other};
        check("traces.span.metrics.calls", "", Counter, "traces_span_metrics_calls_total");
        check(
            "traces.span.metrics.duration",
            "ms",
            Other,
            "traces_span_metrics_duration_milliseconds",
        );
        check("system.memory.utilization", "1", Gauge, "system_memory_utilization_ratio");
        check("system.filesystem.usage", "By", Gauge, "system_filesystem_usage_bytes");
        check("astro.light.speed", "m/s", Gauge, "astro_light_speed_meters_per_second");
        check("9lives", "{cats}", Gauge, "_9lives");
        check("queue.depth", "{items}/s", Gauge, "queue_depth_per_second");
        check("storage.fs.utilization", "%", Gauge, "storage_fs_utilization_percent");
        check("inflight", "1", Other, "inflight");
        check("requests_total", "1", Counter, "requests_total");
        check("network.io.seconds", "s", Counter, "network_io_seconds_total");
        check("a.total.count", "", Counter, "a_count_total");
        check("rate", "1/s", Gauge, "rate_per_second");
        check("acc", "m/s^2", Gauge, "acc_meters_per_s_2");
        check("disk", "KiBy", Gauge, "disk_kibibytes");
        check("disk2", "kBy", Gauge, "disk2_kBy");
        check("ratio.x", "1", Gauge, "x_ratio");
    }

    #[test]
    fn without_suffixes_only_the_characters_change() {
        let name = |name| metric_name("", name, "ms", NameKind::Counter, Suffixes::Without);
        assert_eq!(name("traces.span.metrics.calls").as_deref(), Some("traces_span_metrics_calls"));
        assert_eq!(name("a__b").as_deref(), Some("a__b"));
    }

    #[test]
    fn a_namespace_goes_in_front() {
        let name = |namespace| metric_name(namespace, "any", "", NameKind::Gauge, Suffixes::With);
        assert_eq!(name("9ns").as_deref(), Some("_9ns_any"));
        assert_eq!(name("test-space").as_deref(), Some("test_space_any"));
    }

    #[test]
    fn a_name_without_letters_is_no_name() {
        for name in ["", "...", "_"] {
            assert_eq!(metric_name("ns", name, "s", NameKind::Counter, Suffixes::With), None);
        }
    }

    #[test]
    fn labels_keep_their_underscores_and_never_vanish() {
        for (attribute, label) in [
            ("http.method", "http_method"),
            ("2 cents", "key_2_cents"),
            ("_name", "_name"),
            ("a..b", "a__b"),
            ("name (of the host)", "name__of_the_host_"),
            ("Ünï", "_n_"),
            ("__name", "key__name"),
            ("", "key_"),
        ] {
            assert_eq!(label_name(attribute), label);
        }
    }
}
