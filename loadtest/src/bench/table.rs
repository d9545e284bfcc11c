//! Results for people: a table for each case, and a verdict.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};

use super::latency::Latency;
use super::results::{Case, Comparison, Results, Round, SideLatency, Spread, Subject, Summary};
use super::spread::real;
use crate::report::{mebibytes, thousands};

/// Writes all of it to standard output.
pub(super) fn print(results: &Results) {
    let text = render(results, std::io::stdout().is_terminal());
    // A closed pipe is no reason to fail: the exit code says what matters.
    drop(std::io::stdout().write_all(text.as_bytes()));
}

/// One line of a table: a label, a cell for each side, and how they compare.
struct Row {
    label: String,
    cells: Vec<String>,
}

fn render(results: &Results, colours: bool) -> String {
    let mut text = String::new();
    for case in &results.cases {
        text.push('\n');
        push_line(&mut text, &bold(&title(results.subject, case), colours));
        push_line(&mut text, &format!("  {}", load(results.subject, case)));
        let rows = rows(results, case);
        let columns = rows.iter().map(|row| row.cells.len()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(|column| width(&rows, column)).collect();
        let labels = rows.iter().map(|row| row.label.chars().count()).max().unwrap_or(0);
        for row in rows {
            let mut line = format!("  {:<labels$}", row.label);
            for (cell, width) in row.cells.iter().zip(&widths) {
                write!(line, "  {cell:<width$}").expect("a string takes any text");
            }
            push_line(&mut text, line.trim_end());
        }
        for line in verdict(results, case) {
            push_line(&mut text, &format!("  {line}"));
        }
    }
    text
}

fn push_line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn bold(text: &str, colours: bool) -> String {
    match colours {
        true => format!("\u{1b}[1m{text}\u{1b}[0m"),
        false => text.to_owned(),
    }
}

fn width(rows: &[Row], column: usize) -> usize {
    let cells = rows.iter().filter_map(|row| row.cells.get(column));
    cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
}

fn title(subject: Subject, case: &Case) -> String {
    let subject = match subject {
        Subject::Edge => "edge",
        Subject::Backend => "backend",
        Subject::Tiers => "both tiers",
    };
    format!("{subject}, panel {}, layout {}", case.panel, case.layout.name())
}

fn load(subject: Subject, case: &Case) -> String {
    let payload = &case.payload;
    let compression =
        match (payload.inbound_compression.as_str(), payload.outbound_compression.as_str()) {
            ("none", "none") => "uncompressed".to_owned(),
            (inbound, outbound) => format!("{inbound} in, {outbound} out where asked for"),
        };
    let behind = match (subject, case.sinks) {
        (Subject::Edge, sinks) => format!("{sinks} backends"),
        _ => "one destination".to_owned(),
    };
    format!(
        "{} {} spans of {:.0} B from {} services in a request, fields in {} order, {compression}; \
         {} connections, {} requests on their way; {behind}",
        thousands(payload.spans_per_request as u64),
        payload.spans,
        payload.bytes_per_span,
        payload.services,
        payload.field_order,
        case.connections,
        case.in_flight
    )
}

fn rows(results: &Results, case: &Case) -> Vec<Row> {
    let mut table = Table { case, rows: Vec::new() };
    let mut names: Vec<String> =
        results.gateways.iter().map(|gateway| gateway.name.clone()).collect();
    if case.comparison.is_some() {
        names.push(names.iter().rev().cloned().collect::<Vec<_>>().join(" : "));
    }
    table.rows.push(Row { label: String::new(), cells: names });
    table.spread("CPU-s a million spans", 3, |s| s.cpu, |c| Some(c.cpu));
    table.cells("… user, system", |s| format!("{:.3}, {:.3}", s.user.median, s.system.median));
    table.scaled("M spans a second", |s| s.spans_per_second, |c| Some(c.time));
    table.scaled("M spans a CPU-second", |s| s.spans_per_core_second, |_| None);
    table.figure("peak resident memory", |s| mebibytes(s.peak_rss_bytes), |c| Some(c.peak_rss));
    table.cells("… at the start", |s| mebibytes(s.start_rss_bytes));
    table.cells("… after the last load", |s| {
        format!("{}, {:.0} s", mebibytes(s.idle_rss_bytes), s.idle_seconds)
    });
    if case.summaries.iter().any(|summary| summary.held_bytes_per_span.is_some()) {
        let held = |s: &Summary| s.held_bytes_per_span.map_or("–".to_owned(), |h| shown(h, 0));
        table.figure("bytes of memory a span held", held, |c| c.held);
    }
    table.cells("context switches a million spans", |s| format!("{:.0}", s.switches.median));
    for (index, leg) in ["in", "out"].into_iter().enumerate() {
        table.cells(&format!("{leg}: bytes a span sent, requests a million"), move |s| {
            format!("{:.0}, {:.0}", s.wire_bytes_per_span[index], s.requests_per_million[index])
        });
    }
    for limit in &case.limits {
        let least = limit.cpu_seconds_per_million_spans;
        let label = format!("times {}, {least:.3} CPU-s", limit.yardstick.name());
        table.cells(&label, |s| format!("{:.1}", s.cpu.median / least.max(1e-9)));
    }
    let mut rates: Vec<u64> = case.latency.iter().map(|of| of.run.rate).collect();
    rates.dedup();
    for rate in rates {
        let label = format!("ms at {} spans/s: p50, p99, p99.9", thousands(rate));
        table.cells(&label, |s| {
            let of = |of: &&SideLatency| of.side == s.side && of.run.rate == rate;
            case.latency.iter().find(of).map_or("–".to_owned(), |of| latency(&of.run))
        });
    }
    table.rows
}

/// Three quantiles in milliseconds, and whether they count.
fn latency(run: &Latency) -> String {
    let millis = |micros: u64| format!("{:.2}", real(micros) / 1000.0);
    let void = if run.void.is_empty() { "" } else { " void" };
    let quantiles = [run.p50_us, run.p99_us, run.p999_us].map(millis);
    format!("{}{void}", quantiles.join(", "))
}

struct Table<'a> {
    case: &'a Case,
    rows: Vec<Row>,
}

