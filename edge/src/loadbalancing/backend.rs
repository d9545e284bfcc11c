//! What stands in front of one backend: a measured sender, with a queue if one is asked for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use shared::consumer::{Next, Rejected};
use shared::membership::{Backend, dial_address};
use shared::queue::{Delivered, Sender};
use shared::{Batch, clock};

use super::LoadBalancer;
use super::metrics::BackendMeter;

/// Measures every attempt at a backend.
pub(super) struct Measured {
    sender: Arc<dyn Sender>,
    meter: BackendMeter,
}

impl Measured {
    pub(super) fn new(endpoint: &str, sender: Arc<dyn Sender>) -> Self {
        Self { sender, meter: BackendMeter::new(&dial_address(endpoint)) }
    }
}

#[async_trait]
impl Sender for Measured {
    async fn send(&self, batch: Batch) -> Result<Delivered, Rejected> {
        let mut attempt = Attempt { meter: &self.meter, began: clock::now(), succeeded: false };
        let outcome = self.sender.send(batch).await;
        attempt.succeeded = outcome.is_ok();
        outcome
    }
}

/// An attempt that counts when it ends. One that is cut short, by its timeout or because the
/// client has gone, has failed.
struct Attempt<'m> {
    meter: &'m BackendMeter,
    began: Instant,
    succeeded: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let elapsed = clock::now().saturating_duration_since(self.began);
        self.meter.latency.backend_latency.record(elapsed.as_secs_f64() * 1e3);
        let outcome = if self.succeeded { &self.meter.succeeded } else { &self.meter.failed };
        outcome.backend_outcome.increment(1);
    }
}

/// A backend without a queue: the sender waits for its answer.
pub(super) struct Direct {
    sender: Measured,
    /// Time for one attempt; 0 is no limit.
    timeout: Duration,
}

impl Direct {
    pub(super) fn new(sender: Measured, timeout: Duration) -> Self {
        Self { sender, timeout }
    }
}

#[async_trait]
impl Backend for Direct {
    async fn send(&self, batch: Batch) -> Result<Delivered, Rejected> {
        if self.timeout.is_zero() {
            return self.sender.send(batch).await;
        }
        // The attempt takes its batch with it when it is cut short; the bytes are shared.
        match tokio::time::timeout(self.timeout, self.sender.send(batch.clone())).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Rejected::retryable(batch, "the backend did not answer in time")),
        }
    }

    /// Nothing is held: whoever sends still has the batch, and routes it anew if this one fails.
    async fn leave(&self, _: Instant) {}

    async fn shutdown(&self, _: Instant) {}
}

/// A backend with a queue of its own: the sender waits for room only.
///
/// When the backend leaves, its queue is drained as at a shutdown, but to the other backends.
pub(super) struct Queued {
    chain: Next,
    left: Arc<AtomicBool>,
}

impl Queued {
    /// `chain` puts the queue in front of a sender.
    pub(super) fn new(
        sender: Measured,
        reroute: Reroute,
        chain: impl FnOnce(Arc<dyn Sender>) -> Next,
    ) -> Self {
        let left = Arc::new(AtomicBool::new(false));
        let sender = UntilLeft { sender, reroute, left: Arc::clone(&left) };
        Self { chain: chain(Arc::new(sender)), left }
    }
}

#[async_trait]
impl Backend for Queued {
    async fn send(&self, batch: Batch) -> Result<Delivered, Rejected> {
        self.chain.consume(batch).await.map(|()| Delivered::default())
    }

    async fn leave(&self, deadline: Instant) {
        self.left.store(true, Ordering::Release);
        self.chain.shutdown(deadline).await;
    }

    async fn shutdown(&self, deadline: Instant) {
        self.chain.shutdown(deadline).await;
    }
}

/// Sends to the backend until it left, then to whoever owns the records now.
struct UntilLeft {
    sender: Measured,
    reroute: Reroute,
    left: Arc<AtomicBool>,
}

#[async_trait]
impl Sender for UntilLeft {
    async fn send(&self, batch: Batch) -> Result<Delivered, Rejected> {
        match self.left.load(Ordering::Acquire) {
            false => self.sender.send(batch).await,
            true => self.reroute.send(batch).await,
        }
    }
}

/// The way back into the exporter, for what a backend that left still held.
#[derive(Clone)]
pub(super) struct Reroute(pub(super) Weak<LoadBalancer>);

impl Reroute {
    async fn send(&self, batch: Batch) -> Result<Delivered, Rejected> {
        match self.0.upgrade() {
            Some(balancer) => balancer.reroute(batch).await,
            None => Err(Rejected::refused(batch, "the exporter has stopped")),
        }
    }
}
