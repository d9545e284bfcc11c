//! One backend: its connections, whether it is in rotation, and what is measured of it. Shared by
//! all exporters of the process that speak to the same endpoint in the same way.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use shared::consumer::{Reached, Rejected, RejectedKind};
use shared::queue::Delivered;
use shared::transport::grpc::client::GrpcClient;
use shared::{Batch, clock};
use tokio::sync::watch;
use tracing::{info, warn};

use super::health::{Health, RotationConfig, Silence};
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
pub(super) trait Client: Send + Sync + 'static {
    /// One attempt at sending batches as one request. The batch of a rejection is none of them.
    async fn send(&self, batches: Vec<Batch>) -> Result<Delivered, Rejected>;

    /// Whether it lives.
    async fn probe(&self, timeout: Duration) -> Result<(), Rejected>;

    /// How many connections it has.
    fn connections(&self) -> usize;
}

#[async_trait]
impl Client for GrpcClient {
    async fn send(&self, batches: Vec<Batch>) -> Result<Delivered, Rejected> {
        self.send_all(batches).await
    }

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
    condition: Mutex<Condition>,
    rotation: Arc<Rotation>,
    pub(super) meter: BackendMeter,
}

struct Condition {
    health: Health,
    /// Whether a task probes it.
    probed: bool,
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
            condition: Mutex::new(Condition { health: Health::new(&config), probed: false }),
            config,
            rotation,
            meter,
        }
    }

    fn condition(&self) -> MutexGuard<'_, Condition> {
        self.condition.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub(super) fn is_in_rotation(&self) -> bool {
        self.condition().health.is_in()
    }

    /// One attempt, measured and heeded. The batch of a rejection is none of those sent.
    pub(super) async fn send(self: &Arc<Self>, batches: Vec<Batch>) -> Result<Delivered, Rejected> {
        let items = batches.iter().map(Batch::items).sum::<usize>();
        let bytes = batches.iter().map(|batch| batch.bytes().len()).sum();
        let began = clock::now();
        let outcome = self.attempt(batches).await;
        let now = clock::now();
        let taken = now.saturating_duration_since(began);
        match &outcome {
            Ok(delivered) => {
                let rejected = delivered.rejected_items.min(items);
                self.meter.attempt(Outcome::Delivered, taken, items - rejected, bytes);
                self.meter.items(Outcome::Rejected, rejected);
                self.answered(now);
            }
            Err(rejected) => {
                self.meter.attempt(Outcome::of(rejected), taken, items, bytes);
                let timed_out = !self.timeout.is_zero() && taken >= self.timeout;
                let silence = if timed_out { Silence::TimedOut } else { Silence::Broken };
                self.heed(rejected, silence, now);
            }
        }
        #[allow(clippy::cast_precision_loss, reason = "a handful")]
        self.meter.state.connections.set(self.client.connections() as f64);
        outcome
    }

    async fn attempt(&self, batches: Vec<Batch>) -> Result<Delivered, Rejected> {
        let signal = batches[0].signal();
        let sending = self.client.send(batches);
        if self.timeout.is_zero() {
            return sending.await;
        }
        tokio::time::timeout(self.timeout, sending).await.unwrap_or_else(|_| {
            // Without a connection it has not been sent.
            let reached = match self.client.connections() {
                0 => Reached::Nobody,
                _ => Reached::Unknown,
            };
            let reason = "the backend did not answer in time";
            Err(Rejected::retryable(Batch::empty(signal), reason).reached(reached))
        })
    }

    fn heed(self: &Arc<Self>, rejected: &Rejected, silence: Silence, now: Instant) {
        match rejected.reached {
            Reached::Answered if rejected.kind == RejectedKind::Permanent => self.answered(now),
            Reached::Answered => self.refused(rejected, now),
            Reached::Nobody | Reached::Unknown => self.unanswered(rejected, silence, now),
        }
    }

    fn answered(&self, now: Instant) {
        let mut condition = self.condition();
        if condition.health.answered(now) {
            self.meter.state.in_rotation.set(1.0);
            drop(condition);
            info!(endpoint = self.endpoint, "backend answers, back in rotation");
            self.rotation.0.send_modify(|changes| *changes += 1);
        }
    }

    fn refused(self: &Arc<Self>, rejected: &Rejected, now: Instant) {
        let mut condition = self.condition();
        if condition.health.bears_refusals() {
            drop(condition);
            self.answered(now);
        } else if condition.health.refused(now) {
            self.eject(condition);
            warn!(endpoint = self.endpoint, error = %rejected,
                "backend has only refused for too long, out of rotation");
        }
    }

    fn unanswered(self: &Arc<Self>, rejected: &Rejected, silence: Silence, now: Instant) {
        let mut condition = self.condition();
        if condition.health.failed(silence, now) {
            self.eject(condition);
            warn!(endpoint = self.endpoint, error = %rejected,
                "backend does not answer, out of rotation");
        }
    }

    /// Has its keys served elsewhere, and it probed, after it went out.
    fn eject(self: &Arc<Self>, mut condition: MutexGuard<'_, Condition>) {
        self.meter.state.in_rotation.set(0.0);
        self.meter.state.ejections.increment(1);
        let probed = std::mem::replace(&mut condition.probed, true);
        drop(condition);
        self.rotation.0.send_modify(|changes| *changes += 1);
        if !probed {
            drop(tokio::spawn(probe(Arc::downgrade(self), self.config.clone())));
        }
    }

    /// Whether the probes have done their work.
    fn stop_probing(&self) -> bool {
        let mut condition = self.condition();
        condition.probed = !condition.health.is_in();
        !condition.probed
    }
}

/// Probes a backend until it is back in rotation, or nobody wants it any more.
async fn probe(peer: Weak<Peer>, config: RotationConfig) {
    loop {
        let spread = rand::random_range(0.8..=1.2);
        tokio::time::sleep(config.probe_interval.mul_f64(spread)).await;
        let Some(peer) = peer.upgrade() else { return };
        // Traffic that reaches it meanwhile, since most look bad, counts as well.
        if peer.stop_probing() {
            return;
        }
        let outcome = peer.client.probe(config.probe_timeout).await;
        match outcome {
            Ok(()) => peer.answered(clock::now()),
            Err(rejected) => peer.heed(&rejected, Silence::TimedOut, clock::now()),
        }
        if peer.stop_probing() {
            return;
        }
    }
}
