//! What a benchmark found, as it stands in its JSON file; tables and plots are made from this alone.
//!
//! ```text
//! Results ─ machine, gateways (versions, configuration)
//!    └ Case ─ one panel in one layout: payload, summaries, comparison
//!        └ Round ─ one gateway's share of fixed work: usage, both legs, the gate's verdict
//! ```

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::latency::Latency;
use super::yardstick::Limit;

/// The version of this format: raised when a field changes its meaning.
pub const FORMAT: u32 = 1;

/// Everything that one run found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// [`FORMAT`] of the build that wrote it.
    pub format: u32,
    /// When it began, in UTC.
    pub started: String,
    /// Version of the loadtest that measured.
    pub version: String,
    /// The command line, to run it again.
    pub command: Vec<String>,
    /// What was measured.
    pub subject: Subject,
    /// Seed of everything that was sent.
    pub seed: u64,
    /// Where it was measured.
    pub machine: Machine,
    /// What was measured: the system under test, then its peer if there is one.
    pub gateways: Vec<Gateway>,
    /// One entry for each panel and layout, in the order they were measured.
    pub cases: Vec<Case>,
}

impl Results {
    /// Whether every round counts.
    pub fn is_valid(&self) -> bool {
        self.cases.iter().flat_map(|case| &case.rounds).all(|round| round.gate.failures.is_empty())
    }
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// One gateway that routes to several backends, which are sinks.
    Edge,
    /// One gateway that keeps, judges and exports to a sink.
    Backend,
    /// Edges in front of backends, as one.
    Tiers,
}

/// Which of the two that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The system under test.
    Sut,
    /// What it is compared with.
    Peer,
}

impl Side {
    /// As in the options.
    pub fn name(self) -> &'static str {
        match self {
            Side::Sut => "sut",
            Side::Peer => "peer",
        }
    }
}

/// Which cores are whose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Gateway, loader and sinks all on core 0: the least noise, and the lowest rate
    Shared,
    /// The gateway alone on core 0, loader and sinks on the others
    Apart,
    /// The gateway on cores 0 and 1, loader and sinks on the others, or on the same two if there
    /// are no others
    Both,
}

impl Layout {
    /// As in the options.
    pub fn name(self) -> &'static str {
        match self {
            Layout::Shared => "shared",
            Layout::Apart => "apart",
            Layout::Both => "both",
        }
    }
}

/// The machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Release of the kernel.
    pub kernel: String,
    /// Model of the CPU.
    pub cpu: String,
    /// What the CPU can do, as the kernel names it.
    pub cpu_flags: Vec<String>,
    /// Cores that this process may use.
    pub cores: usize,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// The load of the last minute before the start.
    pub load_average: String,
}

/// One of the two that are compared: a process, or several of both tiers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gateway {
    /// Which one.
    pub side: Side,
    /// What it is called in tables.
    pub name: String,
    /// Its programs.
    pub programs: Vec<Program>,
}

/// A program of a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// `edge` or `backend`: its part.
    pub role: String,
    /// The command before its placeholders were filled in.
    pub command: String,
    /// What it answers to `--version`; empty when it does not answer.
    pub version: String,
    /// XXH3-64 of the executable's file, in hexadecimal; empty when it was not found.
    pub executable_xxh3: String,
    /// The configuration before its placeholders were filled in: a file, or the built-in one's name.
    pub config: String,
    /// XXH3-64 of that configuration, in hexadecimal; empty when there is none.
    pub config_xxh3: String,
}

/// One panel in one layout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// The panel's name.
    pub panel: String,
    /// Which cores were whose.
    pub layout: Layout,
    /// What was sent.
    pub payload: Payload,
    /// Connections that requests came by, in turns.
    pub connections: usize,
    /// Requests on their way at a time, over all connections.
    pub in_flight: usize,
    /// Sinks behind the gateway.
    pub sinks: usize,
    /// All rounds, in the order in which they were run.
    pub rounds: Vec<Round>,
    /// Medians over the rounds that count, in the order of [`Results::gateways`].
    pub summaries: Vec<Summary>,
    /// How the two compare, from pairs of rounds; none without a peer.
    pub comparison: Option<Comparison>,
    /// What moving the same bytes costs without a gateway, one entry for each yardstick.
    #[serde(default)]
    pub limits: Vec<Limit>,
    /// Runs in an open loop, by rate.
    #[serde(default)]
    pub latency: Vec<SideLatency>,
}

/// A gateway's run in an open loop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SideLatency {
    /// Which gateway.
    pub side: Side,
    /// What it showed.
    pub run: Latency,
}

/// What was sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Payload {
    /// Spans in a request.
    pub spans_per_request: usize,
    /// Services in it.
    pub services: usize,
    /// What the spans look like: `plain`, `tiny` or `fat`.
    pub spans: String,
    /// Order of fields: `sdk` or `collector`.
    pub field_order: String,
    /// Compression towards the gateway.
    pub inbound_compression: String,
    /// Compression that the gateway was configured with, where its template asks for it.
    pub outbound_compression: String,
    /// Bytes a span, uncompressed, with its share of resource and scope.
    pub bytes_per_span: f64,
    /// XXH3-64 of the request file, in hexadecimal.
    pub file_xxh3: String,
}

