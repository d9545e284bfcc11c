//! `loadtest demo`: both tiers as processes on this machine, real traffic through them, and the
//! proof that every trace was judged whole and nothing was lost.

use std::net::Ipv4Addr;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::audit::{Audit, BackendFlow};
use crate::cli::DemoArguments;
use crate::command::describe;
use crate::generate::Generator;
use crate::oracle::Policies;
use crate::plan::Plan;
use crate::progress::{Progress, Reading, say};
use crate::report::{Report, mebibytes, per_million, thousands};
use crate::send::{Counts, Load, Outcome};
use crate::testbed::TestbedError;
use crate::testbed::cluster::{Cluster, Shape, until};
use crate::testbed::process::{SPAN_METRICS, TELEMETRY, Tier};
use crate::truth::Truth;

/// Runs the demo; true when everything adds up.
///
/// # Errors
/// When something cannot be started, or ends on its own.
pub async fn run(arguments: DemoArguments, stop: CancellationToken) -> Result<bool, TestbedError> {
    let binaries = arguments.binaries.clone().find().await?;
    let (edges, backends) = (arguments.edges, arguments.backends);
    say(&format!("starting {edges} edges, {backends} backends, a DNS server and a sink"));
    let cluster = tokio::select! {
        cluster = Cluster::start(shape(&arguments), binaries) => cluster?,
        () = stop.cancelled() => return Ok(false),
    };
    where_to_look(&cluster, "Running now; look around");
    let before = [cpu(&cluster, Tier::Edge)?, cpu(&cluster, Tier::Backend)?];
    let counts = Arc::new(Counts::default());
    let outcome = drive(&arguments, &cluster, &counts, &stop).await?;

    let mut report = Report::new();
    report.section(format!("Load, with seed {}", arguments.seed));
    describe(&mut report, "spans", &counts, &outcome);
    audit(&mut report, &cluster, &counts, &outcome).await?;
    costs(&mut report, &cluster, before, counts.sent())?;
    if arguments.keep {
        report.print();
        where_to_look(&cluster, "Running until Ctrl-C; look around");
        stop.cancelled().await;
        report = Report::new();
    }
    report.section("Every process stops cleanly on SIGTERM");
    report_stop(&mut report, &cluster.stop().await?);
    if !arguments.keep {
        report.note("(with --keep all of this goes on running until Ctrl-C)");
    }
    report.print();
    let failures = report.failures();
    if failures > 0 {
        say(&format!("\n{failures} claims do not hold"));
    }
    Ok(report.holds())
}

fn shape(arguments: &DemoArguments) -> Shape {
    let host = |first: u8, index: u8| Ipv4Addr::new(127, 0, 0, first + index);
    Shape {
        edges: (0..arguments.edges).map(|index| host(11, index)).collect(),
        backends: (0..arguments.backends).map(|index| host(21, index)).collect(),
        dns: host(3, 0),
        sink: host(2, 0),
        decision_wait: arguments.decision_wait,
        edge_config: "edge.yaml",
        backend_config: "backend.yaml",
        edge_settings: Vec::new(),
        backend_settings: Vec::new(),
    }
}

/// Sends everything and waits until it is judged and has arrived.
async fn drive(
    arguments: &DemoArguments,
    cluster: &Cluster,
    counts: &Arc<Counts>,
    stop: &CancellationToken,
) -> Result<Outcome<Generator>, TestbedError> {
    let mut plan = Plan::new(arguments.seed, arguments.traces);
    plan.start_ns = shared::clock::unix_ns();
    plan.field_order = arguments.field_order;
    if arguments.rate > 0 {
        plan = plan.within(arguments.decision_wait / 4, arguments.rate);
    }
    let load = Load {
        targets: cluster.clients()?,
        // Few, so that on a busy machine the spans of a trace are still sent close together.
        concurrency: 8,
        rate: Some(arguments.rate).filter(|rate| *rate > 0),
        patience: Duration::from_secs(60),
    };
    let enough = stop.child_token();
    if let Some(duration) = arguments.duration {
        let enough = enough.clone();
        tokio::spawn(async move {
            tokio::time::sleep(duration).await;
            enough.cancel();
        });
    }
    let (sent, ledger) = (Arc::clone(counts), Arc::clone(cluster.sink.ledger()));
    // A trace has about six spans.
    let total = arguments.duration.is_none().then_some(arguments.traces * 6);
    let progress = Progress::start(total, move || Reading {
        spans: sent.sent(),
        detail: format!(
            "sink: {} spans of {} traces  {} retries",
            thousands(ledger.spans()),
            thousands(ledger.trace_count() as u64),
            thousands(sent.retries.load(Ordering::Relaxed)),
        ),
    });
    let generator = Generator::new(plan, Arc::new(Policies::of_sample_config()));
    let outcome = load.run(generator, Arc::clone(counts), enough).await;
    let settled = settle(cluster, outcome.source.truth()).await;
    progress.finish().await;
    if let Err(error) = settled {
        say(&format!("warning: {error}"));
    }
    Ok(outcome)
}

