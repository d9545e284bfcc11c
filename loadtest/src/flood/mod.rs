//! `loadtest flood`: clients that are slow, greedy or broken, and one that behaves.
//!
//! An edge with the sample configuration stands between them and backends played by sinks. Each
//! flood goes on for a while beside a well-behaved client, which has to get every span through;
//! the edge has to stay within a memory limit.

mod abuse;
mod bench;
mod good;
mod one_span;
mod raw;
mod slow;

use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio_util::sync::CancellationToken;

use crate::cli::{BinaryArguments, duration};
use crate::report::{Report, mebibytes, thousands};
use crate::testbed::TestbedError;
use crate::testbed::binaries::Binaries;
use bench::{Bench, Findings};

/// Descriptors besides those of the flood's connections.
const OTHER_DESCRIPTORS: u64 = 500;

/// A kind of flood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Flood {
    /// None: the well-behaved client alone, to compare with
    Calm,
    /// Connections that say nothing, or trickle openings, headers and bodies
    Slow,
    /// As many requests of one span as go
    OneSpan,
    /// HTTP/2 streams that are reset as soon as they are begun
    Resets,
    /// Headers that are huge, grow huge, or do not end
    Bombs,
}

/// `loadtest flood`.
#[derive(Debug, Clone, Args)]
pub struct FloodArguments {
    /// Which floods; all if none is named
    #[arg(value_enum)]
    pub floods: Vec<Flood>,
    /// Slow and half-open connections at a time
    #[arg(long, default_value_t = 10_000)]
    pub connections: u64,
    /// How long they are held, and each other flood lasts at least
    #[arg(long, value_parser = duration, default_value = "30s")]
    pub hold: Duration,
    /// Requests of one span
    #[arg(long, default_value_t = 1_000_000)]
    pub requests: u64,
    /// Streams that are reset, at least
    #[arg(long, default_value_t = 1_000_000)]
    pub resets: u64,
    /// Connections with a header bomb on them, at least
    #[arg(long, default_value_t = 10_000)]
    pub bombs: u64,
    /// Spans a second of the well-behaved client
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: u64,
    /// What the edge may use; the sample's memory limiter is set as in a container of this size
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(64..))]
    pub memory_limit_mib: u64,
    /// Other settings of the edge, as `key::path=value`
    #[arg(long, value_name = "SETTING")]
    pub set: Vec<String>,
    #[command(flatten)]
    pub(crate) binaries: BinaryArguments,
}

/// How large the floods are.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which.
    pub floods: Vec<Flood>,
    /// Slow and half-open connections at a time.
    pub connections: u64,
    /// How long they are held, and each other flood lasts at least.
    pub hold: Duration,
    /// Requests of one span.
    pub requests: u64,
    /// Streams that are reset.
    pub resets: u64,
    /// Connections with a header bomb.
    pub bombs: u64,
    /// Spans a second of the well-behaved client.
    pub rate: u64,
    /// What the edge may use.
    pub memory_limit_mib: u64,
    /// Settings of the edge on top of the sample's.
    pub settings: Vec<String>,
    /// What is run.
    pub binaries: Binaries,
}

/// Floods an edge as told; true when it held out.
///
/// # Errors
/// When something cannot be started, or the edge is gone.
pub async fn main(
    arguments: FloodArguments,
    stop: CancellationToken,
) -> Result<bool, TestbedError> {
    let floods = match arguments.floods.as_slice() {
        [] => Flood::value_variants().to_vec(),
        some => some.to_vec(),
    };
    let options = Options {
        floods,
        connections: arguments.connections,
        hold: arguments.hold,
        requests: arguments.requests,
        resets: arguments.resets,
        bombs: arguments.bombs,
        rate: arguments.rate,
        memory_limit_mib: arguments.memory_limit_mib,
        settings: arguments.set,
        binaries: arguments.binaries.find().await?,
    };
    tokio::select! {
        report = run(options) => {
            let report = report?;
            report.print();
            Ok(report.holds())
        }
        () = stop.cancelled() => Ok(false),
    }
}

