//! `loadtest scenario`: what goes wrong around an edge, with real processes, and what became of
//! every single span.
//!
//! ```text
//! sender ──▶ edges ──▶ 5 misbehaving backends ──▶ records
//!    │         ▲  │
//!    │        DNS └──▶ metrics ─┐
//!    └──▶ what was acknowledged ┴─▶ findings
//! ```
//!
//! A run is fair weather, a fault, and fair weather again, under a load that does not slow down.
//! Who delivered what is known from the backends' records, which outlive them; the edge's own
//! counters are only compared with it.

mod bench;
mod edge;
mod findings;
mod script;
mod sender;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use shared::clock;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

pub use findings::Findings;
pub use script::Scenario;

use crate::cli::{BinaryArguments, duration};
use crate::progress::say;
use crate::report::Report;
use crate::testbed::TestbedError;
use crate::testbed::binaries::Binaries;
use crate::testbed::cluster::until;
use bench::Bench;
use edge::EdgeTotals;
use findings::Evidence;
use sender::OpenLoop;

/// When a request is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// When every backend has its part, which is the default of the edge
    EndToEnd,
    /// When it is in the edge's `sending_queue`
    Queue,
}

impl Mode {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Mode::EndToEnd => "end-to-end",
            Mode::Queue => "queue",
        }
    }
}

/// How to run scenarios.
#[derive(Debug, Clone)]
pub struct Options {
    /// Fair weather before the fault.
    pub before: Duration,
    /// Length of the fault.
    pub fault: Duration,
    /// Fair weather after the fault.
    pub after: Duration,
    /// Spans a second.
    pub rate: u64,
    /// Spans in a request.
    pub spans_per_request: u64,
    /// Connections that requests come by.
    pub clients: usize,
    /// Number of edges.
    pub edges: usize,
    /// How often the edges ask DNS.
    pub dns_interval: Duration,
    /// Settings of the edges on top of the sample's.
    pub edge_settings: Vec<String>,
    /// This crate's binary, which plays the backends.
    pub program: PathBuf,
    /// The edge.
    pub binaries: Binaries,
}

/// Requests are tried so long after the load has ended.
const PATIENCE: Duration = Duration::from_secs(45);

/// Runs a scenario.
///
/// # Errors
/// When something cannot be started or does not come about; that an edge loses something is no
/// error but a finding.
pub async fn run(
    scenario: Scenario,
    mode: Mode,
    options: &Options,
) -> Result<Findings, TestbedError> {
    let mut bench = Bench::start(scenario, mode, options).await?;
    let stop = CancellationToken::new();
    let open_loop = OpenLoop {
        targets: bench.clients(options.clients)?,
        rate: options.rate,
        spans_per_request: options.spans_per_request,
    };
    let began_ns = clock::unix_ns();
    let sending = tokio::spawn(open_loop.run(stop.clone(), PATIENCE));
    sleep(options.before).await;
    let fault_ns = clock::unix_ns();
    let played = scenario.play(&mut bench, options.fault).await;
    let fair_ns = clock::unix_ns();
    sleep(options.after).await;
    stop.cancel();
    let sent = sending.await.map_err(|error| TestbedError::new(format!("sender: {error}")))?;
    played?;

    // What does not settle shows in the findings.
    let settled = until("the edges hold nothing", async || {
        let totals = EdgeTotals::of(&bench.telemetry().await?);
        Ok(totals.held == 0 && totals.adds_up())
    });
    if let Err(error) = settled.await {
        say(&format!("warning: {error}"));
    }
    let edge = EdgeTotals::of(&bench.telemetry().await?);
    let mut records = Vec::new();
    for sink in &bench.sinks {
        records.push(sink.record()?);
    }
    let clean_exit = bench.stop().await?;
    Ok(Findings::of(&Evidence {
        scenario,
        mode,
        sent: &sent,
        records: &records,
        edge,
        clean_exit,
        phases: [began_ns, fault_ns, fair_ns],
    }))
}

/// `loadtest scenario`.
#[derive(Debug, Clone, Args)]
pub struct ScenarioArguments {
    /// Which scenario, or "all"
    #[arg(value_name = "NAME", value_parser = scenarios)]
    names: Scenarios,
    /// When requests are acknowledged; both in turn if it is left out
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// Length of the fault
    #[arg(long, value_parser = duration, default_value = "30s")]
    duration: Duration,
    /// Fair weather before the fault
    #[arg(long, value_parser = duration, default_value = "10s")]
    before: Duration,
    /// Fair weather after the fault
    #[arg(long, value_parser = duration, default_value = "10s")]
    after: Duration,
    /// Spans a second over all edges, whatever happens
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rate: u64,
    /// Spans in a request
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    spans_per_request: u64,
    /// Clients, with a connection each to one of the edges
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    clients: u16,
    /// Number of edges
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=9))]
    edges: u8,
    /// How often the edges ask DNS
    #[arg(long, value_parser = duration, default_value = "1s")]
    dns_interval: Duration,
    /// A setting of the edges on top of the sample configuration
    #[arg(long = "set", value_name = "KEY::PATH=VALUE")]
    settings: Vec<String>,
    /// How findings are printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    binaries: BinaryArguments,
}

/// One scenario or all.
#[derive(Debug, Clone)]
struct Scenarios(Vec<Scenario>);

fn scenarios(name: &str) -> Result<Scenarios, String> {
    let all = Scenario::value_variants();
    if name == "all" {
        return Ok(Scenarios(all.to_vec()));
    }
    let found = Scenario::from_str(name, false).ok();
    found.map(|scenario| Scenarios(vec![scenario])).ok_or_else(|| {
        let names: Vec<String> = all.iter().map(|scenario| scenario.name()).collect();
        format!("there are: all, {}", names.join(", "))
    })
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Runs what was asked for; true when every claim holds in every scenario.
///
/// # Errors
/// When something cannot be started.
pub async fn main(
    arguments: ScenarioArguments,
    stop: CancellationToken,
) -> Result<bool, TestbedError> {
    let program = std::env::current_exe()
        .map_err(|error| TestbedError::new(format!("cannot find this executable: {error}")))?;
    let options = Options {
        before: arguments.before,
        fault: arguments.duration,
        after: arguments.after,
        rate: arguments.rate,
        spans_per_request: arguments.spans_per_request,
        clients: arguments.clients.into(),
        edges: arguments.edges.into(),
        dns_interval: arguments.dns_interval,
        edge_settings: arguments.settings,
        program,
        binaries: arguments.binaries.find().await?,
    };
    let modes = match arguments.mode {
        Some(mode) => vec![mode],
        None => vec![Mode::EndToEnd, Mode::Queue],
    };
    let mut holds = true;
    for scenario in arguments.names.0 {
        for mode in &modes {
            say(&format!("{}, {}: {}", scenario.name(), mode.name(), scenario.about()));
            let findings = tokio::select! {
                findings = run(scenario, *mode, &options) => findings?,
                () = stop.cancelled() => return Ok(false),
            };
            let mut report = Report::new();
            findings.report(&mut report);
            holds &= report.holds();
            match arguments.format {
                Format::Text => report.print(),
                Format::Json => print_line(&findings.json(report.holds()).to_string()),
            }
        }
    }
    Ok(holds)
}

fn print_line(line: &str) {
    use std::io::Write as _;
    // A closed pipe is no reason to fail: the exit code says what matters.
    drop(writeln!(std::io::stdout(), "{line}"));
}
