//! `loadtest soak`: one backend for a long time at a share of what it can carry, with a heavy tail
//! of giant traces.
//!
//! What it is to show: resident memory that does not grow, bounds that hold, and accounts that add
//! up at the end. The load first finds out what the backend takes, and then sends its share of
//! that on time, whether the backend keeps up or not.

mod again;
mod trend;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use shared::config::Compression;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::audit::BackendFlow;
use crate::cli::{BinaryArguments, duration};
use crate::generate::Generator;
use crate::ledger::Detail;
use crate::oracle::Policies;
use crate::plan::Plan;
use crate::progress::say;
use crate::report::{Report, latency, mebibytes, thousands};
use crate::send::{Counts, Load, Outcome, Source};
use crate::sink::Sink;
use crate::testbed::binaries::workspace;
use crate::testbed::cluster::{client, until};
use crate::testbed::process::{GRPC, Launch, Process, Tier};
use crate::testbed::{TestbedError, address};
use again::Again;
use trend::Trend;

/// `loadtest soak`.
#[derive(Debug, Clone, Args)]
pub struct SoakArguments {
    /// How long to load the backend
    #[arg(long, value_parser = duration, default_value = "30m")]
    pub duration: Duration,
    /// Time from the start on that memory may settle in, and is not looked at
    #[arg(long, value_parser = duration, default_value = "5m")]
    pub settle: Duration,
    /// Share of the rate that the backend was seen to take, in percent
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub share: u64,
    /// Spans a second, instead of a share
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: Option<u64>,
    /// Spans in a request
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    pub spans_per_request: u32,
    /// One trace in so many is a giant of 2,000 to 20,000 spans; 0 for none
    #[arg(long, default_value_t = 5_000)]
    pub giants: u32,
    /// How long the backend keeps a trace before it judges it
    #[arg(long, value_parser = duration, default_value = "2s")]
    pub decision_wait: Duration,
    /// Bound of the backend's trace buffer, in MiB
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u64).range(16..))]
    pub max_buffer_mib: u64,
    #[command(flatten)]
    pub(crate) binaries: BinaryArguments,
}

/// Spans made in advance, which go round and round under ids of their own.
const MADE: u64 = 300_000;
/// How long the backend is loaded as much as it takes, to find its rate.
const FIND_RATE: Duration = Duration::from_secs(15);
/// Growth in this time is what is looked at.
const HOUR: f64 = 3600.0;
/// Growth of resident memory an hour that is no growth, as a share of its mean.
const STEADY: f64 = 0.05;

/// Soaks a backend; true when memory was steady and everything added up.
///
/// # Errors
/// When something cannot be started, or the backend breaks down.
pub async fn main(arguments: SoakArguments, stop: CancellationToken) -> Result<bool, TestbedError> {
    if arguments.settle >= arguments.duration {
        return Err(TestbedError::new("--settle must be shorter than --duration"));
    }
    let binaries = arguments.binaries.clone().find().await?;
    let sink = Sink::start(SocketAddr::from((address::unique(), GRPC)), Detail::Counts).await?;
    let logs = tempfile::tempdir().map_err(|error| TestbedError::new(error.to_string()))?;
    let mut launch = Launch::sample(Tier::Backend, 0, address::unique())
        .env("TAILRACE_DESTINATION", sink.address().to_string())
        .env("TAILRACE_DECISION_WAIT", format!("{}ms", arguments.decision_wait.as_millis()))
        .env("TAILRACE_MAX_BUFFER_BYTES", (arguments.max_buffer_mib << 20).to_string());
    launch.config = Some(config());
    let backend = launch.start(&binaries, logs.path()).await?;
    let bench = Bench { backend, sink, again: make(&arguments).await, arguments };
    let report = bench.soak(stop).await?;
    report.print();
    Ok(report.holds())
}

fn config() -> PathBuf {
    workspace().join("loadtest/src/soak/backend.yaml")
}

/// Makes the requests.
async fn make(arguments: &SoakArguments) -> Again {
    let mut plan = Plan::new(1, u64::MAX);
    plan.start_ns = shared::clock::unix_ns();
    plan.services = 8;
    plan.spans_per_request = arguments.spans_per_request as usize;
    plan.giants = arguments.giants;
    let made = tokio::task::spawn_blocking(move || {
        Again::new(&Generator::new(plan, Arc::new(Policies::default())).at_least(MADE))
    });
    made.await.expect("the generator does not panic")
}

struct Bench {
    backend: Process,
    sink: Sink,
    again: Again,
    arguments: SoakArguments,
}

/// What was sent, and what memory did meanwhile.
struct Soaked {
    outcome: Outcome<Again>,
    counts: Arc<Counts>,
    rate: u64,
    trend: Trend,
}