impl Table<'_> {
    fn figure(
        &mut self,
        label: &str,
        cell: impl Fn(&Summary) -> String,
        ratio: fn(&Comparison) -> Option<Spread>,
    ) {
        let cell = |summary: &Summary| match summary.rounds {
            0 => "–".to_owned(),
            _ => cell(summary),
        };
        let mut cells: Vec<String> = self.case.summaries.iter().map(cell).collect();
        if let Some(ratio) = self.case.comparison.as_ref().and_then(ratio) {
            cells.push(format!("{} ×", shown(ratio, 2)));
        }
        self.rows.push(Row { label: label.to_owned(), cells });
    }

    fn cells(&mut self, label: &str, cell: impl Fn(&Summary) -> String) {
        self.figure(label, cell, |_| None);
    }

    fn spread(
        &mut self,
        label: &str,
        digits: usize,
        of: fn(&Summary) -> Spread,
        ratio: fn(&Comparison) -> Option<Spread>,
    ) {
        self.figure(label, |summary| shown(of(summary), digits), ratio);
    }

    /// In millions.
    fn scaled(
        &mut self,
        label: &str,
        of: fn(&Summary) -> Spread,
        ratio: fn(&Comparison) -> Option<Spread>,
    ) {
        let millions = |summary: &Summary| {
            let Spread { median, min, max } = of(summary);
            Spread { median: median / 1e6, min: min / 1e6, max: max / 1e6 }
        };
        self.figure(label, |summary| shown(millions(summary), 3), ratio);
    }
}

/// The median, and the extremes behind it.
fn shown(spread: Spread, digits: usize) -> String {
    let Spread { median, min, max } = spread;
    format!("{median:.digits$} [{min:.digits$} – {max:.digits$}]")
}

