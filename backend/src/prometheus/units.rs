//! Units of OTLP as parts of names.
//!
//! Source: prometheus/otlptranslator `unit_namer.go`.

/// A unit as words: what is measured, and what it is measured per, as `per_second`; each empty if
/// there is none. What stands in braces says what is counted, and is no unit.
pub(super) fn words(unit: &str) -> (&str, String) {
    let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
    let (main, per) = (main.trim(), per.trim());
    let is_note = |unit: &str| unit.contains(['{', '}']);
    let main = if is_note(main) { "" } else { main_unit(main) };
    let per = match per.is_empty() || is_note(per) {
        true => String::new(),
        false => format!("per_{}", per_unit(per)),
    };
    (main, per)
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