impl Bench {
    async fn soak(mut self, stop: CancellationToken) -> Result<Report, TestbedError> {
        let rate = match self.arguments.rate {
            Some(rate) => rate,
            None => self.find_rate(&stop).await? * self.arguments.share / 100,
        };
        let minutes = self.arguments.duration.as_secs() / 60;
        say(&format!("{} spans a second for {minutes} minutes", thousands(rate)));
        let end = stop.child_token();
        let counts = Arc::new(Counts::default());
        let load = self.load(Some(rate.max(1)))?;
        let source = self.again.clone();
        let sending = tokio::spawn(load.run(source, Arc::clone(&counts), end.clone()));
        let trend = self.watch(&end, &counts).await?;
        end.cancel();
        let outcome = sending.await.expect("the load does not panic");
        until("the backend judged and exported every trace", async || {
            let flow = self.flow().await?;
            Ok(flow.held == 0 && flow.exported + flow.failed >= flow.forwarded)
        })
        .await?;
        self.report(&Soaked { outcome, counts, rate, trend }).await
    }

    fn load(&self, rate: Option<u64>) -> Result<Load, TestbedError> {
        let targets = (0..8).map(|_| client(self.backend.at(GRPC), Compression::None));
        let targets = targets.collect::<Result<_, _>>()?;
        Ok(Load { targets, concurrency: 32, rate, patience: Duration::from_secs(60) })
    }

    async fn flow(&self) -> Result<BackendFlow, TestbedError> {
        Ok(BackendFlow::of(&self.backend.telemetry().await?))
    }

    /// Spans a second that the backend takes from a closed loop.
    async fn find_rate(&mut self, stop: &CancellationToken) -> Result<u64, TestbedError> {
        say("finding out what the backend takes");
        let end = stop.child_token();
        let counts = Arc::new(Counts::default());
        let (load, source) = (self.load(None)?, self.again.clone());
        let sending = tokio::spawn(load.run(source, Arc::clone(&counts), end.clone()));
        sleep(FIND_RATE).await;
        end.cancel();
        let outcome = sending.await.expect("the load does not panic");
        let rate = counts.sent() / outcome.elapsed.as_secs().max(1);
        self.again = outcome.source;
        self.again.go_on();
        say(&format!("the backend takes {} spans a second", thousands(rate)));
        Ok(rate)
    }

    /// Looks at memory each second, until the time is over.
    async fn watch(&self, end: &CancellationToken, counts: &Counts) -> Result<Trend, TestbedError> {
        let SoakArguments { duration, settle, .. } = self.arguments;
        let (begun, mut trend, mut told) = (Instant::now(), Trend::default(), 0);
        while begun.elapsed() < duration && !end.is_cancelled() {
            sleep(Duration::from_secs(1)).await;
            let rss = self.backend.usage()?.rss;
            let at = begun.elapsed();
            if at >= settle {
                trend.add(at.as_secs_f64(), rss);
            }
            let minute = at.as_secs() / 60;
            if minute > told {
                told = minute;
                let sent = thousands(counts.sent());
                say(&format!("minute {minute}: {} resident, {sent} spans sent", mebibytes(rss)));
            }
        }
        Ok(trend)
    }

    async fn report(&self, soaked: &Soaked) -> Result<Report, TestbedError> {
        let (arguments, flow, usage) = (&self.arguments, self.flow().await?, self.backend.usage()?);
        let Soaked { outcome, counts, rate, trend } = soaked;
        let mut report = Report::new();
        report.section(format!(
            "Backend at {} spans a second, one trace in {} a giant, buffer of {} MiB at most",
            thousands(*rate),
            thousands(arguments.giants.into()),
            arguments.max_buffer_mib
        ));
        report.row("spans sent", thousands(counts.sent()), format!("{:.0?}", outcome.elapsed));
        report.row("acknowledged within", latency(&outcome.latency), "of being due");
        report.row("resident memory", mebibytes(trend.mean()), "mean after it settled");
        report.row("… at most", mebibytes(usage.peak_rss), "since the start");
        #[allow(clippy::cast_precision_loss, reason = "bytes of memory are far below 2^53")]
        let growth = trend.slope() * HOUR / trend.mean().max(1) as f64;
        report.check(
            growth < STEADY,
            "resident memory does not grow",
            format!("{:+.2} % an hour", growth * 100.0),
        );
        let bound = (arguments.max_buffer_mib << 20) * 5 / 4 + (256 << 20);
        report.check(
            usage.peak_rss <= bound,
            "resident memory is within the buffer's bound and a quarter, and 256 MiB",
            format!("{} of {}", mebibytes(usage.peak_rss), mebibytes(bound)),
        );
        report.check_equal("spans given up by the sender", counts.failed(), 0);
        report.check(flow.is_conserved(), "every span is accounted for", flow.sum());
        report.check_equal(
            "kept spans received by the sink",
            self.sink.ledger().spans(),
            flow.forwarded,
        );
        Ok(report)
    }
}

impl Source for Again {
    fn next_request(&mut self) -> Option<shared::Batch> {
        Again::next_request(self)
    }

    fn finish(&mut self) {
        Again::finish(self);
    }
}
