//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use shared::Signal;
use shared::config::Compression;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::bench::BenchCommand;
use crate::faulty::FaultySinkArguments;
use crate::flood::FloodArguments;
use crate::plan::FieldOrder;
use crate::progress::say;
use crate::scenario::ScenarioArguments;
use crate::soak::SoakArguments;
use crate::testbed::TestbedError;
use crate::testbed::binaries::Binaries;
use crate::{bench, command, demo, faulty, flood, measure, scenario, soak};

/// Demo, load generator, sink and benchmark of both tiers.
#[derive(Debug, Parser)]
#[command(name = "loadtest", version, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run both tiers on this machine, send traces through them and add everything up
    Demo(DemoArguments),
    /// Send generated telemetry to OTLP/gRPC endpoints
    Send(SendArguments),
    /// Be an OTLP/gRPC destination and count what arrives, until Ctrl-C
    Sink(SinkArguments),
    /// Be an OTLP/gRPC backend that misbehaves as it is told to, until Ctrl-C
    FaultySink(FaultySinkArguments),
    /// Let things go wrong around the edge under load, and account for every span
    Scenario(ScenarioArguments),
    /// Flood the edge with slow, greedy and broken clients beside one that behaves
    Flood(FloodArguments),
    /// Load a backend for long with a heavy tail of giant traces, and watch its memory
    Soak(SoakArguments),
    /// Measure one process of a tier, pinned to one core
    Measure(MeasureArguments),
    /// Measure any OTLP gateway for fixed work, alone or in turns with another
    #[command(subcommand)]
    Bench(Box<BenchCommand>),
}

/// `loadtest demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArguments {
    /// Number of traces
    #[arg(long, default_value_t = 30_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub traces: u64,
    /// Spans a second over all edges; 0 is as many as go
    #[arg(long, default_value_t = 20_000)]
    pub rate: u64,
    /// Begin no further trace after this long, whatever the number of traces is
    #[arg(long, value_parser = duration)]
    pub duration: Option<Duration>,
    /// Number of edges, on 127.0.0.11 and so on
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub edges: u8,
    /// Number of backends, on 127.0.0.21 and so on
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=200))]
    pub backends: u8,
    /// Seed of everything that is generated
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Order of the fields in every message
    #[arg(long, value_enum, default_value_t = FieldOrder::Sdk)]
    pub field_order: FieldOrder,
    /// How long the backends keep a trace before they judge it
    #[arg(long, value_parser = duration, default_value = "5s")]
    pub decision_wait: Duration,
    /// Leave everything running after the report, until Ctrl-C
    #[arg(long)]
    pub keep: bool,
    #[command(flatten)]
    pub(crate) binaries: BinaryArguments,
}

/// Which binaries to run.
#[derive(Debug, Clone, Args)]
pub(crate) struct BinaryArguments {
    /// This edge, instead of the one that belongs to this binary
    #[arg(long, value_name = "FILE")]
    edge_bin: Option<PathBuf>,
    /// This backend, instead of the one that belongs to this binary
    #[arg(long, value_name = "FILE")]
    backend_bin: Option<PathBuf>,
}

impl BinaryArguments {
    /// The binaries, built if need be.
    pub(crate) async fn find(self) -> Result<Binaries, TestbedError> {
        if let (Some(edge), Some(backend)) = (&self.edge_bin, &self.backend_bin) {
            return Ok(Binaries { edge: edge.clone(), backend: backend.clone() });
        }
        let built = Binaries::ensure(|| say("building edge and backend")).await?;
        Ok(Binaries {
            edge: self.edge_bin.unwrap_or(built.edge),
            backend: self.backend_bin.unwrap_or(built.backend),
        })
    }
}

/// `loadtest send`.
#[derive(Debug, Clone, Args)]
pub struct SendArguments {
    /// Where to, as host:port; several get requests in turns
    #[arg(long, required = true, value_name = "HOST:PORT")]
    pub endpoint: Vec<String>,
    /// What to send: spans, or a log record or a data point for each span
    #[arg(long, value_enum, default_value_t = Kind::Traces)]
    pub signal: Kind,
    /// Number of traces
    #[arg(long, default_value_t = 10_000)]
    pub traces: u64,
    /// Spans a second (open loop); without it as many as go (closed loop)
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: Option<u64>,
    /// Spans in a request
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..))]
    pub spans_per_request: u32,
    /// The most requests on their way at a time
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub concurrency: u32,
    /// How messages are compressed
    #[arg(long, value_enum, default_value_t = Squeeze::None)]
    pub compression: Squeeze,
    /// Seed of the traces, their ids included; another one at each run if it is left out
    #[arg(long)]
    pub seed: Option<u64>,
    /// Number of services
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u8).range(2..=20))]
    pub services: u8,
    /// Order of the fields in every message
    #[arg(long, value_enum, default_value_t = FieldOrder::Sdk)]
    pub field_order: FieldOrder,
}

