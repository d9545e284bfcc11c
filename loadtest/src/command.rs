//! `loadtest send` and `loadtest sink`: the generator and the sink on their own.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::cli::{SendArguments, SinkArguments};
use crate::generate::Generator;
use crate::ledger::Detail;
use crate::plan::Plan;
use crate::progress::{Progress, Reading, say};
use crate::report::{Report, latency, mebibytes, per_second, thousands};
use crate::send::{Counts, Load, Outcome};
use crate::sink::Sink;
use crate::tape::Tape;
use crate::testbed::TestbedError;
use crate::testbed::cluster::client;

/// Sends as told; true when every span was acknowledged.
///
/// # Errors
/// When an endpoint cannot be read.
pub async fn send(arguments: SendArguments, stop: CancellationToken) -> Result<bool, TestbedError> {
    let start_ns = shared::clock::unix_ns();
    let seed = arguments.seed.unwrap_or(start_ns);
    let mut plan = Plan::new(seed, arguments.traces);
    plan.signal = arguments.signal.into();
    plan.start_ns = start_ns;
    plan.services = arguments.services.into();
    plan.spans_per_request = arguments.spans_per_request as usize;
    plan.field_order = arguments.field_order;
    let mut targets = Vec::new();
    for endpoint in &arguments.endpoint {
        targets.push(client(endpoint, arguments.compression.into())?);
    }
    let load = Load {
        targets,
        concurrency: arguments.concurrency as usize,
        rate: arguments.rate,
        patience: Duration::from_secs(30),
    };
    let counts = Arc::new(Counts::default());
    let progress = Progress::start(None, follow(Arc::clone(&counts)));
    let generator = Generator::new(plan, Arc::default());
    let outcome = load.run(generator, Arc::clone(&counts), stop).await;
    progress.finish().await;
    let mut report = Report::new();
    report.section(format!("Sent, with seed {seed}"));
    describe(&mut report, arguments.signal.items(), &counts, &outcome);
    report.section("Outcome");
    let items = arguments.signal.items();
    report.check_equal(
        format!("{items} acknowledged"),
        counts.sent(),
        outcome.source.truth().spans,
    );
    let rejected = counts.rejected_spans.load(Ordering::Relaxed);
    report.check_equal(format!("{items} rejected in acknowledged requests"), rejected, 0);
    if let Some(reason) = counts.last_failure() {
        report.note(format!("last failure: {reason}"));
    }
    report.print();
    Ok(report.holds())
}

/// What a progress display shows of a load.
pub(crate) fn follow(counts: Arc<Counts>) -> impl Fn() -> Reading + Send + 'static {
    move || {
        let retries = counts.retries.load(Ordering::Relaxed);
        let failed = counts.failed_spans.load(Ordering::Relaxed);
        let mut detail = String::new();
        for (count, what) in [(retries, "retries"), (failed, "spans given up")] {
            if count > 0 {
                detail.extend([&thousands(count), " ", what, "  "]);
            }
        }
        Reading { spans: counts.sent(), detail }
    }
}

/// Figures of a load.
pub(crate) fn describe(
    report: &mut Report,
    items: &str,
    counts: &Counts,
    outcome: &Outcome<Generator>,
) {
    let (spans, truth) = (counts.sent(), outcome.source.truth());
    let bytes = counts.bytes.load(Ordering::Relaxed);
    let requests = counts.requests.load(Ordering::Relaxed);
    let seconds = outcome.elapsed.as_secs_f64();
    report.row("traces", thousands(truth.traces.len() as u64), "");
    let rate = thousands(per_second(spans, outcome.elapsed));
    report.row(items, thousands(spans), format!("in {seconds:.1} s, {rate} a second"));
    let each = spans.checked_div(requests).unwrap_or(0);
    report.row("requests", thousands(requests), format!("of about {each} {items}"));
    let each = bytes.checked_div(spans).unwrap_or(0);
    report.row("bytes", mebibytes(bytes), format!("uncompressed, {each} B each"));
    report.row("acknowledged", "", latency(&outcome.latency));
    let retries = counts.retries.load(Ordering::Relaxed);
    report.row("retries", thousands(retries), "");
}

/// Counts what arrives until it is told to stop.
///
/// # Errors
/// When an address is in use.
pub async fn sink(arguments: SinkArguments, stop: CancellationToken) -> Result<bool, TestbedError> {
    let detail = if arguments.traces { Detail::Traces } else { Detail::Counts };
    let tape = arguments.record.as_deref().map(Tape::create).transpose()?;
    let mut sinks = Vec::new();
    for address in arguments.listen {
        let sink = match &tape {
            Some(tape) => Sink::record(address, detail, tape).await?,
            None => Sink::start(address, detail).await?,
        };
        say(&format!("listening on {}", sink.address()));
        sinks.push(sink);
    }
    let ledgers: Vec<_> = sinks.iter().map(|sink| Arc::clone(sink.ledger())).collect();
    let progress = Progress::start(None, move || Reading {
        spans: ledgers.iter().map(|ledger| ledger.spans()).sum(),
        detail: format!(
            "{} requests",
            thousands(ledgers.iter().map(|ledger| ledger.requests()).sum())
        ),
    });
    stop.cancelled().await;
    progress.finish().await;
    let mut report = Report::new();
    for sink in sinks {
        let ledger = Arc::clone(sink.ledger());
        report.section(format!("Received on {}", sink.address()));
        sink.stop().await;
        report.row("spans", thousands(ledger.spans()), "");
        report.row("requests", thousands(ledger.requests()), "");
        report.row("bytes", mebibytes(ledger.bytes()), "uncompressed");
        if detail == Detail::Traces {
            let traces = ledger.traces();
            let twice: usize = traces.values().map(|trace| trace.duplicates).sum();
            report.row("traces", thousands(traces.len() as u64), "");
            report.row("spans that came twice", thousands(twice as u64), "");
        }
    }
    if let Some(tape) = tape {
        let (requests, skipped) = tape.finish()?;
        report.section("Recorded");
        report.row("requests", thousands(requests), "");
        report.row("requests left out", thousands(skipped), "of other signals than traces");
    }
    report.print();
    Ok(true)
}
