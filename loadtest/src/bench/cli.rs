//! The options of `loadtest bench`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::growth::GrowthArguments;
use super::latency::Arrivals;
use super::panel::{BackendPanel, EdgePanel};
use super::plot::PlotArguments;
use super::results::Layout;
use crate::cli::{BinaryArguments, duration};

/// Explains what commands and templates may hold.
const PLACEHOLDERS: &str = "\
Placeholders in commands and in templates of configurations:
  {config}        the file that was made from the template of the same side
  {listen}        where it must serve OTLP/gRPC, as ip:port
  {listen_http}   where it may serve OTLP/HTTP
  {listen_health} where it may serve its health
  {listen_metrics} where it may serve its own metrics
  {listen_span_metrics} where a backend may serve span metrics
  {host}          the address of all of these, without a port
  {backends}      an edge's backends, as ip:port,ip:port,…
  {backend_0} …   one of them
  {destination}   where a backend exports to, as ip:port
  {compression}   of what it sends: none, gzip or zstd
  {level}         how hard it compresses, 0 for the default
  {policies}      a backend's policies, as a list in JSON, which is YAML too
  {decision_wait} how long a backend keeps a trace, as 12s
  {seal}          compression of what a backend keeps: none or lz4
  {span_metrics}  nothing if the panel has span metrics, else #, to begin lines of YAML with
A command is split into words like a shell does, and run without one. Words such as GOGC=400 in
front of the program are its environment.";

/// `loadtest bench`.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// A gateway that routes each trace to one of several backends, which are played by sinks
    #[command(after_help = PLACEHOLDERS)]
    Edge(EdgeArguments),
    /// A gateway that keeps traces, judges them by policies and exports a part to a sink
    #[command(after_help = PLACEHOLDERS)]
    Backend(BackendArguments),
    /// Edges and backends together, measured as one
    #[command(after_help = PLACEHOLDERS)]
    Tiers(TiersArguments),
    /// How the cost of this build's own tiers grows with backends, clients, services, policies and
    /// live traces
    Growth(GrowthArguments),
    /// Draw the plots of an earlier run again
    Plot(PlotArguments),
}

/// What to compare.
#[derive(Debug, Clone, Args)]
pub struct SideArguments {
    /// The system under test; without it this build's own binaries
    #[arg(long, value_name = "COMMAND")]
    pub sut: Option<String>,
    /// What to compare it with, in turns
    #[arg(long, value_name = "COMMAND")]
    pub peer: Option<String>,
    /// Template of {config} for --sut; without it the one that belongs to this build's binaries
    #[arg(long, value_name = "FILE")]
    pub sut_config: Option<PathBuf>,
    /// Template of {config} for --peer; without it the one that belongs to this build's binaries
    #[arg(long, value_name = "FILE", requires = "peer")]
    pub peer_config: Option<PathBuf>,
    /// What --sut is called in the results; else its program's name
    #[arg(long, value_name = "NAME")]
    pub sut_name: Option<String>,
    /// What --peer is called in the results; else its program's name
    #[arg(long, value_name = "NAME", requires = "peer")]
    pub peer_name: Option<String>,
    #[command(flatten)]
    pub(crate) binaries: BinaryArguments,
}

/// How to load and measure.
#[derive(Debug, Clone, Args)]
pub struct RunArguments {
    /// Which cores are whose; may be given several times
    #[arg(long, value_enum, default_values_t = [Layout::Apart])]
    pub layout: Vec<Layout>,
    /// Rounds of each side, of which the medians are shown
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub rounds: u32,
    /// Connections that requests come by, in turns
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub clients: u32,
    /// Requests on their way at a time, over all connections; at least one on each
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub concurrency: u32,
    /// Share of a round's spans that is sent before the first round, in percent
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(20..=1000))]
    pub warm_up: u32,
    /// How long what was acknowledged, or has to be decided, may take to arrive
    #[arg(long, value_parser = duration, default_value = "30s")]
    pub patience: Duration,
    /// How long after the last load the memory is read that is left
    #[arg(long, value_parser = duration, default_value = "10s")]
    pub idle: Duration,
    /// Rounds of each yardstick: what raw TCP, bare HTTP/2 and memcpy need for the same bytes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=99))]
    pub yardsticks: u32,
    #[command(flatten)]
    pub latency: LatencyArguments,
    /// Seed of everything that is sent
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Folder of the request files, which are made once and used again
    #[arg(long, value_name = "DIR", default_value = "bench-requests")]
    pub requests: PathBuf,
    /// Folder for the results; without it bench-results/ and the time
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

