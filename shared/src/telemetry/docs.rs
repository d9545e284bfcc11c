//! The list of metrics, `docs/metrics.md`: written from the descriptors, so it cannot rot.
//!
//! A test in each tier writes the tier's own section and the one that both tiers share.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::bounds::bounds;
use super::metrics::{Descriptor, Kind};
use super::page::OWN;
use crate::processor::{batch, memory_limiter};
use crate::{otlp, queue};

/// The sets of [`OWN`] and of components that both tiers know. A tier that lacks one of them
/// cannot agree with the other on the section for both.
const COMMON: &[&[&[Descriptor]]] =
    &[OWN, otlp::DESCRIPTORS, batch::DESCRIPTORS, memory_limiter::DESCRIPTORS, queue::DESCRIPTORS];

/// `page` with the sections of `tier` and of both tiers as the code has them; what is outside of
/// their markers stays.
pub fn updated(page: &str, tier: &str, descriptors: &[&'static [Descriptor]]) -> String {
    let of_tier: BTreeSet<&Descriptor> =
        OWN.iter().chain(descriptors).flat_map(|set| set.iter()).collect();
    let common: BTreeSet<&Descriptor> =
        COMMON.iter().copied().flatten().copied().flatten().collect();
    let both: Vec<_> = of_tier.intersection(&common).copied().collect();
    let own: Vec<_> = of_tier.difference(&common).copied().collect();
    let page = replaced(page, "both", &section("Both tiers", &both));
    replaced(&page, tier, &section(&format!("`{tier}`"), &own))
}

/// `page` with `text` between the markers `name`; they are added at the end if it has none.
fn replaced(page: &str, name: &str, text: &str) -> String {
    let (begin, end) = (format!("<!-- begin: {name} -->\n"), format!("<!-- end: {name} -->\n"));
    let around = page.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&end)?;
        Some((before.to_owned(), after))
    });
    let (before, after) = around.unwrap_or_else(|| (format!("{page}\n"), ""));
    format!("{before}{begin}{text}{end}{after}")
}

/// `descriptors`, which are in order, under a heading.
fn section(title: &str, descriptors: &[&Descriptor]) -> String {
    let mut text = format!(
        "## {title}\n\n| Metric | Type | Unit | Labels | What it says |\n|---|---|---|---|---|\n"
    );
    for Descriptor { name, kind, unit, labels, help, expires } in descriptors {
        let kind = kind.name();
        let expires = if *expires { ", expires" } else { "" };
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        let (labels, help) = (labels.join(", "), help.replace('|', "\\|"));
        put(
            &mut text,
            format_args!("| `{name}` | {kind}{expires} | {unit} | {labels} | {help} |\n"),
        );
    }
    let mut histograms =
        descriptors.iter().filter(|descriptor| descriptor.kind == Kind::Histogram).peekable();
    if histograms.peek().is_some() {
        text.push_str("\n| Histogram | Upper bounds of its buckets |\n|---|---|\n");
    }
    for Descriptor { name, .. } in histograms {
        let bounds: Vec<String> = bounds(name).iter().map(f64::to_string).collect();
        put(&mut text, format_args!("| `{name}` | {} |\n", bounds.join(", ")));
    }
    text
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
            expires: false,
        },
        Descriptor {
            name: "door_entered",
            kind: Kind::Counter,
            unit: "{person}",
            labels: &["door", "side"],
            help: "Number of people who came in.",
            expires: true,
        },
    ];

    #[test]
    fn every_metric_has_a_row_once_and_a_tier_only_its_own() {
        let page = updated("# Metrics\n", "house", &[DOOR, DOOR, queue::DESCRIPTORS[0]]);
        let row = "| `door_entered` | counter, expires | {person} | `door`, `side` | Number of people who came in. |";
        assert_eq!(page.lines().filter(|line| *line == row).count(), 1, "{page}");
        assert!(page.contains("| `door_size_bytes` | 128, 256, 512,"), "{page}");
        let (both, house) = page.split_once("<!-- begin: house -->").unwrap();
        for shared in ["otelcol_process_cpu_seconds", queue::DESCRIPTORS[0][0].name] {
            assert!(both.contains(shared) && !house.contains(shared), "{shared}: {page}");
        }
        assert!(!both.contains("door"), "{page}");
    }

    #[test]
    fn what_is_written_by_hand_and_other_sections_stay() {
        let by_hand = "# Metrics\n\nBy hand.\n";
        let house = updated(by_hand, "house", &[DOOR]);
        let both = updated(&house, "garden", &[]);
        assert!(both.starts_with(&house) && both.contains("`garden`"), "{both}");
        assert_eq!(updated(&both, "house", &[DOOR]), both);
        let without_doors = updated(&both, "house", &[]);
        assert!(!without_doors.contains("door"), "{without_doors}");
        assert!(without_doors.starts_with(by_hand) && without_doors.contains("`garden`"));
    }
}
