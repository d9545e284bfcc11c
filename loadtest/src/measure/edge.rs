//! One edge between the generator and five backends, played by sinks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{CORE, Prepared, closed_loop, end, median, prepare, real};
use crate::cli::MeasureArguments;
use crate::ledger::Detail;
use crate::oracle::Policies;
use crate::progress::say;
use crate::report::{Report, mebibytes, per_million, thousands};
use crate::send::{Counts, Replay};
use crate::sink::Sink;
use crate::testbed::cluster::until;
use crate::testbed::dns::DnsServer;
use crate::testbed::process::{GRPC, Launch, Process, Tier};
use crate::testbed::usage::Usage;
use crate::testbed::{TestbedError, address};

const BACKENDS: usize = 5;

struct Round {
    cpu: f64,
    rate: f64,
}

/// The loads of `--panel`: spans in a request, and clients.
const PANEL: [(u32, u32); 4] = [(512, 2), (512, 32), (100, 2), (100, 32)];

pub(super) async fn measure(arguments: MeasureArguments) -> Result<Report, TestbedError> {
    let mut report = Report::new();
    if !arguments.panel {
        measure_load(&mut report, &arguments).await?;
        return Ok(report);
    }
    for (spans_per_request, clients) in PANEL {
        say(&format!("{spans_per_request} spans in a request, {clients} clients"));
        let load = MeasureArguments { spans_per_request, clients, ..arguments.clone() };
        measure_load(&mut report, &load).await?;
    }
    Ok(report)
}

/// Measures an edge that was started for this load.
async fn measure_load(
    report: &mut Report,
    arguments: &MeasureArguments,
) -> Result<(), TestbedError> {
    let binaries = arguments.binaries.clone().find().await?;
    let mut sinks = Vec::new();
    for _ in 0..BACKENDS {
        let address = SocketAddr::from((address::unique(), GRPC));
        sinks.push(Sink::start(address, Detail::Counts).await?);
    }
    let addresses = sinks.iter().map(|sink| sink.address().ip()).collect();
    let dns = DnsServer::start(address::unique(), "backend.tailrace.test", addresses).await?;
    let logs = tempfile::tempdir().map_err(|error| TestbedError::new(error.to_string()))?;
    let edge = Launch::sample(Tier::Edge, 0, address::unique())
        .env("TAILRACE_BACKEND", dns.name())
        .env("TAILRACE_NAMESERVERS", format!("[\"{}\"]", dns.address()))
        .on_core(CORE)
        .start(&binaries, logs.path())
        .await?;
    until("the edge sees every backend", async || {
        let page = edge.telemetry().await?;
        Ok(page.sum("otelcol_loadbalancer_num_backends") == BACKENDS as u64)
    })
    .await?;

    // A tenth of a round, sent again and again: the edge keeps nothing, so it cannot tell.
    let spans = (arguments.spans / 10).max(10_000);
    let prepared = prepare(arguments, 1, spans, Policies::default()).await;
    say(&format!("warming up, then {} rounds", arguments.rounds));
    let mut sent = round(arguments, &edge, &prepared, arguments.spans / 5).await?.1;
    let pid = edge.pid().unwrap_or_default();
    Usage::reset_peak(pid)?;
    let mut rounds = Vec::new();
    for number in 1..=arguments.rounds {
        let (round, spans) = round(arguments, &edge, &prepared, arguments.spans).await?;
        sent += spans;
        say(&format!("round {number}: {:.3} CPU-s a million spans", round.cpu));
        rounds.push(round);
    }
    let usage = edge.usage()?;
    let received = sinks.iter().map(|sink| sink.ledger().spans()).sum();
    describe(report, arguments, &prepared, &rounds, usage);
    report.check_equal("spans received by the backends", received, sent);
    let busiest = sinks.iter().map(|sink| sink.ledger().spans()).max().unwrap_or(0);
    let share = real(busiest * BACKENDS as u64) / real(received);
    report.row("busiest backend", format!("{share:.3} ×"), "the mean");
    end(edge, report).await;
    Ok(())
}

/// Sends at least `spans` spans, and waits until the last is acknowledged.
async fn round(
    arguments: &MeasureArguments,
    edge: &Process,
    prepared: &Prepared,
    spans: u64,
) -> Result<(Round, u64), TestbedError> {
    let requests = spans * prepared.requests.len() as u64 / prepared.spans;
    let source = Replay::new(
        Arc::clone(&prepared.requests),
        usize::try_from(requests.max(1)).unwrap_or(usize::MAX),
    );
    let counts = Arc::new(Counts::default());
    let load = closed_loop(arguments, edge.at(GRPC))?;
    let before = edge.usage()?.cpu;
    let outcome = load.run(source, Arc::clone(&counts), CancellationToken::new()).await;
    let cpu: Duration = edge.usage()?.cpu.saturating_sub(before);
    if let Some(reason) = counts.last_failure() {
        return Err(TestbedError::new(format!("spans were given up: {reason}")));
    }
    let sent = counts.sent();
    let rate = real(sent) / outcome.elapsed.as_secs_f64();
    Ok((Round { cpu: per_million(cpu, sent), rate }, sent))
}

fn describe(
    report: &mut Report,
    arguments: &MeasureArguments,
    prepared: &Prepared,
    rounds: &[Round],
    usage: Usage,
) {
    let bytes = prepared.truth.bytes / prepared.truth.spans.max(1);
    report.section(format!(
        "Edge on one core, {BACKENDS} backends, {} spans of {bytes} B in a request, {} clients with \
         {} requests on their way, uncompressed, acknowledged end to end",
        arguments.spans_per_request,
        arguments.clients,
        arguments.concurrency.max(arguments.clients)
    ));
    let of = |value: fn(&Round) -> f64| rounds.iter().map(value).collect::<Vec<_>>();
    let (cpu, range) = median(&of(|round| round.cpu), 3, "CPU-s");
    report.row("a million spans", cpu, range);
    let (rate, range) = median(&of(|round| round.rate / 1e6), 3, "M");
    report.row("spans a second", rate, range);
    report.row("peak resident memory", mebibytes(usage.peak_rss), "since the warm-up");
    let each = thousands(arguments.spans);
    report.row("rounds", thousands(rounds.len() as u64), format!("of {each} spans; medians"));
}