/// One gateway's share of fixed work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// Which gateway.
    pub side: Side,
    /// The pair that it belongs to, from 0: two rounds that followed each other.
    pub pair: usize,
    /// Spans that were sent.
    pub spans: u64,
    /// From the first request to the last acknowledgement, in seconds.
    pub seconds: f64,
    /// What the process tree used.
    pub usage: RoundUsage,
    /// Towards the gateway.
    pub inbound: Leg,
    /// Out of the gateway.
    pub outbound: Leg,
    /// Requests that were rejected for now and sent again.
    pub retries: u64,
    /// Time that the host took away, in percent of the machine's.
    pub steal_percent: f64,
    /// Resident memory over the round.
    pub memory: Vec<MemorySample>,
    /// Whether the work was done.
    pub gate: Gate,
    /// What makes the figures doubtful, though the work was done.
    pub doubts: Vec<String>,
}

/// What a gateway's process tree used in a round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RoundUsage {
    /// CPU-seconds in user mode, from the first request until the last span was at a sink.
    pub user_seconds: f64,
    /// CPU-seconds in the kernel.
    pub system_seconds: f64,
    /// The most resident memory, in bytes.
    pub peak_rss_bytes: u64,
    /// Resident memory at the end of the load, in bytes.
    pub loaded_rss_bytes: u64,
    /// Growth of resident memory since the start of the process by each span sent, in bytes;
    /// backends only, and only when nothing was decided before the load's end.
    pub held_bytes_per_span: Option<f64>,
    /// Times that a thread waited.
    pub voluntary_switches: u64,
    /// Times that a thread was made to wait.
    pub involuntary_switches: u64,
}

impl RoundUsage {
    /// All CPU-seconds.
    pub fn cpu_seconds(&self) -> f64 {
        self.user_seconds + self.system_seconds
    }
}

/// What went by one leg.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leg {
    /// Requests.
    pub requests: u64,
    /// Bytes of their messages, as they went over the wire.
    pub wire_bytes: u64,
    /// Bytes of their messages, uncompressed.
    pub bytes: u64,
}

/// Memory at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemorySample {
    /// Milliseconds since the first request.
    pub at_ms: u64,
    /// Resident memory of the process tree, in bytes.
    pub rss_bytes: u64,
}

/// How alike what arrived has to be to what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fidelity {
    /// Byte for byte.
    Bytes,
    /// In content: fields may stand in another order, and default values may be left out.
    Content,
}

impl Fidelity {
    /// As in tables.
    pub fn name(self) -> &'static str {
        match self {
            Fidelity::Bytes => "byte for byte",
            Fidelity::Content => "in content",
        }
    }
}

/// The correctness of a round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// How spans were compared.
    pub fidelity: Fidelity,
    /// Spans that had to arrive.
    pub expected_spans: u64,
    /// Spans that arrived.
    pub received_spans: u64,
    /// Order-independent 64-bit sum over the spans that had to arrive, in hexadecimal.
    pub expected_sum: String,
    /// The same over those that arrived.
    pub received_sum: String,
    /// Traces that had to arrive.
    pub expected_traces: u64,
    /// Traces that arrived, counted at each sink: more than those that had to arrive when some
    /// came to several.
    pub received_traces: u64,
    /// Why the round does not count; empty when it does.
    pub failures: Vec<String>,
}

/// A median and its extremes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

/// One gateway in one case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Which gateway.
    pub side: Side,
    /// Rounds that count.
    pub rounds: usize,
    /// CPU-seconds a million spans.
    pub cpu: Spread,
    /// Of that in user mode.
    pub user: Spread,
    /// Of that in the kernel.
    pub system: Spread,
    /// Spans a second, by the clock.
    pub spans_per_second: Spread,
    /// Spans a CPU-second: what a core carries that is always busy.
    pub spans_per_core_second: Spread,
    /// The most resident memory in any round, in bytes.
    pub peak_rss_bytes: u64,
    /// Resident memory before the first request, in bytes.
    pub start_rss_bytes: u64,
    /// Resident memory some time after the last load, in bytes.
    pub idle_rss_bytes: u64,
    /// When that was read, in seconds after the load's end.
    pub idle_seconds: f64,
    /// Growth of memory by each span held, in bytes; backends only.
    pub held_bytes_per_span: Option<Spread>,
    /// Context switches a million spans, of both kinds.
    pub switches: Spread,
    /// Bytes on the wire by span sent, towards the gateway and out of it.
    pub wire_bytes_per_span: [f64; 2],
    /// Requests a million spans sent, towards the gateway and out of it.
    pub requests_per_million: [f64; 2],
}

/// How two gateways compare: the peer's figure divided by that of the system under test, pair by
/// pair; above 1 the system under test is better.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// CPU by span.
    pub cpu: Spread,
    /// Time by span.
    pub time: Spread,
    /// Peak of resident memory.
    pub peak_rss: Spread,
    /// Memory by span held; backends only.
    pub held: Option<Spread>,
    /// The ratios of CPU in the order of the pairs.
    pub cpu_pairs: Vec<f64>,
}
