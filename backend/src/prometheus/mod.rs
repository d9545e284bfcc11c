//! `prometheus`: an exporter that keeps the last value of every series and serves them for
//! scraping.
//!
//! A pure core ([`collection`]) keeps; the shell here feeds it, tells it the time and serves it.
//!
//! Source: contrib exporter/prometheusexporter.

pub(crate) mod attribute_text;
mod collection;
mod config;
pub(crate) mod labels;
mod metrics;
pub(crate) mod names;
pub(crate) mod resource_attributes;
mod scrape;
#[cfg(test)]
mod tests;
mod text;
mod units;
mod value;
mod wildcard;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use shared::config::{Path, Problems, Section};
use shared::queue::{ChainSettings, Delivered, RetryConfig, Sender, chain};
use shared::service::{BuildError, Context, ExporterConfig};
use shared::telemetry::metrics::Descriptor;
use shared::telemetry::server::Server;
use shared::wire::export;
use shared::{Batch, Consumer, Next, Rejected, Signal, clock};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::info;

use self::collection::{Collection, Observed};
pub(crate) use self::config::PrometheusConfig;
use self::metrics::{DroppedMetrics, PrometheusMetrics};
use self::scrape::{Scrape, Timestamps, lock};
use self::value::Reason;

/// The metrics of the exporter.
pub(crate) const DESCRIPTORS: &[&[Descriptor]] =
    &[PrometheusMetrics::DESCRIPTORS, DroppedMetrics::DESCRIPTORS];

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
    server: Mutex<Option<Server>>,
    _stop: DropGuard,
}

impl PrometheusExporter {
    fn start(config: &PrometheusConfig, ctx: &Context) -> Result<Self, BuildError> {
        let id = ctx.id.to_string();
        let metrics = PrometheusMetrics::new(&[("exporter", &id)]);
        let collection = Arc::new(Mutex::new(Collection::new(Arc::new(config.clone()))));
        let timestamps = match config.send_timestamps {
            true => Timestamps::Written,
            false => Timestamps::LeftOut,
        };
        let router = router(Arc::clone(&collection), timestamps, metrics.clone());
        let server = listen(&config.endpoint, router).map_err(|error| {
            BuildError::new(format!("cannot listen on {}: {error}", config.endpoint))
        })?;
        info!(exporter = %id, address = %server.address(), "serving metrics for scraping");
        let stop = CancellationToken::new();
        tokio::spawn(expire(
            Arc::clone(&collection),
            metrics.series.clone(),
            config.metric_expiration,
            stop.clone(),
        ));
        let dropped = Reason::ALL
            .map(|reason| DroppedMetrics::new(&[("exporter", &id), ("reason", reason.name())]));
        let keeper = Arc::new(Keeper { collection, metrics, dropped });
        // Keeping a value takes no time and cannot fail, so there is nothing to wait for or to
        // try again; the chain counts as for every exporter.
        let settings = ChainSettings {
            timeout: Duration::ZERO,
            retry: RetryConfig { enabled: false, ..RetryConfig::default() },
            queue: Section::off(),
            destination: None,
        };
        Ok(Self {
            chain: chain(ctx, settings, keeper),
            server: Mutex::new(Some(server)),
            _stop: stop.drop_guard(),
        })
    }

    /// Where it serves, while it does.
    #[cfg(test)]
    fn address(&self) -> Option<SocketAddr> {
        self.server.lock().unwrap().as_ref().map(Server::address)
    }
}

#[async_trait]
impl Consumer for PrometheusExporter {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        self.chain.consume(batch).await
    }

    async fn shutdown(&self, deadline: Instant) {
        self.chain.shutdown(deadline).await;
        drop(self.server.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take());
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        let server = self.server.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        server.iter().map(Server::address).collect()
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
        set_gauge(&self.metrics.series, lock(&self.collection).streams());
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

fn router(
    collection: Arc<Mutex<Collection>>,
    timestamps: Timestamps,
    metrics: PrometheusMetrics,
) -> Router {
    let scrape = move || {
        metrics.scrapes.increment(1);
        let scrape = Scrape::new(Arc::clone(&collection), timestamps, clock::now());
        let headers = [(header::CONTENT_TYPE, text::CONTENT_TYPE)];
        std::future::ready((headers, Body::new(scrape)).into_response())
    };
    Router::new().route("/metrics", get(scrape))
}

/// Listens on `endpoint`; without a host, on all addresses.
fn listen(endpoint: &str, router: Router) -> std::io::Result<Server> {
    let Some(port) = endpoint.strip_prefix(':') else {
        return Server::start("prometheus", endpoint, router);
    };
    let port = port.parse().map_err(std::io::Error::other)?;
    // The second is for machines without IPv6; the first that can be bound is taken.
    let any = [
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
    ];
    Server::start("prometheus", &any[..], router)
}

/// Forgets series that ended even when nobody scrapes.
async fn expire(
    collection: Arc<Mutex<Collection>>,
    series: shared::metrics::Gauge,
    expiration: Duration,
    stop: CancellationToken,
) {
    let mut ticker = tokio::time::interval(expiration);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticker.tick() => {}
        }
        let streams = {
            let mut collection = lock(&collection);
            collection.expire(clock::now());
            collection.streams()
        };
        set_gauge(&series, streams);
    }
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
fn set_gauge(gauge: &shared::metrics::Gauge, count: usize) {
    gauge.set(count as f64);
}
