//! What came of a replay, for people and for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::super::evaluate::Standing;
use super::super::policy::Decision;
use super::super::tally::Amount;
use super::Input;
use super::comparison::{Change, Changes};
use super::side::{PolicyResult, Result};

/// For whom it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// People.
    Text,
    /// Programs.
    Json,
}

/// All of it; each configuration under its title.
pub(super) fn write(
    format: Format,
    input: Input,
    sides: &[(&str, Result)],
    changes: Option<&Changes>,
) -> String {
    match format {
        Format::Text => text(input, sides, changes),
        Format::Json => {
            let results = sides.iter().map(|(title, result)| document(title, result, input));
            let mut document = json!({
                "input": {
                    "requests": input.requests,
                    "spans": input.spans,
                    "bytes": input.bytes,
                    "traffic_seconds": seconds(input.traffic_ns),
                },
                "results": results.collect::<Value>(),
            });
            if let Some(changes) = changes {
                document["changes"] = changes_document(changes);
            }
            format!("{document:#}\n")
        }
    }
}

/// Traces by what was decided about them, in the order of [`Decision::ALL`].
fn traces(result: &Result) -> [u64; 3] {
    result.tally.decisions
}

fn document(title: &str, result: &Result, input: Input) -> Value {
    let [sampled, not_sampled, dropped] = traces(result);
    let all = sampled + not_sampled + dropped + result.tally.too_large();
    json!({
        "config": title,
        "traces": all,
        "sampled": sampled,
        "not_sampled": not_sampled,
        "dropped": dropped,
        "too_large": result.tally.too_large(),
        "kept_share_of_traces": share(sampled, all),
        "kept_spans": result.output.spans,
        "kept_share_of_spans": share(result.output.spans, input.spans),
        "kept_bytes": result.output.bytes,
        "kept_share_of_bytes": share(result.output.bytes, input.bytes),
        "kept_requests": result.output.requests,
        "policies": result.policies.iter().map(policy_document).collect::<Value>(),
    })
}

fn policy_document(policy: &PolicyResult) -> Value {
    let PolicyResult { name, standing, tally } = policy;
    let mut document = json!({"policy": name, "errors": tally.errors});
    for (decision, amount) in Decision::ALL.into_iter().zip(tally.votes) {
        document[decision.label()] = amount_document(amount);
    }
    document["nanoseconds"] = json!(u64::try_from(tally.time.as_nanos()).unwrap_or(u64::MAX));
    match standing {
        Standing::Applied => document["exclusive"] = amount_document(tally.alone),
        Standing::FirstMatch => {}
        Standing::DryRun => {
            document["dry_run"] = json!(true);
            document["would_change"] = amount_document(tally.alone);
        }
    }
    document
}

fn amount_document(Amount { traces, spans, bytes }: Amount) -> Value {
    json!({"traces": traces, "spans": spans, "bytes": bytes})
}

fn changes_document(changes: &Changes) -> Value {
    let kinds = changes.kinds.iter().map(|([before, after], amount)| {
        let mut document = amount_document(*amount);
        document["before"] = json!(before);
        document["after"] = json!(after);
        document
    });
    json!({
        "compared": changes.compared,
        "uncompared": changes.uncompared,
        "gained": amount_document(changes.gained),
        "lost": amount_document(changes.lost),
        "kinds": kinds.collect::<Value>(),
        "other_kinds": amount_document(changes.other_kinds),
        "listed": changes.listed.iter().map(change_document).collect::<Value>(),
    })
}

fn change_document(change: &Change) -> Value {
    let votes = change.votes.iter().map(
        |(policy, [before, after])| json!({"policy": policy, "before": before, "after": after}),
    );
    json!({
        "trace_id": change.trace_id,
        "spans": change.spans,
        "bytes": change.bytes,
        "duration_ms": change.duration_ms,
        "before": change.deciders[0],
        "after": change.deciders[1],
        "votes": votes.collect::<Value>(),
    })
}

fn text(input: Input, sides: &[(&str, Result)], changes: Option<&Changes>) -> String {
    let mut page = Page(String::new());
    page.line(format_args!(
        "{} requests, {} spans, {}, {:.1} s of traffic",
        input.requests,
        input.spans,
        size(input.bytes),
        seconds(input.traffic_ns)
    ));
    for (title, result) in sides {
        page.line(format_args!(""));
        page.line(format_args!("{title}"));
        page.result(result, input);
    }
    if let Some(changes) = changes {
        page.line(format_args!(""));
        page.changes(changes);
    }
    page.0
}

struct Page(String);

