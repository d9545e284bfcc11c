//! What span metrics cost on top of taking spans in, by span, by series and by scrape.
//!
//! Three backends on one core, of which one works at a time: one that only takes in, one that
//! counts besides and serves the metrics, and one that counts and keeps them to itself, whose
//! growth is that of the series alone.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;
use shared::Batch;
use shared::wire::{Signal, Writer};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{CORE, closed_loop, end, median, prepare, real};
use crate::cli::MeasureArguments;
use crate::oracle::Policies;
use crate::progress::say;
use crate::report::{Report, per_million, thousands};
use crate::send::{Counts, Replay};
use crate::testbed::binaries::{Binaries, workspace};
use crate::testbed::cluster::until;
use crate::testbed::process::{GRPC, Launch, Process, SPAN_METRICS, Tier};
use crate::testbed::{TestbedError, address, http};

/// Series that are offered to be kept and scraped, over so many services.
const SERIES: u64 = 100_000;
const SERVICES: u64 = 100;
/// Scrapes of all of them, of which the median counts.
const SCRAPES: usize = 5;
/// How often the backend that serves its metrics hands them on: as in the sample configuration.
const FLUSH: Duration = Duration::from_secs(15);

struct Bench {
    plain: Process,
    serving: Process,
    keeping: Process,
}

/// CPU-seconds a million spans.
struct Round {
    plain: f64,
    counting: f64,
}

/// What many series cost.
struct Many {
    /// Growth of resident memory by each, in bytes.
    bytes: f64,
    /// Time of each scrape, in seconds, and the bytes of the last.
    scrapes: Vec<f64>,
    page: usize,
    /// Series on the page as Prometheus counts them: lines with a value.
    lines: u64,
    /// Lines of `calls` on the page that belong to these series.
    found: u64,
    /// From a request's first byte to its acknowledgement, without and with scrapes.
    quiet: Histogram<u64>,
    busy: Histogram<u64>,
}

pub(super) async fn measure(arguments: MeasureArguments) -> Result<Report, TestbedError> {
    let binaries = arguments.binaries.clone().find().await?;
    let logs = tempfile::tempdir().map_err(|error| TestbedError::new(error.to_string()))?;
    let bench = Bench::start(&binaries, logs.path()).await?;
    let load = prepare(&arguments, 1, arguments.spans, Policies::new(Vec::new())).await;

    say(&format!("warming up, then {} rounds", arguments.rounds));
    bench.round(&arguments, &load.requests, load.spans, true).await?;
    let mut rounds = Vec::new();
    for number in 1..=arguments.rounds {
        // A B, then B A, so that neither always has the machine's better half.
        let round = bench.round(&arguments, &load.requests, load.spans, number % 2 == 1).await?;
        say(&format!(
            "round {number}: {:.3} CPU-s a million spans, {:.3} with span metrics",
            round.plain, round.counting
        ));
        rounds.push(round);
    }
    say(&format!("{} series", thousands(SERIES)));
    let many = bench.many(&arguments, &load.requests).await?;
    let mut report = report(&arguments, &rounds, &many);
    for process in [bench.plain, bench.serving, bench.keeping] {
        end(process, &mut report).await;
    }
    Ok(report)
}

impl Bench {
    async fn start(binaries: &Binaries, logs: &Path) -> Result<Self, TestbedError> {
        let launch = |index, config: &str, flush: String, exporter: &str| {
            let mut launch = Launch::sample(Tier::Backend, index, address::unique())
                .env("TAILRACE_FLUSH_INTERVAL", flush)
                .env("TAILRACE_METRICS_TO", exporter)
                .on_core(CORE);
            launch.config = Some(workspace().join("loadtest/src/measure").join(config));
            launch
        };
        let flush = format!("{}s", FLUSH.as_secs());
        let plain = launch(0, "plain.yaml", String::new(), "");
        let serving = launch(1, "span-metrics.yaml", flush, "prometheus");
        let keeping = launch(2, "span-metrics.yaml", "10m".to_owned(), "debug");
        Ok(Self {
            plain: plain.start(binaries, logs).await?,
            serving: serving.start(binaries, logs).await?,
            keeping: keeping.start(binaries, logs).await?,
        })
    }