/// Waits until the backends hold nothing, the sink has what they kept, and the span metrics are
/// flushed.
///
/// Looking at the sink first costs the backends nothing; their metrics pages do.
async fn settle(cluster: &Cluster, truth: &Truth) -> Result<(), TestbedError> {
    let policies = Policies::of_sample_config();
    let kept = truth.traces.iter().filter(|trace| policies.keeps(trace));
    let expected: u64 = kept.map(|trace| u64::from(trace.spans)).sum();
    let sent = truth.spans;
    let arrived =
        until(
            "every kept span has arrived",
            async || Ok(cluster.sink.ledger().spans() >= expected),
        )
        .await;
    if let Err(error) = arrived {
        say(&format!("warning: {error}"));
    }
    until("every trace is judged and exported", async || {
        let flow = BackendFlow::of(&cluster.telemetry(Tier::Backend).await?);
        let counted = cluster.span_metrics().await?.sum("traces_span_metrics_calls");
        Ok(flow.received >= sent
            && flow.held == 0
            && flow.exported + flow.failed >= flow.forwarded
            && counted >= sent)
    })
    .await
}

async fn audit(
    report: &mut Report,
    cluster: &Cluster,
    counts: &Counts,
    outcome: &Outcome<Generator>,
) -> Result<(), TestbedError> {
    let audit = Audit {
        truth: outcome.source.truth(),
        policies: &Policies::of_sample_config(),
        acknowledged: counts.sent(),
        received: &cluster.sink.ledger().traces(),
        edges: &cluster.telemetry(Tier::Edge).await?,
        backends: &cluster.telemetry(Tier::Backend).await?,
        span_metrics: &cluster.span_metrics().await?,
    };
    audit.report(report);
    Ok(())
}

/// CPU time of a tier so far.
fn cpu(cluster: &Cluster, tier: Tier) -> Result<Duration, TestbedError> {
    cluster.of(tier).iter().map(|process| Ok(process.usage()?.cpu)).sum()
}

fn costs(
    report: &mut Report,
    cluster: &Cluster,
    before: [Duration; 2],
    spans: u64,
) -> Result<(), TestbedError> {
    report.section("What it cost, at this rate and with metrics flushed and read each second");
    for (tier, before) in [Tier::Edge, Tier::Backend].into_iter().zip(before) {
        let spent = cpu(cluster, tier)?.saturating_sub(before);
        let mut peak = 0;
        for process in cluster.of(tier) {
            peak = peak.max(process.usage()?.peak_rss);
        }
        report.row(
            format!("{} tier", tier.name()),
            format!("{:.2} CPU-s", per_million(spent, spans)),
            format!("a million spans; at most {} resident in a process", mebibytes(peak)),
        );
    }
    report.note("(mostly wake-ups and gzip: loadtest measure tells what a span costs under load)");
    Ok(())
}

fn where_to_look(cluster: &Cluster, title: &str) {
    let mut report = Report::new();
    report.section(title);
    for process in cluster.edges.iter().chain(&cluster.backends) {
        report.row(process.name(), "", format!("curl http://{}/metrics", process.at(TELEMETRY)));
    }
    for backend in &cluster.backends {
        let page = backend.at(SPAN_METRICS);
        report.row("span metrics", "", format!("curl http://{page}/metrics"));
    }
    let (dns, name) = (cluster.dns.address(), cluster.dns.name());
    report.row("DNS", "", format!("dig @{} -p {} {name}", dns.ip(), dns.port()));
    let edges = cluster.edges.iter().map(|edge| format!(" --endpoint {}:4317", edge.host()));
    report.row("more load", "", format!("loadtest send{}", edges.collect::<String>()));
    report.print();
}

fn report_stop(report: &mut Report, statuses: &[(String, ExitStatus)]) {
    for (name, status) in statuses {
        report.check(status.success(), name, status.to_string());
    }
}
