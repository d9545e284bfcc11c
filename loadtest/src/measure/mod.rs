//! `loadtest measure`: what one process of a tier costs, on one core.
//!
//! Fixed work after a warm-up, in rounds; CPU time and not wall time is the figure, since it
//! does not depend on how well the load keeps the process busy. The process has a core for
//! itself; generator and destinations share the others. A round counts only if every span
//! arrived.

mod backend;
mod edge;
mod span_metrics;
mod steady;

use std::sync::Arc;
use std::time::Duration;

use shared::Batch;
use shared::config::Compression;
use shared::queue::Sender;
use tokio_util::sync::CancellationToken;

use crate::cli::{MeasureArguments, Measured};
use crate::generate::Generator;
use crate::oracle::Policies;
use crate::plan::Plan;
use crate::report::Report;
use crate::send::Load;
use crate::testbed::TestbedError;
use crate::testbed::cluster::client;
use crate::testbed::cores::Cores;
use crate::testbed::process::Process;
use crate::truth::Truth;

/// The core of the process that is measured.
pub(crate) const CORE: usize = 0;

/// Measures; true when every round counted.
///
/// # Errors
/// When something cannot be started, or the machine has only one core.
pub async fn run(
    arguments: MeasureArguments,
    stop: CancellationToken,
) -> Result<bool, TestbedError> {
    if arguments.panel && arguments.tier != Measured::Edge {
        return Err(TestbedError::new("--panel is for the edge only"));
    }
    if arguments.steady && arguments.tier != Measured::Backend {
        return Err(TestbedError::new("--steady is for the backend only"));
    }
    leave_core_alone()?;
    let tier = arguments.tier;
    let measured = async {
        match tier {
            Measured::Edge => edge::measure(arguments).await,
            Measured::Backend if arguments.steady => steady::measure(arguments).await,
            Measured::Backend => backend::measure(arguments).await,
            Measured::SpanMetrics => span_metrics::measure(arguments).await,
        }
    };
    tokio::select! {
        report = measured => {
            let report: Report = report?;
            report.print();
            Ok(report.holds())
        }
        () = stop.cancelled() => Ok(false),
    }
}

/// Moves this process to the other cores.
pub(crate) fn leave_core_alone() -> Result<(), TestbedError> {
    let mut others = Cores::available()?.numbers();
    others.retain(|core| *core != CORE);
    if others.is_empty() {
        return Err(TestbedError::new("measuring needs two cores: one is for what is measured"));
    }
    Cores::only(&others)?.move_this_process()
}

/// Requests made in advance, and the truth about them.
struct Prepared {
    requests: Arc<[Batch]>,
    spans: u64,
    truth: Truth,
}

/// Makes requests with at least `spans` spans.
async fn prepare(
    arguments: &MeasureArguments,
    seed: u64,
    spans: u64,
    policies: Policies,
) -> Prepared {
    let mut plan = Plan::new(seed, u64::MAX);
    plan.start_ns = shared::clock::unix_ns();
    plan.services = 8;
    plan.spans_per_request = arguments.spans_per_request as usize;
    plan.field_order = arguments.field_order;
    let made = tokio::task::spawn_blocking(move || {
        let mut generator = Generator::new(plan, Arc::new(policies));
        let requests = generator.at_least(spans).into();
        let truth = generator.into_truth();
        Prepared { requests, spans: truth.spans, truth }
    });
    made.await.expect("the generator does not panic")
}

/// Ends what was measured, as its supervisor would.
async fn end(process: Process, report: &mut Report) {
    let claim = format!("{} stops cleanly on SIGTERM", process.name());
    match process.stop().await {
        Ok(status) => report.check(status.success(), claim, status.to_string()),
        Err(error) => report.check(false, claim, error.to_string()),
    }
}

/// A closed loop over the connections that `arguments` ask for.
fn closed_loop(
    arguments: &MeasureArguments,
    endpoint: std::net::SocketAddr,
) -> Result<Load, TestbedError> {
    let connections = (0..arguments.clients).map(|_| client(endpoint, Compression::None));
    let targets: Vec<Arc<dyn Sender>> = connections.collect::<Result<_, _>>()?;
    let concurrency = arguments.concurrency.max(arguments.clients) as usize;
    Ok(Load { targets, concurrency, rate: None, patience: PATIENCE })
}

/// The median, and the extremes.
fn median(values: &[f64], digits: usize, unit: &str) -> (String, String) {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let median = values.get(values.len() / 2).copied().unwrap_or_default();
    let (least, most) =
        (values.first().copied().unwrap_or_default(), values.last().copied().unwrap_or_default());
    (format!("{median:.digits$} {unit}"), format!("[{least:.digits$} – {most:.digits$}]"))
}

/// A count as a number to calculate with.
#[allow(clippy::cast_precision_loss, reason = "counts of a round are far below 2^53")]
fn real(count: u64) -> f64 {
    count as f64
}

/// Patience of a load: whatever fails for longer is broken.
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_comes_with_its_extremes() {
        let shown = median(&[3.0, 1.0, 2.0], 1, "s");
        assert_eq!(shown, ("2.0 s".to_owned(), "[1.0 – 3.0]".to_owned()));
    }
}
