//! A process at one step of a dimension, and what it needs around it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use shared::Batch;
use shared::config::Compression;
use shared::queue::Sender;
use tempfile::TempDir;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::feed::{Numbered, Traces, generated, renamed};
use super::{Dimension, steps};
use crate::audit::BackendFlow;
use crate::bench::cpu;
use crate::bench::spread::real;
use crate::ledger::Detail;
use crate::measure::CORE;
use crate::send::{Counts, Load, Replay, Source};
use crate::sink::Sink;
use crate::testbed::binaries::{Binaries, workspace};
use crate::testbed::cluster::{client, until};
use crate::testbed::dns::DnsServer;
use crate::testbed::process::{GRPC, Launch, Process, Tier};
use crate::testbed::{TestbedError, address};

/// Longer than any run: nothing is decided.
const NEVER: &str = "1h";
/// How long a backend with policies keeps a trace: longer than a round's load.
const DECISION_WAIT: Duration = Duration::from_secs(2);
/// Decisions are made in steps of a second.
const UNTIL_DECIDED: Duration = Duration::from_millis(1200);
/// Whatever fails for longer is broken.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is sent in a round.
enum Feed {
    /// These, over and over: who gets them keeps nothing, or does not mind.
    Again(Arc<[Batch]>),
    /// Traces that were never sent before, which are then judged.
    Fresh,
    /// Spans of so many live traces.
    Live(u64),
}

/// A process at a step, with everything around it.
pub(super) struct Bed {
    process: Process,
    sinks: Vec<Sink>,
    targets: Vec<Arc<dyn Sender>>,
    concurrency: usize,
    feed: Feed,
    /// Number of the next round: seeds what has to be new.
    round: u64,
    start_rss_bytes: u64,
    rss_bytes: u64,
    _dns: Option<DnsServer>,
    _logs: TempDir,
}

impl Bed {
    /// Starts the process at this step of a dimension.
    pub(super) async fn start(
        dimension: Dimension,
        count: u64,
        binaries: &Binaries,
    ) -> Result<Self, TestbedError> {
        let made = |seed| tokio::task::spawn_blocking(move || generated(seed, 50_000));
        let requests = || async { made(1).await.expect("the generator does not panic") };
        match dimension {
            Dimension::Backends => Self::edge(binaries, count, (2, 8), requests().await).await,
            Dimension::Clients => Self::edge(binaries, 5, (count, 32), requests().await).await,
            Dimension::Services => {
                let requests = requests().await;
                let renamed = tokio::task::spawn_blocking(move || renamed(&requests, count, 1));
                let requests = renamed.await.expect("renaming does not panic");
                let launch = backend("bench/growth/services.yaml", NEVER);
                Self::backend(binaries, launch, Feed::Again(requests)).await
            }
            Dimension::Policies => {
                let wait = format!("{}s", DECISION_WAIT.as_secs());
                let launch = backend("measure/backend.yaml", &wait)
                    .env("TAILRACE_POLICIES", steps::policies(count));
                Self::backend(binaries, launch, Feed::Fresh).await
            }
            Dimension::LiveTraces => {
                let launch = backend("measure/backend.yaml", NEVER)
                    .set("processors::tail_sampling::num_traces=20000000")
                    .env("TAILRACE_POLICIES", steps::policies(3));
                Self::backend(binaries, launch, Feed::Live(count)).await
            }
        }
    }

    async fn edge(
        binaries: &Binaries,
        backends: u64,
        (clients, concurrency): (u64, usize),
        requests: Arc<[Batch]>,
    ) -> Result<Self, TestbedError> {
        let mut sinks = Vec::new();
        for _ in 0..backends {
            sinks.push(sink().await?);
        }
        let addresses = sinks.iter().map(|sink| sink.address().ip()).collect();
        let dns = DnsServer::start(address::unique(), "backend.tailrace.test", addresses).await?;
        let launch = Launch::sample(Tier::Edge, 0, address::unique())
            .env("TAILRACE_BACKEND", dns.name())
            .env("TAILRACE_NAMESERVERS", format!("[\"{}\"]", dns.address()));
        let logs = logs()?;
        let process = launch.on_core(CORE).start(binaries, logs.path()).await?;
        until("the edge sees every backend", async || {
            let page = process.telemetry().await?;
            Ok(page.sum("otelcol_loadbalancer_num_backends") == backends)
        })
        .await?;
        let mut targets = Vec::new();
        for _ in 0..clients {
            targets.push(client(process.at(GRPC), Compression::None)?);
        }
        let start_rss_bytes = process.usage()?.rss;
        Ok(Self {
            process,
            sinks,
            targets,
            concurrency,
            feed: Feed::Again(requests),
            round: 0,
            start_rss_bytes,
            rss_bytes: 0,
            _dns: Some(dns),
            _logs: logs,
        })
    }

    async fn backend(
        binaries: &Binaries,
        launch: Launch,
        feed: Feed,
    ) -> Result<Self, TestbedError> {
        let sink = sink().await?;
        let logs = logs()?;
        let process = launch
            .env("TAILRACE_DESTINATION", sink.address().to_string())
            .on_core(CORE)
            .start(binaries, logs.path())
            .await?;
        let one = || client(process.at(GRPC), Compression::None);
        let targets = vec![one()?, one()?];
        let start_rss_bytes = process.usage()?.rss;
        Ok(Self {
            process,
            sinks: vec![sink],
            targets,
            concurrency: 8,
            feed,
            round: 0,
            start_rss_bytes,
            rss_bytes: 0,
            _dns: None,
            _logs: logs,
        })
    }