/// Latency in an open loop, after the rounds.
#[derive(Debug, Clone, Args)]
pub struct LatencyArguments {
    /// Spans a second to look at; may be given several times. Without it an edge is asked 25, 50,
    /// 75 and 90 % of what each side carried in the rounds, and others nothing
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: Vec<u64>,
    /// How long requests are due at each rate, after a warm-up of a quarter of that
    #[arg(long, value_parser = duration, default_value = "5s")]
    pub window: Duration,
    /// How requests follow each other
    #[arg(long, value_enum, default_value_t = Arrivals::Poisson)]
    pub arrivals: Arrivals,
    /// So many requests on their way at once void a run
    #[arg(long, default_value_t = 4_096, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_in_flight: u32,
    /// Leave latency out
    #[arg(long, conflicts_with = "rate")]
    pub no_latency: bool,
}

/// `loadtest bench edge`.
#[derive(Debug, Clone, Args)]
pub struct EdgeArguments {
    #[command(flatten)]
    pub sides: SideArguments,
    #[command(flatten)]
    pub run: RunArguments,
    /// What is sent; may be given several times
    #[arg(long, value_enum, default_values_t = [EdgePanel::Spans512])]
    pub panel: Vec<EdgePanel>,
    /// Spans in a round
    #[arg(long, default_value_t = 2_000_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    pub spans: u64,
    /// Number of backends
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub backends: u16,
}

/// `loadtest bench backend`.
#[derive(Debug, Clone, Args)]
pub struct BackendArguments {
    #[command(flatten)]
    pub sides: SideArguments,
    #[command(flatten)]
    pub run: RunArguments,
    /// What the backend does; may be given several times
    #[arg(long, value_enum, default_values_t = [BackendPanel::Three])]
    pub panel: Vec<BackendPanel>,
    /// Spans in a round, all of them held at its end
    #[arg(long, default_value_t = 500_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    pub spans: u64,
    /// How long the backend keeps a trace; longer than a round's load
    #[arg(long, value_parser = duration, default_value = "12s")]
    pub decision_wait: Duration,
}

/// `loadtest bench tiers`.
#[derive(Debug, Clone, Args)]
pub struct TiersArguments {
    #[command(flatten)]
    pub sides: SideArguments,
    /// The backends of --sut, which is its edges
    #[arg(long, value_name = "COMMAND", requires = "sut")]
    pub sut_backend: Option<String>,
    /// The backends of --peer, which is its edges
    #[arg(long, value_name = "COMMAND", requires = "peer")]
    pub peer_backend: Option<String>,
    /// Template of {config} for --sut-backend
    #[arg(long, value_name = "FILE")]
    pub sut_backend_config: Option<PathBuf>,
    /// Template of {config} for --peer-backend
    #[arg(long, value_name = "FILE", requires = "peer_backend")]
    pub peer_backend_config: Option<PathBuf>,
    #[command(flatten)]
    pub run: RunArguments,
    /// What the backends do; may be given several times
    #[arg(long, value_enum, default_values_t = [BackendPanel::Three])]
    pub panel: Vec<BackendPanel>,
    /// Spans in a round, all of them held at its end
    #[arg(long, default_value_t = 500_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    pub spans: u64,
    /// How long the backends keep a trace; longer than a round's load
    #[arg(long, value_parser = duration, default_value = "12s")]
    pub decision_wait: Duration,
    /// Number of edges
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub edges: u16,
    /// Number of backends
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub backends: u16,
}
