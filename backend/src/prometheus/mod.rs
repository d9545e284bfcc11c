//! `prometheus`: an exporter that keeps the last value of every series and serves them for
//! scraping.
//!
//! A pure core ([`collection`]) keeps; the shell here feeds it, tells it the time and serves it.
//! [`names`] and [`labels`] translate, [`plan`] and [`scrape`] read, [`text`] and [`protobuf`]
//! write.
//!
//! Source: contrib exporter/prometheusexporter.

pub(crate) mod attribute_text;
mod collection;
mod config;
mod exemplar;
mod family;
mod gzip;
mod histogram;
mod label_set;
pub(crate) mod labels;
mod metrics;
pub(crate) mod names;
mod negotiate;
mod page;
mod plan;
mod protobuf;
pub(crate) mod resource_attributes;
mod scrape;
#[cfg(test)]
mod tests;
mod text;
mod units;
mod value;
mod wildcard;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use shared::config::{Path, Problems};
use shared::otlp::Door;
use shared::queue::{ChainSettings, Delivered, RetryConfig, Sender, chain};
use shared::service::{BuildError, Context, ExporterConfig};
use shared::telemetry::metrics::Descriptor;
use shared::transport::http::pages::PageServer;
use shared::transport::listen::{DoorMetrics, ExporterCutMetrics, ExporterListenerMetrics};
use shared::wire::export;
use shared::{Batch, Consumer, Next, Rejected, Signal, clock};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::info;

use self::collection::{Collection, Observed, Size};
pub(crate) use self::config::{DISABLE_SUFFIXES_GATE, PrometheusConfig};
use self::metrics::{DroppedMetrics, PrometheusMetrics};
use self::page::MetricsPage;
use self::scrape::lock;
use self::value::Reason;

/// The metrics of the exporter.
pub(crate) const DESCRIPTORS: &[&[Descriptor]] = &[
    PrometheusMetrics::DESCRIPTORS,
    DroppedMetrics::DESCRIPTORS,
    ExporterListenerMetrics::DESCRIPTORS,
    ExporterCutMetrics::DESCRIPTORS,
];

impl ExporterConfig for PrometheusConfig {
    const TYPE: &'static str = "prometheus";
    const SIGNALS: &'static [Signal] = &[Signal::Metrics];

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        self.check(at, problems);
    }

    fn build(&self, ctx: &Context) -> Result<Next, BuildError> {
        Ok(Arc::new(PrometheusExporter::start(self, ctx)?))
    }
}

/// The exporter. It serves until it is shut down or dropped.
struct PrometheusExporter {
    chain: Next,
    server: Mutex<Option<PageServer>>,
    _stop: DropGuard,
}

impl PrometheusExporter {
    fn start(config: &PrometheusConfig, ctx: &Context) -> Result<Self, BuildError> {
        let id = ctx.id.to_string();
        let metrics = PrometheusMetrics::new(&[("exporter", &id)]);
        let collection = Arc::new(Mutex::new(Collection::new(Arc::new(config.clone()))));
        let page = MetricsPage::new(config, Arc::clone(&collection), metrics.clone());
        let door = Door::new(&config.server.auth, false, &ctx.commons)?;
        let server = PageServer::start(
            "prometheus",
            &config.server,
            door.auth,
            DoorMetrics::of_exporter(&id),
            Arc::new(page),
        )?;
        if let Some(address) = server.address() {
            info!(exporter = %id, %address, "serving metrics for scraping");
        }
        let stop = CancellationToken::new();
        let expiration = config.metric_expiration;
        let sweeping = expire(Arc::clone(&collection), metrics.clone(), expiration, stop.clone());
        tokio::spawn(sweeping);
        let dropped = Reason::ALL
            .map(|reason| DroppedMetrics::new(&[("exporter", &id), ("reason", reason.name())]));
        let keeper = Arc::new(Keeper { collection, metrics, dropped });
        // Keeping a value takes no time and cannot fail, so there is nothing to wait for or to
        // try again; the chain counts as for every exporter.
        let settings = ChainSettings {
            timeout: Duration::ZERO,
            retry: RetryConfig { enabled: false, ..RetryConfig::default() },
            queue: config.sending_queue.clone(),
            destination: None,
        };
        Ok(Self {
            chain: chain(ctx, settings, keeper),
            server: Mutex::new(Some(server)),
            _stop: stop.drop_guard(),
        })
    }

    /// Where it serves, while it does.
    fn address(&self) -> Option<SocketAddr> {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        server.as_ref().and_then(PageServer::address)
    }
}

#[async_trait]
impl Consumer for PrometheusExporter {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        self.chain.consume(batch).await
    }

    async fn shutdown(&self, deadline: Instant) {
        self.chain.shutdown(deadline).await;
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(server) = server {
            server.shutdown(deadline).await;
        }
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.address().into_iter().collect()
    }
}

/// Keeps the data points of batches.
struct Keeper {
    collection: Arc<Mutex<Collection>>,
    metrics: PrometheusMetrics,
    /// In the order of [`Reason::ALL`].
    dropped: [DroppedMetrics; Reason::ALL.len()],
}

#[async_trait]
impl Sender for Keeper {
    async fn send(&self, batch: Batch) -> Result<Delivered, Rejected> {
        let now = clock::now();
        let mut observed = Observed::default();
        for entry in export::resources(batch.bytes()) {
            // The lock is taken anew for each entry, so that a scrape need not wait for a batch.
            observed.add(&lock(&self.collection).observe(entry, now));
        }
        self.metrics.merged.increment(observed.merged);
        show_size(&self.metrics, lock(&self.collection).size());
        let mut reasons = Vec::new();
        for ((count, reason), metrics) in
            observed.dropped.iter().zip(Reason::ALL).zip(&self.dropped)
        {
            if *count > 0 {
                metrics.points.increment(*count);
                reasons.push(format!("{}: {count}", reason.name()));
            }
        }
        let dropped: u64 = observed.dropped.iter().sum();
        Ok(Delivered {
            rejected_items: usize::try_from(dropped).unwrap_or(usize::MAX),
            message: reasons.join(", "),
        })
    }
}

/// Forgets series that ended even when nobody scrapes.
async fn expire(
    collection: Arc<Mutex<Collection>>,
    metrics: PrometheusMetrics,
    expiration: Duration,
    stop: CancellationToken,
) {
    let mut ticker = tokio::time::interval(expiration);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticker.tick() => {}
        }
        sweep(&collection, clock::now());
        show_size(&metrics, lock(&collection).size());
    }
}

/// Reads all pages, which forgets what expired; the lock is taken anew for each.
fn sweep(collection: &Mutex<Collection>, now: Instant) {
    let families = lock(collection).families();
    for (name, kind) in families {
        let mut after = None;
        loop {
            after = lock(collection).page(&name, kind, after.as_ref(), now).next;
            if after.is_none() {
                break;
            }
        }
    }
}

fn show_size(metrics: &PrometheusMetrics, size: Size) {
    set_gauge(&metrics.series, size.streams);
    set_gauge(&metrics.bytes, size.bytes);
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
fn set_gauge(gauge: &shared::metrics::Gauge, count: usize) {
    gauge.set(count as f64);
}