/// How many rounds count and how they were checked, and why others do not.
fn verdict(results: &Results, case: &Case) -> Vec<String> {
    let mut lines = Vec::new();
    for gateway in &results.gateways {
        let rounds: Vec<&Round> =
            case.rounds.iter().filter(|round| round.side == gateway.side).collect();
        let counted: Vec<&&Round> = rounds.iter().filter(|round| round.gate.holds()).collect();
        let Some(first) = counted.first() else {
            lines.push(format!("VOID  {}: no round counts", gateway.name));
            continue;
        };
        lines.push(format!(
            "{}  {}: {} of {} rounds of {} spans count; all spans arrived {}, each trace at one \
             place",
            if counted.len() == rounds.len() { "ok  " } else { "VOID" },
            gateway.name,
            counted.len(),
            rounds.len(),
            thousands(first.spans),
            first.gate.fidelity.name()
        ));
    }
    for round in &case.rounds {
        let name = |round: &Round| {
            let gateway = results.gateways.iter().find(|gateway| gateway.side == round.side);
            gateway.map_or(round.side.name(), |gateway| &gateway.name).to_owned()
        };
        for (word, reasons) in [("void", &round.gate.failures), ("doubtful", &round.doubts)] {
            for reason in reasons {
                lines.push(format!("{word}: {}, round {}: {reason}", name(round), round.pair + 1));
            }
        }
    }
    for SideLatency { side, run } in &case.latency {
        let gateway = results.gateways.iter().find(|gateway| gateway.side == *side);
        let name = gateway.map_or(side.name(), |gateway| &gateway.name);
        for reason in &run.void {
            lines.push(format!("void: {name} at {} spans/s: {reason}", thousands(run.rate)));
        }
    }
    lines
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bench::results::{FORMAT, Gateway, Layout, Machine, Payload, Side};
    use crate::bench::spread::tests::round;
    use crate::bench::summary::summarize;

    pub(in crate::bench) fn results(rounds: Vec<Round>) -> Results {
        let summarize = |side| {
            let of_side: Vec<&Round> = rounds.iter().filter(|round| round.side == side).collect();
            summarize(side, &of_side, 1 << 20, (1 << 21, Duration::from_secs(10)))
        };
        let gateway = |side, name: &str| Gateway { side, name: name.into(), programs: vec![] };
        Results {
            format: FORMAT,
            started: "2026-11-26T04:00:00Z".into(),
            version: "0.1.0".into(),
            command: vec!["loadtest".into()],
            subject: Subject::Edge,
            seed: 1,
            machine: Machine {
                kernel: "6.18".into(),
                cpu: "CPU".into(),
                cpu_flags: vec!["avx2".into()],
                cores: 2,
                memory_bytes: 1 << 30,
                load_average: "0.10".into(),
            },
            gateways: vec![gateway(Side::Sut, "ours"), gateway(Side::Peer, "theirs")],
            cases: vec![Case {
                panel: "512".into(),
                layout: Layout::Apart,
                payload: Payload {
                    spans_per_request: 512,
                    services: 8,
                    spans: "plain".into(),
                    field_order: "sdk".into(),
                    inbound_compression: "none".into(),
                    outbound_compression: "none".into(),
                    bytes_per_span: 565.0,
                    file_xxh3: "0".into(),
                },
                connections: 2,
                in_flight: 8,
                sinks: 5,
                summaries: vec![summarize(Side::Sut), summarize(Side::Peer)],
                comparison: Comparison::of(&rounds),
                rounds,
                limits: vec![],
                latency: vec![],
            }],
        }
    }

    #[test]
    fn both_sides_stand_beside_each_other() {
        let results = results(vec![round(Side::Sut, 0, 0.5), round(Side::Peer, 0, 5.0)]);
        let text = render(&results, false);
        assert!(results.is_valid());
        for line in [
            "edge, panel 512, layout apart",
            "CPU-s a million spans                       0.500 [0.500 – 0.500]  \
             5.000 [5.000 – 5.000]  10.00 [10.00 – 10.00] ×",
            "ours                   theirs                 theirs : ours",
            "ok    theirs: 1 of 1 rounds of 1,000,000 spans count; all spans arrived byte for \
             byte, each trace at one place",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_void_round_is_named_with_its_reason() {
        let mut void = round(Side::Peer, 0, 5.0);
        void.gate.failures.push("5 spans arrived, not 6".into());
        let mut doubtful = round(Side::Sut, 0, 0.5);
        doubtful.doubts.push("the host took 3.0 % of the time".into());
        let results = results(vec![doubtful, void]);
        let text = render(&results, false);
        assert!(!results.is_valid());
        for line in [
            "VOID  theirs: no round counts",
            "void: theirs, round 1: 5 spans arrived, not 6",
            "doubtful: ours, round 1: the host took 3.0 % of the time",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(!text.contains("theirs : ours"));
    }

    #[test]
    fn results_are_the_same_when_they_are_read_again() {
        let results = results(vec![round(Side::Sut, 0, 0.5), round(Side::Peer, 0, 5.0)]);
        let json = serde_json::to_string(&results).unwrap();
        assert_eq!(serde_json::from_str::<Results>(&json).unwrap(), results);
    }
}