    /// Puts everything in place that a step is about, and lets the process do some of its work.
    pub(super) async fn warm_up(&mut self, spans: u64) -> Result<(), TestbedError> {
        if let Feed::Live(traces) = self.feed {
            let in_order = Traces::InOrder(0);
            let source = Numbered { traces: in_order, left: traces, next_span: 0 };
            self.send(source, traces).await?;
        }
        if matches!(self.feed, Feed::Live(_)) {
            self.rss_bytes = self.process.usage()?.rss;
        }
        // Every connection has to be used once, and every service seen.
        let requests = match &self.feed {
            Feed::Again(requests) => requests.len().max(self.targets.len() * 2) as u64,
            Feed::Fresh | Feed::Live(_) => 0,
        };
        let all = requests * super::feed::SPANS_PER_REQUEST as u64;
        self.round(all.max(spans / 3)).await?;
        if !matches!(self.feed, Feed::Live(_)) {
            self.rss_bytes = self.process.usage()?.rss;
        }
        Ok(())
    }

    /// CPU-seconds a million spans, of one piece of work.
    pub(super) async fn round(&mut self, spans: u64) -> Result<f64, TestbedError> {
        self.round += 1;
        let number = self.round;
        let (used, sent) = match &self.feed {
            Feed::Again(requests) => {
                let requests = Arc::clone(requests);
                let all: u64 = requests.iter().map(|request| request.items() as u64).sum();
                let count = (spans * requests.len() as u64).div_ceil(all.max(1));
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                let cycle = requests.iter().cycle().take(count);
                let expected = cycle.map(|request| request.items() as u64).sum();
                self.measured(Replay::new(requests, count), expected).await?
            }
            Feed::Fresh => {
                let made = tokio::task::spawn_blocking(move || generated(number, spans));
                let requests = made.await.expect("the generator does not panic");
                let expected = requests.iter().map(|request| request.items() as u64).sum();
                let count = requests.len();
                self.measured(Replay::new(requests, count), expected).await?
            }
            Feed::Live(traces) => {
                let rng = Box::new(StdRng::seed_from_u64(number));
                let traces = Traces::AtRandom(*traces, rng);
                let source = Numbered { traces, left: spans, next_span: number << 32 };
                self.measured(source, spans).await?
            }
        };
        Ok(used.as_secs_f64() * 1e6 / real(sent.max(1)))
    }

    /// CPU time that sending all of `source` takes the process, decisions included if there are
    /// any, and the spans in it.
    async fn measured(
        &self,
        source: impl Source,
        expected: u64,
    ) -> Result<(Duration, u64), TestbedError> {
        let pid = self
            .process
            .pid()
            .ok_or_else(|| TestbedError::new(format!("{} has ended", self.process.name())))?;
        let before = cpu::of_process(pid)?;
        self.send(source, expected).await?;
        if matches!(self.feed, Feed::Fresh) {
            sleep(DECISION_WAIT + UNTIL_DECIDED).await;
        }
        let used = cpu::of_process(pid)?.saturating_sub(before);
        if matches!(self.feed, Feed::Fresh) {
            self.expect_all_decided().await?;
        }
        Ok((used, expected))
    }

    async fn expect_all_decided(&self) -> Result<(), TestbedError> {
        let flow = BackendFlow::of(&self.process.telemetry().await?);
        match flow.held {
            0 => Ok(()),
            held => Err(TestbedError::new(format!(
                "the round does not count: {held} spans are still held, so its load took longer \
                 than the traces were kept"
            ))),
        }
    }

    /// Sends all of `source`; every span must be acknowledged.
    async fn send(&self, source: impl Source, expected: u64) -> Result<(), TestbedError> {
        let load = Load {
            targets: self.targets.clone(),
            concurrency: self.concurrency,
            rate: None,
            patience: PATIENCE,
        };
        let counts = Arc::new(Counts::default());
        load.run(source, Arc::clone(&counts), CancellationToken::new()).await;
        let sent = counts.sent();
        if sent == expected {
            return Ok(());
        }
        let why = counts.last_failure().unwrap_or_default();
        let name = self.process.name();
        Err(TestbedError::new(format!("{sent} of {expected} spans acknowledged by {name}: {why}")))
    }

    /// Resident memory when everything was in place.
    pub(super) fn rss_bytes(&self) -> u64 {
        self.rss_bytes
    }

    /// Resident memory when the process had just started.
    pub(super) fn start_rss_bytes(&self) -> u64 {
        self.start_rss_bytes
    }

    /// Ends the process and everything around it.
    pub(super) async fn stop(self) {
        // What it holds is of no use to anybody.
        drop(self.process.kill().await);
        for sink in self.sinks {
            sink.stop().await;
        }
    }
}

async fn sink() -> Result<Sink, TestbedError> {
    Sink::start(SocketAddr::from((address::unique(), GRPC)), Detail::Counts).await
}

fn logs() -> Result<TempDir, TestbedError> {
    tempfile::tempdir()
        .map_err(|error| TestbedError::new(format!("no directory for logs: {error}")))
}

/// A backend with a configuration of this crate's.
fn backend(config: &str, decision_wait: &str) -> Launch {
    let mut launch = Launch::sample(Tier::Backend, 0, address::unique())
        .env("TAILRACE_DECISION_WAIT", decision_wait)
        .env("TAILRACE_BUFFER_COMPRESSION", "none");
    launch.config = Some(workspace().join("loadtest/src").join(config));
    launch
}
