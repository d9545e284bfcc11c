//! The edge under flood, and what is read of it before and after.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;

use super::good::{Good, GoodFindings};
use super::{Options, Told};
use crate::ledger::Detail;
use crate::progress::say;
use crate::report::{Report, thousands};
use crate::sink::Sink;
use crate::testbed::cluster::until;
use crate::testbed::dns::DnsServer;
use crate::testbed::page::Page;
use crate::testbed::process::{GRPC, HTTP, Launch, Process, Tier};
use crate::testbed::usage::Usage;
use crate::testbed::{TestbedError, address};
use crate::truth::Truth;

const BACKENDS: usize = 2;

/// An edge and the backends behind it.
pub(super) struct Bench {
    edge: Process,
    sinks: Vec<Sink>,
    _dns: DnsServer,
    _logs: TempDir,
    /// What the good clients sent so far.
    truths: Vec<Truth>,
    /// What everybody sent so far and got acknowledged.
    acknowledged_spans: u64,
    floods: u64,
}

/// What happened during a flood.
pub(super) struct Findings {
    pub(super) told: Told,
    pub(super) good: GoodFindings,
    pub(super) cut: BTreeMap<String, u64>,
    pub(super) refused: BTreeMap<String, u64>,
    pub(super) peak_rss: u64,
    pub(super) elapsed: Duration,
}

impl Bench {
    pub(super) async fn start(options: &Options) -> Result<Self, TestbedError> {
        let mut sinks = Vec::new();
        for _ in 0..BACKENDS {
            let address = SocketAddr::from((address::unique(), GRPC));
            sinks.push(Sink::start(address, Detail::Traces).await?);
        }
        let addresses = sinks.iter().map(|sink| sink.address().ip()).collect();
        let dns = DnsServer::start(address::unique(), "backend.tailrace.test", addresses).await?;
        let logs = tempfile::tempdir().map_err(|error| TestbedError::new(error.to_string()))?;
        // The sample's percentages, of a container with this much memory.
        let (hard, spike) = (options.memory_limit_mib * 80 / 100, options.memory_limit_mib / 5);
        let mut launch = Launch::sample(Tier::Edge, 0, address::unique())
            .env("TAILRACE_BACKEND", dns.name())
            .env("TAILRACE_NAMESERVERS", format!("[\"{}\"]", dns.address()))
            .set(format!("processors::memory_limiter::limit_mib={hard}"))
            .set(format!("processors::memory_limiter::spike_limit_mib={spike}"));
        for setting in &options.settings {
            launch = launch.set(setting);
        }
        let edge = launch.start(&options.binaries, logs.path()).await?;
        until("the edge sees every backend", async || {
            let page = edge.telemetry().await?;
            Ok(page.sum("otelcol_loadbalancer_num_backends") == BACKENDS as u64)
        })
        .await?;
        let (truths, acknowledged_spans, floods) = (Vec::new(), 0, 0);
        Ok(Self { edge, sinks, _dns: dns, _logs: logs, truths, acknowledged_spans, floods })
    }

    pub(super) fn grpc(&self) -> SocketAddr {
        self.edge.at(GRPC)
    }

    pub(super) fn http(&self) -> SocketAddr {
        self.edge.at(HTTP)
    }

    /// Lets the good client send while `flood` goes on, and reads what came of both.
    pub(super) async fn during(
        &mut self,
        options: &Options,
        flood: impl Future<Output = Told>,
    ) -> Result<Findings, TestbedError> {
        let before = self.edge.telemetry().await?;
        if let Some(pid) = self.edge.pid() {
            Usage::reset_peak(pid)?;
        }
        self.floods += 1;
        let good = Good::start(self.grpc(), self.floods, options.rate)?;
        let started = Instant::now();
        let told = flood.await;
        let elapsed = started.elapsed();
        let (good, truth) = good.finish().await;
        say(&format!("flood {}: {:.0} s, {}", self.floods, elapsed.as_secs_f64(), good.describe()));
        let after = self.edge.telemetry().await?;
        let peak_rss = self.edge.usage()?.peak_rss;
        self.truths.push(truth);
        self.acknowledged_spans += told.acknowledged_spans + good.acknowledged_spans;
        let by_reason = |metric| difference(&before, &after, metric);
        Ok(Findings {
            told,
            good,
            cut: by_reason("otelcol_receiver_connections_cut"),
            refused: by_reason("otelcol_receiver_refused_requests"),
            peak_rss,
            elapsed,
        })
    }

    /// Stops the edge, which must end well, and adds up what arrived.
    pub(super) async fn stop(self, report: &mut Report) -> Result<(), TestbedError> {
        self.edge.terminate()?;
        let status = self.edge.wait(Duration::from_secs(60)).await?;
        report.section("After all");
        report.check(status.success(), "the edge ends in good order", status.to_string());
        let mut received = HashMap::<_, HashSet<_>>::new();
        let mut arrived = 0;
        for sink in &self.sinks {
            arrived += sink.ledger().spans();
            // What was passed on to another backend has some of its spans there.
            for (id, trace) in sink.ledger().traces() {
                received.entry(id).or_default().extend(trace.spans);
            }
        }
        let (mut sent, mut there) = (0, 0);
        for trace in self.truths.iter().flat_map(|truth| &truth.traces) {
            let spans = received.get(&trace.id).map_or(0, HashSet::len);
            sent += u64::from(trace.spans);
            there += spans as u64;
        }
        report.check_equal("spans of the good client at the backends", there, sent);
        let all = self.acknowledged_spans;
        let claim = "every acknowledged span arrived";
        let twice = arrived.saturating_sub(all);
        let figures =
            format!("{} of {}, {} more", thousands(arrived), thousands(all), thousands(twice));
        report.check(arrived >= all, claim, figures);
        for sink in self.sinks {
            sink.stop().await;
        }
        Ok(())
    }
}

/// How far the series of `metric` moved, by reason.
fn difference(before: &Page, after: &Page, metric: &str) -> BTreeMap<String, u64> {
    let mut moved = BTreeMap::new();
    for sample in after.series(metric) {
        let reason = sample.label("reason");
        let of = |page: &Page| page.sum_where(metric, |other| other.label("reason") == reason);
        let count = of(after).saturating_sub(of(before));
        if count > 0 {
            moved.insert(reason.to_owned(), count);
        }
    }
    moved
}