/// A signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Spans.
    Traces,
    /// Data points.
    Metrics,
    /// Log records.
    Logs,
}

impl Kind {
    /// What its items are called.
    pub fn items(self) -> &'static str {
        match self {
            Kind::Traces => "spans",
            Kind::Metrics => "data points",
            Kind::Logs => "log records",
        }
    }
}

impl From<Kind> for Signal {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Traces => Signal::Traces,
            Kind::Metrics => Signal::Metrics,
            Kind::Logs => Signal::Logs,
        }
    }
}

/// A method of compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Squeeze {
    /// As it is.
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl From<Squeeze> for Compression {
    fn from(squeeze: Squeeze) -> Self {
        match squeeze {
            Squeeze::None => Compression::None,
            Squeeze::Gzip => Compression::Gzip,
            Squeeze::Zstd => Compression::Zstd,
        }
    }
}

/// `loadtest sink`.
#[derive(Debug, Clone, Args)]
pub struct SinkArguments {
    /// Addresses to listen on
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:4317")]
    pub listen: Vec<SocketAddr>,
    /// Count traces and spans that arrive twice, which needs memory for each span
    #[arg(long)]
    pub traces: bool,
    /// Write every request to this file, as the file exporter would: JSON lines if it is called
    /// .json or .jsonl, else protobuf, of which only traces; compressed with .gz or .zst behind that
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
}

/// `loadtest measure`.
#[derive(Debug, Clone, Args)]
pub struct MeasureArguments {
    /// Which tier
    #[arg(value_enum)]
    pub tier: Measured,
    /// Rounds, of which the medians are shown
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub rounds: u32,
    /// Spans in a round
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(10_000..))]
    pub spans: u64,
    /// Spans in a request
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    pub spans_per_request: u32,
    /// Connections that requests come by, in turns
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub clients: u32,
    /// Requests on their way at a time, over all connections; at least one on each
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    pub concurrency: u32,
    /// Edge only: 512 and 100 spans in a request, from 2 and from 32 clients, instead of what the
    /// options above say
    #[arg(long, conflicts_with_all = ["spans_per_request", "clients", "concurrency"])]
    pub panel: bool,
    /// Backend only: how many policies judge
    #[arg(long, value_enum, default_value_t = PolicySet::Three)]
    pub policies: PolicySet,
    /// Backend only: the buffer is sealed with LZ4
    #[arg(long)]
    pub sealed: bool,
    /// Backend only: rounds without a pause and traces that are judged after 2 s, instead of rounds
    /// that are held as a whole and then let go; takes 600 bytes of memory for each span
    #[arg(long)]
    pub steady: bool,
    /// Order of the fields in every message
    #[arg(long, value_enum, default_value_t = FieldOrder::Sdk)]
    pub field_order: FieldOrder,
    #[command(flatten)]
    pub(crate) binaries: BinaryArguments,
}

/// The policies of a backend that is measured; both sets keep about the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PolicySet {
    /// Errors, slow traces, and one in a hundred.
    Three,
    /// These and seven more, of most types, which nearly always look in vain.
    Ten,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Measured {
    /// Routing to five backends.
    Edge,
    /// Taking in, keeping and judging.
    Backend,
    /// Counting spans on top of taking them in, and many series.
    SpanMetrics,
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    shared::config::units::parse_duration(text).map_err(|error| error.to_string())
}

/// Runs the command that this process was called with.
pub async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let stop = CancellationToken::new();
    if let Err(error) = cancel_on_signal(stop.clone()) {
        say(&format!("error: {error}"));
        return ExitCode::FAILURE;
    }
    let outcome = match arguments.command {
        Command::Demo(arguments) => demo::run(arguments, stop).await,
        Command::Send(arguments) => command::send(arguments, stop).await,
        Command::Sink(arguments) => command::sink(arguments, stop).await,
        Command::FaultySink(arguments) => faulty::run(arguments, stop).await,
        Command::Flood(arguments) => flood::main(arguments, stop).await,
        Command::Scenario(arguments) => scenario::main(arguments, stop).await,
        Command::Soak(arguments) => soak::main(arguments, stop).await,
        Command::Measure(arguments) => measure::run(arguments, stop).await,
        Command::Bench(command) => bench::run(*command, stop).await,
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Cancels `stop` at the first SIGINT or SIGTERM; the second ends the process at once.
fn cancel_on_signal(stop: CancellationToken) -> Result<(), TestbedError> {
    let catch = |kind| {
        signal(kind).map_err(|error| TestbedError::new(format!("cannot catch signals: {error}")))
    };
    let (mut interrupt, mut terminate) =
        (catch(SignalKind::interrupt())?, catch(SignalKind::terminate())?);
    tokio::spawn(async move {
        for _ in 0..2 {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if stop.is_cancelled() {
                #[allow(clippy::exit, reason = "asked for twice")]
                std::process::exit(130);
            }
            stop.cancel();
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