    async fn round(
        &self,
        arguments: &MeasureArguments,
        requests: &Arc<[Batch]>,
        spans: u64,
        plain_first: bool,
    ) -> Result<Round, TestbedError> {
        let cost = async |process: &Process| {
            let before = process.usage()?;
            send(arguments, process, requests, spans).await?;
            Ok::<_, TestbedError>(per_million(
                process.usage()?.cpu.saturating_sub(before.cpu),
                spans,
            ))
        };
        let (plain, counting);
        if plain_first {
            plain = cost(&self.plain).await?;
            counting = cost(&self.serving).await?;
        } else {
            counting = cost(&self.serving).await?;
            plain = cost(&self.plain).await?;
        }
        Ok(Round { plain, counting })
    }

    async fn many(
        &self,
        arguments: &MeasureArguments,
        usual: &Arc<[Batch]>,
    ) -> Result<Many, TestbedError> {
        let series: Arc<[Batch]> = (0..SERVICES).map(many_names).collect();
        let before = self.keeping.usage()?;
        send(arguments, &self.keeping, &series, SERIES).await?;
        let bytes = real(self.keeping.usage()?.rss.saturating_sub(before.rss)) / real(SERIES);

        send(arguments, &self.serving, &series, SERIES).await?;
        let page = self.serving.at(SPAN_METRICS);
        let mut found = 0;
        until("all series are on the page", async || {
            found = count_series(&scrape(page).await?.1);
            Ok(found >= SERIES)
        })
        .await?;
        let quiet = self.latency(arguments, usual).await?;
        let stop = CancellationToken::new();
        let scraping = async {
            let mut scrapes = Vec::new();
            let (mut length, mut lines) = (0, 0);
            while scrapes.len() < SCRAPES {
                let (seconds, text) = scrape(page).await?;
                scrapes.push(seconds);
                length = text.len();
                lines = text.lines().filter(|line| !line.starts_with('#')).count() as u64;
                sleep(Duration::from_millis(200)).await;
            }
            stop.cancel();
            Ok::<_, TestbedError>((scrapes, length, lines))
        };
        let loading = async {
            let mut latency = self.latency(arguments, usual).await?;
            while !stop.is_cancelled() {
                let more = self.latency(arguments, usual).await?;
                latency.add(more).map_err(|error| TestbedError::new(error.to_string()))?;
            }
            Ok::<_, TestbedError>(latency)
        };
        let (scrapes, busy) = tokio::join!(scraping, loading);
        let ((scrapes, page, lines), busy) = (scrapes?, busy?);
        Ok(Many { bytes, scrapes, page, lines, found, quiet, busy })
    }

    /// How long requests take, one at a time on each connection.
    async fn latency(
        &self,
        arguments: &MeasureArguments,
        requests: &Arc<[Batch]>,
    ) -> Result<Histogram<u64>, TestbedError> {
        let mut load = closed_loop(arguments, self.serving.at(GRPC))?;
        load.concurrency = 1;
        let source = Replay::new(Arc::clone(requests), requests.len().min(500));
        Ok(load.run(source, Arc::default(), CancellationToken::new()).await.latency)
    }
}

/// Sends every request once; all of it must be acknowledged.
async fn send(
    arguments: &MeasureArguments,
    process: &Process,
    requests: &Arc<[Batch]>,
    spans: u64,
) -> Result<(), TestbedError> {
    let load = closed_loop(arguments, process.at(GRPC))?;
    let counts = Arc::new(Counts::default());
    let source = Replay::new(Arc::clone(requests), requests.len());
    load.run(source, Arc::clone(&counts), CancellationToken::new()).await;
    match counts.sent() == spans {
        true => Ok(()),
        false => Err(TestbedError::new(format!(
            "{} of {spans} spans acknowledged by {}",
            counts.sent(),
            process.name()
        ))),
    }
}

