//! The list of a tier's metrics, for `docs/`: written from the descriptors, so it cannot rot.

use std::fmt::Write;

use super::metrics::{Descriptor, Kind};
use super::page::{OWN, bounds};

/// The metrics of `tier` as a page of Markdown: [`OWN`] and those of its components.
pub fn render(tier: &str, descriptors: &[&'static [Descriptor]]) -> String {
    let mut all: Vec<&Descriptor> =
        OWN.iter().chain(descriptors).flat_map(|set| set.iter()).collect();
    all.sort_by_key(|descriptor| descriptor.name);
    all.dedup_by_key(|descriptor| descriptor.name);
    let mut page = format!(
        "# Metrics of `{tier}`\n\n\
        Written by a test from the code; `UPDATE_EXPECT=1 cargo test -p {tier} metrics` brings it \
        up to date.\n\n\
        Names are as the page gives them by default: without unit and `_total`. Setting \
        `without_units` or `without_type_suffix` of the reader to false brings both.\n\n\
        | Metric | Type | Unit | Labels | What it says |\n\
        |---|---|---|---|---|\n"
    );
    for Descriptor { name, kind, unit, labels, help } in &all {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        let (labels, help) = (labels.join(", "), help.replace('|', "\\|"));
        put(&mut page, format_args!("| `{name}` | {kind} | {unit} | {labels} | {help} |\n"));
    }
    let histograms: Vec<_> =
        all.iter().filter(|descriptor| descriptor.kind == Kind::Histogram).collect();
    if histograms.is_empty() {
        return page;
    }
    page.push_str("\n## Buckets\n\n| Histogram | Upper bounds |\n|---|---|\n");
    for Descriptor { name, .. } in histograms {
        let bounds: Vec<String> = bounds(name).iter().map(f64::to_string).collect();
        put(&mut page, format_args!("| `{name}` | {} |\n", bounds.join(", ")));
    }
    page
}

fn put(page: &mut String, line: std::fmt::Arguments<'_>) {
    page.write_fmt(line).expect("writing to a string does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    const DOOR: &[Descriptor] = &[
        Descriptor {
            name: "door_size_bytes",
            kind: Kind::Histogram,
            unit: "By",
            labels: &[],
            help: "Size of what went through.",
        },
        Descriptor {
            name: "door_entered",
            kind: Kind::Counter,
            unit: "{person}",
            labels: &["door", "side"],
            help: "Number of people who came in.",
        },
    ];

    #[test]
    fn every_metric_has_a_row_once() {
        let page = render("house", &[DOOR, DOOR]);
        let row = "| `door_entered` | counter | {person} | `door`, `side` | Number of people who came in. |";
        assert_eq!(page.lines().filter(|line| *line == row).count(), 1, "{page}");
        assert!(page.contains("| `otelcol_process_cpu_seconds` | counter | s |"), "{page}");
        assert!(page.contains("| `door_size_bytes` | 128, 256, 512,"), "{page}");
    }
}
