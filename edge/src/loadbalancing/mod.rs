//! The `load_balancing` exporter: every record goes to the backend that owns its routing key.
//!
//! ```text
//! pipeline → [queue] → counting → retry → LoadBalancer ─┬→ [queue → retry] → backend 1
//!                        ▲                 cuts the      ├→ [queue → retry] → backend 2
//!                        │                 batch         └→ …
//!                        └── undelivered parts, which are cut anew by the routes of that moment
//! ```
//!
//! Without queues, which is the default, a batch is acknowledged when every backend has
//! acknowledged its part. Parts are sent side by side.

mod backend;
mod config;
mod metrics;
mod routing_key;
#[cfg(test)]
mod tests;

pub(crate) use config::LoadBalancingConfig;
pub(crate) use metrics::DESCRIPTORS;

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use shared::consumer::{Consumer, Next, Rejected};
use shared::membership::{Connect, Resolver, RingHash, RouteTable};
use shared::queue::{ChainSettings, Delivered, Sender, chain};
use shared::service::Context;
use shared::telemetry::thin::Thin;
use shared::{Batch, clock};
use tracing::warn;

use backend::Reroute;
use metrics::RoutingMetrics;
use routing_key::{RoutingKey, Split};

/// When a sender should come again while no backend is known.
const NO_BACKEND_DELAY: Duration = Duration::from_secs(1);

/// Cuts batches and sends the parts to their owners. One attempt; it keeps nothing.
struct LoadBalancer {
    exporter: String,
    key: RoutingKey,
    table: RouteTable,
    metrics: RoutingMetrics,
    partial: Thin,
}

impl LoadBalancer {
    /// Begins to follow `resolver`. To be called within a runtime.
    fn start(
        ctx: &Context,
        key: RoutingKey,
        ring: RingHash,
        resolver: Box<dyn Resolver>,
        connect: impl FnOnce(Reroute) -> Connect,
    ) -> Arc<Self> {
        let exporter = ctx.id.to_string();
        Arc::new_cyclic(|weak| Self {
            key,
            table: RouteTable::start(
                &exporter,
                ring,
                resolver,
                connect(Reroute(Weak::clone(weak))),
            ),
            metrics: RoutingMetrics::new(&[("exporter", &exporter)]),
            partial: Thin::new(),
            exporter,
        })
    }

    /// Sends what the queue of a backend that left still held.
    async fn reroute(&self, batch: Batch) -> Result<Delivered, Rejected> {
        self.metrics.rerouted_spans.increment(batch.items() as u64);
        self.send(batch).await
    }

    fn log_partial(&self, delivered: &Delivered) {
        if let Some(suppressed) = self.partial.pass(clock::now()) {
            let (dropped_items, message_of_backend) =
                (delivered.rejected_items, &delivered.message);
            warn!(
                exporter = self.exporter,
                dropped_items,
                message_of_backend,
                suppressed,
                "a backend took its part of a request in part"
            );
        }
    }
}

#[async_trait]
impl Sender for LoadBalancer {
    async fn send(&self, batch: Batch) -> Result<Delivered, Rejected> {
        let routes = self.table.current();
        if routes.is_empty() {
            self.metrics.unroutable_spans.increment(batch.items() as u64);
            let rejected = Rejected::refused(batch, "no backend is known");
            return Err(rejected.retry_after(NO_BACKEND_DELAY));
        }
        let Split { parts, keyless } = self.key.split(&batch, routes.ring());
        drop(batch);
        self.metrics.keyless_spans.increment(keyless as u64);
        let mut sending: FuturesUnordered<_> =
            parts.into_iter().map(|(owner, part)| routes.backend(owner).send(part)).collect();
        let (mut delivered, mut rejected) = (Delivered::default(), Vec::new());
        while let Some(outcome) = sending.next().await {
            match outcome {
                Ok(part) => {
                    delivered.rejected_items += part.rejected_items;
                    if !part.message.is_empty() {
                        delivered.message = part.message;
                    }
                }
                Err(part) => rejected.push(part),
            }
        }
        let Some(mut rejected) = Rejected::merge(rejected) else { return Ok(delivered) };
        if delivered.rejected_items > 0 {
            self.log_partial(&delivered);
            rejected.dropped_items += delivered.rejected_items;
        }
        Err(rejected)
    }
}

/// The load balancer behind the exporter's own queue, counters and retry.
struct Exporter {
    chain: Next,
    balancer: Arc<LoadBalancer>,
}

impl Exporter {
    fn new(ctx: &Context, settings: ChainSettings, balancer: Arc<LoadBalancer>) -> Self {
        let sender = Arc::clone(&balancer) as Arc<dyn Sender>;
        Self { chain: chain(ctx, settings, sender), balancer }
    }
}

#[async_trait]
impl Consumer for Exporter {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        self.chain.consume(batch).await
    }

    async fn shutdown(&self, deadline: Instant) {
        self.chain.shutdown(deadline).await;
        self.balancer.table.shutdown(deadline).await;
    }
}