/// A request with a span for each of a service's names.
fn many_names(service: u64) -> Batch {
    let mut writer = Writer::new();
    writer.message(1, |entry| {
        entry.message(1, |resource| {
            resource.string_attribute(1, b"service.name", format!("many-{service}").as_bytes());
        });
        entry.message(2, |scope| {
            for number in 0..SERIES / SERVICES {
                scope.message(2, |span| {
                    span.bytes(1, &u128::from(number + 1).to_be_bytes());
                    span.bytes(2, &(number + 1).to_be_bytes());
                    span.bytes(5, format!("GET /many/{number}").as_bytes());
                    span.varint(6, 2);
                    span.fixed64(7, 1_000_000_000);
                    span.fixed64(8, 1_000_000_000 + number * 1_000_000);
                    span.string_attribute(9, b"http.request.method", b"GET");
                    span.int_attribute(9, b"http.response.status_code", 200);
                    span.string_attribute(9, b"http.route", b"/many/{number}");
                });
            }
        });
    });
    Batch::parse(Signal::Traces, writer.into_vec().into()).expect("it was written well")
}

/// The time that the page takes, in seconds, and the page.
async fn scrape(address: SocketAddr) -> Result<(f64, String), TestbedError> {
    let begun = Instant::now();
    let (status, text) = http::get(address, "/metrics").await?;
    match status {
        200 => Ok((begun.elapsed().as_secs_f64(), text)),
        other => Err(TestbedError::new(format!("http://{address}/metrics: status {other}"))),
    }
}

fn count_series(page: &str) -> u64 {
    let calls = page.lines().filter(|line| line.starts_with("traces_span_metrics_calls_total{"));
    calls.filter(|line| line.contains("service_name=\"many-")).count() as u64
}

fn report(arguments: &MeasureArguments, rounds: &[Round], many: &Many) -> Report {
    let mut report = Report::new();
    report.section(format!(
        "Span metrics on one core, 16 buckets, four dimensions, {} spans in a request",
        arguments.spans_per_request
    ));
    let of = |value: fn(&Round) -> f64| rounds.iter().map(value).collect::<Vec<_>>();
    let (cpu, range) = median(&of(|round| round.plain), 3, "CPU-s");
    report.row("a million spans, taking in", cpu, range);
    let (cpu, range) = median(&of(|round| round.counting), 3, "CPU-s");
    report.row("… and counting", cpu, range);
    let (cpu, range) = median(&of(|round| round.counting - round.plain), 3, "CPU-s");
    report.row("… which is more by", cpu, range);
    let each = thousands(arguments.spans);
    report.row("rounds", thousands(rounds.len() as u64), format!("of {each} spans; medians"));
    report.section(format!("{} series of one count and one histogram each", thousands(SERIES)));
    report.row("resident memory a series", format!("{:.0} B", many.bytes), "");
    let (scrape, range) = median(&many.scrapes, 2, "s");
    let size = real(many.page as u64) / 1_048_576.0;
    let lines = thousands(many.lines);
    report.row("a scrape", scrape, format!("{range} of {lines} lines, {size:.0} MiB"));
    let each: Vec<f64> = many.scrapes.iter().map(|time| time * 1e5 / real(many.lines)).collect();
    let (scrape, range) = median(&each, 2, "s");
    report.row("… by 100,000 lines", scrape, range);
    for (label, latency) in [("without", &many.quiet), ("during", &many.busy)] {
        let at = |quantile| real(latency.value_at_quantile(quantile)) / 1000.0;
        report.row(
            format!("a request, {label} scrapes"),
            format!("{:.1} ms", at(0.5)),
            format!("p99 {:.1} ms, one on its way", at(0.99)),
        );
    }
    report.check_equal("series on the page", many.found, SERIES);
    report
}