/// Runs the floods one after the other, against one edge.
///
/// # Errors
/// When something cannot be started, or the edge is gone.
pub async fn run(mut options: Options) -> Result<Report, TestbedError> {
    let descriptors = raise_descriptors()?;
    let room = descriptors.saturating_sub(OTHER_DESCRIPTORS);
    let fit = options.connections.min(room);
    let mut report = Report::new();
    if fit < options.connections {
        report.note(format!(
            "{} descriptors are to be had, so {} connections instead of {}",
            thousands(descriptors),
            thousands(fit),
            thousands(options.connections)
        ));
        options.connections = fit;
    }
    let mut bench = Bench::start(&options).await?;
    for flood in options.floods.clone() {
        let findings = match flood {
            Flood::Calm => bench.during(&options, calm(options.hold)).await?,
            Flood::Slow => {
                let (grpc, http) = (bench.grpc(), bench.http());
                bench.during(&options, slow::flood(grpc, http, &options)).await?
            }
            Flood::OneSpan => {
                let grpc = bench.grpc();
                bench.during(&options, one_span::flood(grpc, &options)).await?
            }
            Flood::Resets => {
                let grpc = bench.grpc();
                bench.during(&options, abuse::resets(grpc, options.resets, options.hold)).await?
            }
            Flood::Bombs => {
                let grpc = bench.grpc();
                bench.during(&options, abuse::bombs(grpc, options.bombs, options.hold)).await?
            }
        };
        describe(&mut report, flood, &findings, &options);
    }
    bench.stop(&mut report).await?;
    Ok(report)
}

/// What a flood says of itself.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Figures, and what there is to say of them.
    rows: Vec<(&'static str, String, String)>,
    /// Spans that it sent and that were acknowledged.
    acknowledged_spans: u64,
    /// Why it was not what it was to be, if so.
    failure: Option<String>,
}

async fn calm(hold: Duration) -> Told {
    tokio::time::sleep(hold).await;
    Told::default()
}

/// As many descriptors as this process, and so the edge, may have.
fn raise_descriptors() -> Result<u64, TestbedError> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let failed = |error: nix::Error| TestbedError::new(format!("descriptor limit: {error}"));
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(failed)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_err(failed)?;
    }
    Ok(hard)
}

fn describe(report: &mut Report, flood: Flood, findings: &Findings, options: &Options) {
    let name = match flood {
        Flood::Calm => "Calm",
        Flood::Slow => "Slow and half-open connections",
        Flood::OneSpan => "Requests of one span",
        Flood::Resets => "Rapid resets",
        Flood::Bombs => "Header bombs",
    };
    report.section(format!("{name}, {:.0} s", findings.elapsed.as_secs_f64()));
    for (label, value, note) in &findings.told.rows {
        report.row(*label, value.clone(), note.clone());
    }
    for (what, counts) in
        [("connections cut", &findings.cut), ("requests refused", &findings.refused)]
    {
        let each: Vec<_> = counts
            .iter()
            .map(|(reason, count)| format!("{reason} {}", thousands(*count)))
            .collect();
        report.row(what, thousands(counts.values().sum()), each.join(", "));
    }
    report.row("peak resident memory", mebibytes(findings.peak_rss), "");
    let good = &findings.good;
    report.row("good client", thousands(good.requests), good.describe());
    report.check_equal("the good client gives up no span", good.given_up, 0);
    let failure = findings.told.failure.clone();
    if let Some(failure) = failure {
        report.check(false, "the flood runs to its end", failure);
    }
    let limit = options.memory_limit_mib;
    let within = findings.peak_rss <= limit * 1024 * 1024;
    report.check(
        within,
        format!("the edge stays within {limit} MiB"),
        mebibytes(findings.peak_rss),
    );
}
