//! A backend that judges while it takes in, as it does when it is in use.
//!
//! The rounds follow each other without a pause, so traces of one are judged during the next, and
//! memory that is let go is written again. A round's CPU time is that from its first request to
//! its last; as many spans as came in were let go meanwhile, and the report says how many.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::backend::{Bench, start};
use super::{Prepared, closed_loop, end, median, prepare, real};
use crate::cli::MeasureArguments;
use crate::progress::say;
use crate::report::{Report, mebibytes, per_million, thousands};
use crate::send::{Counts, Replay};
use crate::testbed::TestbedError;
use crate::testbed::cluster::until;
use crate::testbed::process::GRPC;

/// How long the backend keeps a trace.
const DECISION_WAIT: Duration = Duration::from_secs(2);
/// Rounds' worth of spans ahead of the first: with the usual million more than are taken in until
/// the first are judged. The report tells whether it was so.
const WARM_UP: u64 = 3;

/// What one round showed.
struct Round {
    /// CPU-seconds a million spans taken in.
    cpu: f64,
    /// Spans taken in a second.
    rate: f64,
    /// Spans let go for each that was taken in: 1 if the load is steady.
    judged: f64,
    /// Spans held at its end, in millions.
    held: f64,
    /// Resident memory for each of them, above the start's, in bytes.
    bytes_held: f64,
}

pub(super) async fn measure(arguments: MeasureArguments) -> Result<Report, TestbedError> {
    let logs = tempfile::tempdir().map_err(|error| TestbedError::new(error.to_string()))?;
    let bench = start(&arguments, DECISION_WAIT, logs.path()).await?;
    let at_start = bench.backend.usage()?.rss;
    let all = (WARM_UP + u64::from(arguments.rounds)) * arguments.spans;
    say(&format!("making {} spans", thousands(all)));
    let prepared = prepare(&arguments, 1, all, arguments.policies.oracle()).await;
    let requests = requests_of(&prepared, arguments.spans);
    let rounds = usize::try_from(arguments.rounds).unwrap_or(usize::MAX);
    let ahead = prepared.requests.len().saturating_sub(requests.saturating_mul(rounds));
    let (ahead, measured) = prepared.requests.split_at(ahead);
    say(&format!("warming up, then {rounds} rounds"));
    let mut sent = send(&bench, &arguments, ahead).await?;
    let mut shown = Vec::new();
    for requests in measured.chunks(requests) {
        let (before, flow) = (bench.backend.usage()?, bench.flow().await?);
        let begun = shared::clock::now();
        let spans = send(&bench, &arguments, requests).await?;
        let (after, took) = (bench.backend.usage()?, begun.elapsed());
        let now = bench.flow().await?;
        sent += spans;
        let let_go = now.received - now.held - (flow.received - flow.held);
        let round = Round {
            cpu: per_million(after.cpu.saturating_sub(before.cpu), spans),
            rate: real(spans) / took.as_secs_f64(),
            judged: real(let_go) / real(spans),
            held: real(now.held) / 1e6,
            bytes_held: real(after.rss.saturating_sub(at_start)) / real(now.held.max(1)),
        };
        say(&format!(
            "round {}: {:.3} CPU-s a million spans, {:.2} let go for each",
            shown.len() + 1,
            round.cpu,
            round.judged
        ));
        shown.push(round);
    }
    let mut report = Report::new();
    finish(&bench, &prepared, sent).await?;
    describe(&mut report, &arguments, &prepared, &shown, &bench).await?;
    end(bench.backend, &mut report).await;
    Ok(report)
}

/// How many requests have about so many spans.
fn requests_of(prepared: &Prepared, spans: u64) -> usize {
    let requests = spans * prepared.requests.len() as u64 / prepared.spans.max(1);
    usize::try_from(requests.max(1)).unwrap_or(usize::MAX)
}

/// Sends requests once, and waits until the last is acknowledged; tells how many spans they had.
async fn send(
    bench: &Bench,
    arguments: &MeasureArguments,
    requests: &[shared::Batch],
) -> Result<u64, TestbedError> {
    let counts = Arc::new(Counts::default());
    let load = closed_loop(arguments, bench.backend.at(GRPC))?;
    let source = Replay::new(requests.into(), requests.len());
    load.run(source, Arc::clone(&counts), CancellationToken::new()).await;
    match counts.last_failure() {
        Some(reason) => Err(TestbedError::new(format!("spans were given up: {reason}"))),
        None => Ok(counts.sent()),
    }
}

/// Waits until everything was judged and exported, and compares it with the oracle.
async fn finish(bench: &Bench, prepared: &Prepared, sent: u64) -> Result<(), TestbedError> {
    until("the backend judged and exported every trace", async || {
        let flow = bench.flow().await?;
        Ok(flow.held == 0 && flow.exported + flow.failed >= flow.forwarded)
    })
    .await?;
    let (exported, expected) = (bench.sink.ledger().spans(), bench.expected(prepared));
    if sent != prepared.spans || exported != expected {
        return Err(TestbedError::new(format!(
            "the measurement does not count: {sent} of {} spans acknowledged, {exported} exported \
             where the oracle says {expected}",
            prepared.spans
        )));
    }
    Ok(())
}

async fn describe(
    report: &mut Report,
    arguments: &MeasureArguments,
    prepared: &Prepared,
    rounds: &[Round],
    bench: &Bench,
) -> Result<(), TestbedError> {
    let bytes = prepared.truth.bytes / prepared.truth.spans.max(1);
    report.section(format!(
        "Backend on one core, {} policies, {} spans of {bytes} B in a request, buffer {}, judging \
         after {} s while taking in",
        arguments.policies.name(),
        arguments.spans_per_request,
        if arguments.sealed { "sealed" } else { "plain" },
        DECISION_WAIT.as_secs()
    ));
    let of = |value: fn(&Round) -> f64| rounds.iter().map(value).collect::<Vec<_>>();
    let (cpu, range) = median(&of(|round| round.cpu), 3, "CPU-s");
    report.row("a million spans", cpu, range);
    let (rate, range) = median(&of(|round| round.rate / 1e6), 3, "M");
    report.row("spans a second", rate, range);
    let (judged, range) = median(&of(|round| round.judged), 2, "×");
    report.row("spans let go for each taken in", judged, range);
    let (held, range) = median(&of(|round| round.held), 2, "M");
    report.row("spans held", held, range);
    let (held, range) = median(&of(|round| round.bytes_held), 0, "B");
    report.row("resident memory a held span", held, range);
    let peak = bench.backend.usage()?.peak_rss;
    report.row("peak resident memory", mebibytes(peak), "");
    let share = real(bench.sink.ledger().spans()) * 100.0 / real(prepared.spans);
    report.row("exported", format!("{share:.1} %"), "as the oracle says");
    let each = thousands(arguments.spans);
    report.row("rounds", thousands(rounds.len() as u64), format!("of {each} spans; medians"));
    let flow = bench.flow().await?;
    report.check(flow.is_conserved(), "every span is accounted for", flow.sum());
    Ok(())
}
