//! The client that behaves: some requests a second, each until it is acknowledged.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hdrhistogram::Histogram;
use shared::config::Compression;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::generate::Generator;
use crate::plan::Plan;
use crate::report::{latency, thousands};
use crate::send::{Counts, Load, Outcome};
use crate::testbed::TestbedError;
use crate::testbed::cluster::client;
use crate::truth::Truth;

const SPANS_PER_REQUEST: usize = 20;

/// A request that does not get through for so long is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// The client, sending.
pub(super) struct Good {
    sending: JoinHandle<Outcome<Generator>>,
    counts: Arc<Counts>,
    stop: CancellationToken,
}

/// How it fared.
pub(super) struct GoodFindings {
    /// Requests that were acknowledged.
    pub(super) requests: u64,
    /// Attempts that were rejected for now.
    pub(super) retries: u64,
    /// Spans that were given up.
    pub(super) given_up: u64,
    pub(super) acknowledged_spans: u64,
    latency: Histogram<u64>,
}

impl Good {
    /// Starts to send `rate` spans a second; each number sends other traces.
    pub(super) fn start(
        endpoint: SocketAddr,
        number: u64,
        rate: u64,
    ) -> Result<Self, TestbedError> {
        let mut plan = Plan::new(number, u64::MAX);
        plan.spans_per_request = SPANS_PER_REQUEST;
        let load = Load {
            targets: vec![client(endpoint, Compression::None)?],
            concurrency: 8,
            rate: Some(rate),
            patience: PATIENCE,
        };
        let (counts, stop) = (Arc::new(Counts::default()), CancellationToken::new());
        let generator = Generator::new(plan, Arc::default());
        let sending = tokio::spawn(load.run(generator, Arc::clone(&counts), stop.clone()));
        Ok(Self { sending, counts, stop })
    }

    /// Stops, and waits for the last answer.
    pub(super) async fn finish(self) -> (GoodFindings, Truth) {
        self.stop.cancel();
        let outcome = self.sending.await.expect("the load does not panic");
        let findings = GoodFindings {
            requests: self.counts.requests.load(Ordering::Relaxed),
            retries: self.counts.retries.load(Ordering::Relaxed),
            given_up: self.counts.failed_spans.load(Ordering::Relaxed),
            acknowledged_spans: self.counts.sent(),
            latency: outcome.latency,
        };
        (findings, outcome.source.into_truth())
    }
}

impl GoodFindings {
    /// Success at the first attempt, and latency from when a request was due.
    pub(super) fn describe(&self) -> String {
        let attempts = self.requests + self.retries;
        let permille = (self.requests * 1000).checked_div(attempts).unwrap_or(0);
        let (percent, tenth) = (permille / 10, permille % 10);
        let retries = thousands(self.retries);
        format!("{percent}.{tenth} % at once, {retries} retries; {}", latency(&self.latency))
    }
}