impl Page {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.0, "{line}").expect("a string takes any text");
    }

    fn result(&mut self, result: &Result, input: Input) {
        let decided = traces(result);
        let all = decided.iter().sum::<u64>() + result.tally.too_large();
        let output = result.output;
        for (what, kept, of) in [
            ("traces", decided[0], all),
            ("spans", output.spans, input.spans),
            ("bytes", output.bytes, input.bytes),
        ] {
            let percent = share(kept, of) * 100.0;
            self.line(format_args!("  keeps {kept} of {of} {what} ({percent:.2} %)"));
        }
        if result.tally.too_large() > 0 {
            let too_large = result.tally.too_large();
            self.line(format_args!("  {too_large} traces are too large to be kept"));
        }
        let width = result.policies.iter().map(|of| of.name.len()).max().unwrap_or(0).max(6);
        self.line(format_args!(
            "  {:width$}  {:>9} {:>10} {:>10}  {:>9} {:>10} {:>10}  {:>9} {:>7} {:>9}",
            "policy",
            "keeps",
            "spans",
            "bytes",
            "only it",
            "spans",
            "bytes",
            "drops",
            "fails",
            "ns/trace"
        ));
        for policy in &result.policies {
            self.policy(policy, width);
        }
        let standings: Vec<_> = result.policies.iter().map(|policy| policy.standing).collect();
        if standings.contains(&Standing::FirstMatch) {
            self.line(format_args!(
                "  what only one policy keeps is not known with sample_on_first_match"
            ));
        }
        if standings.contains(&Standing::DryRun) {
            self.line(format_args!(
                "  * in dry run: changes nothing; \"only it\" is what would be decided otherwise"
            ));
        }
    }

    fn policy(&mut self, policy: &PolicyResult, width: usize) {
        let PolicyResult { name, standing, tally } = policy;
        let [keeps, not, drops] = tally.votes;
        let alone = match standing {
            Standing::FirstMatch => ["-", "-", "-"].map(str::to_owned),
            Standing::Applied | Standing::DryRun => columns(tally.alone),
        };
        let asked = keeps.traces + not.traces + drops.traces + tally.errors;
        let time = u64::try_from(tally.time.as_nanos()).unwrap_or(u64::MAX) / asked.max(1);
        let mark = if *standing == Standing::DryRun { " *" } else { "" };
        let [traces, spans, bytes] = columns(keeps);
        self.line(format_args!(
            "  {name:width$}  {traces:>9} {spans:>10} {bytes:>10}  {:>9} {:>10} {:>10}  {:>9} \
             {:>7} {time:>9}{mark}",
            alone[0], alone[1], alone[2], drops.traces, tally.errors
        ));
    }

    fn changes(&mut self, changes: &Changes) {
        let Changes { compared, uncompared, gained, lost, .. } = changes;
        self.line(format_args!("{} of {compared} traces change", gained.traces + lost.traces));
        for (what, amount) in [("kept instead of not", gained), ("not kept any more", lost)] {
            let Amount { traces, spans, bytes } = *amount;
            let bytes = size(bytes);
            self.line(format_args!("  {traces} {what}: {spans} spans, {bytes}"));
        }
        if *uncompared > 0 {
            self.line(format_args!(
                "  {uncompared} decisions are not compared: only one configuration made them"
            ));
        }
        for ([before, after], amount) in &changes.kinds {
            self.line(format_args!("  {:>9}  {before} -> {after}", amount.traces));
        }
        if changes.other_kinds.traces > 0 {
            self.line(format_args!("  {:>9}  by others", changes.other_kinds.traces));
        }
        for change in &changes.listed {
            self.change(change);
        }
        let more = gained.traces + lost.traces - changes.listed.len() as u64;
        if more > 0 {
            self.line(format_args!("and {more} more; list more of them with --limit"));
        }
    }

    fn change(&mut self, change: &Change) {
        let Change { trace_id, spans, duration_ms, deciders: [before, after], .. } = change;
        let bytes = size(change.bytes);
        self.line(format_args!("{trace_id}: {spans} spans, {bytes}, {duration_ms} ms"));
        self.line(format_args!("  {before} -> {after}"));
        for (policy, votes) in &change.votes {
            let [before, after] =
                votes.each_ref().map(|vote| vote.as_deref().unwrap_or("not there"));
            self.line(format_args!("    {policy}: {before} -> {after}"));
        }
    }
}

fn columns(Amount { traces, spans, bytes }: Amount) -> [String; 3] {
    [traces.to_string(), spans.to_string(), size(bytes)]
}

#[allow(clippy::cast_precision_loss, reason = "shares of counts far below 2^53")]
fn share(part: u64, of: u64) -> f64 {
    match of {
        0 => 0.0,
        of => part as f64 / of as f64,
    }
}

#[allow(clippy::cast_precision_loss, reason = "rounded anyway")]
fn seconds(ns: u64) -> f64 {
    (ns / 1_000_000) as f64 / 1000.0
}

/// Bytes in the largest unit that leaves a whole number before the point.
#[allow(clippy::cast_precision_loss, reason = "rounded anyway")]
fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return match unit {
                "B" => format!("{bytes} B"),
                unit => format!("{value:.1} {unit}"),
            };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}
