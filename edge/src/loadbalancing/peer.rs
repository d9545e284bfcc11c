//! One backend: its connections, whether it is in rotation, and what is measured of it. Shared by
//! all exporters of the process that speak to the same endpoint in the same way.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use shared::consumer::{Reached, Rejected};
use shared::queue::{Delivered, Sender};
use shared::transport::grpc::client::GrpcClient;
use shared::{Batch, clock};
use tokio::sync::watch;
use tracing::{info, warn};

use super::health::{Health, RotationConfig};
use super::metrics::{BackendMeter, Outcome};

/// Changes whenever a backend of the process goes out of rotation or comes back.
#[derive(Debug)]
pub(super) struct Rotation(watch::Sender<u64>);

impl Default for Rotation {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Rotation {
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

/// How a backend is spoken to.
#[async_trait]
pub(super) trait Client: Sender + 'static {
    /// Whether it lives: any answer will do.
    async fn probe(&self, timeout: Duration) -> Result<(), Rejected>;

    /// How many connections it has.
    fn connections(&self) -> usize;
}

#[async_trait]
impl Client for GrpcClient {
    async fn probe(&self, timeout: Duration) -> Result<(), Rejected> {
        GrpcClient::probe(self, timeout).await
    }

    fn connections(&self) -> usize {
        self.open_connections()
    }
}

/// One backend.
pub(super) struct Peer {
    endpoint: String,
    client: Box<dyn Client>,
    /// Time for one attempt; 0 is no limit.
    timeout: Duration,
    config: RotationConfig,
    health: Mutex<Health>,
    rotation: Arc<Rotation>,
    pub(super) meter: BackendMeter,
}

impl Peer {
    pub(super) fn new(
        endpoint: &str,
        client: Box<dyn Client>,
        timeout: Duration,
        config: RotationConfig,
        rotation: Arc<Rotation>,
    ) -> Self {
        let meter = BackendMeter::new(endpoint);
        meter.state.in_rotation.set(1.0);
        Self {
            endpoint: endpoint.to_owned(),
            client,
            timeout,
            health: Mutex::new(Health::new(&config)),
            config,
            rotation,
            meter,
        }
    }

    pub(super) fn is_in_rotation(&self) -> bool {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).is_in()
    }

    /// One attempt, measured and heeded.
    pub(super) async fn send(self: &Arc<Self>, batch: Batch) -> Result<Delivered, Rejected> {
        let (items, bytes, began) = (batch.items(), batch.bytes().len(), clock::now());
        let outcome = self.attempt(batch).await;
        let now = clock::now();
        self.meter.attempt(now.saturating_duration_since(began), outcome.is_ok());
        match &outcome {
            Ok(delivered) => {
                let rejected = delivered.rejected_items.min(items);
                self.meter.outcome(Outcome::Delivered, items - rejected, bytes);
                self.meter.items(Outcome::Rejected, rejected);
                self.answered();
            }
            Err(rejected) => {
                self.meter.outcome(Outcome::of(rejected), items, bytes);
                match rejected.reached {
                    Reached::Answered => self.answered(),
                    Reached::Nobody | Reached::Unknown => self.unanswered(now, rejected),
                }
            }
        }
        #[allow(clippy::cast_precision_loss, reason = "a handful")]
        self.meter.state.connections.set(self.client.connections() as f64);
        outcome
    }

    async fn attempt(&self, batch: Batch) -> Result<Delivered, Rejected> {
        if self.timeout.is_zero() {
            return self.client.send(batch).await;
        }
        // The attempt takes its batch with it when it is cut short; the bytes are shared.
        match tokio::time::timeout(self.timeout, self.client.send(batch.clone())).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Rejected::retryable(batch, "the backend did not answer in time")
                .reached(Reached::Unknown)),
        }
    }

    fn answered(&self) {
        let back = self.health.lock().unwrap_or_else(PoisonError::into_inner).answered();
        if back {
            info!(endpoint = self.endpoint, "backend answers, back in rotation");
            self.meter.state.in_rotation.set(1.0);
            self.rotation.0.send_modify(|changes| *changes += 1);
        }
    }

    fn unanswered(self: &Arc<Self>, now: Instant, rejected: &Rejected) {
        let out = self.health.lock().unwrap_or_else(PoisonError::into_inner).failed(now);
        if out {
            warn!(endpoint = self.endpoint, error = %rejected,
                "backend does not answer, out of rotation");
            self.meter.state.in_rotation.set(0.0);
            self.meter.state.ejections.increment(1);
            self.rotation.0.send_modify(|changes| *changes += 1);
            drop(tokio::spawn(probe(Arc::downgrade(self), self.config.clone())));
        }
    }
}

/// Probes a backend until it is back in rotation, or nobody wants it any more.
async fn probe(peer: std::sync::Weak<Peer>, config: RotationConfig) {
    loop {
        let spread = rand::random_range(0.8..=1.2);
        tokio::time::sleep(config.probe_interval.mul_f64(spread)).await;
        let Some(peer) = peer.upgrade() else { return };
        // Traffic that reaches it meanwhile, since most look bad, counts as well.
        if peer.is_in_rotation() {
            return;
        }
        match peer.client.probe(config.probe_timeout).await {
            Ok(()) => peer.answered(),
            Err(rejected) => peer.unanswered(clock::now(), &rejected),
        }
        if peer.is_in_rotation() {
            return;
        }
    }
}
