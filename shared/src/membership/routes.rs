//! The routes: the ring and a backend for each of its endpoints, as one value that is swapped.
//!
//! Invariants: the ring and the backends of a [`Routes`] always belong together, and whoever took
//! a `Routes` may use all of it. New backends are made before the swap, the removed ones are let
//! go after it, when nobody holds the old value any more.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::resolver::Resolver;
use super::ring::{Ring, RingHash};
use crate::batch::Batch;
use crate::clock;
use crate::consumer::Rejected;
use crate::metric_set;
use crate::queue::Delivered;
use crate::service::BuildError;

/// Time that a backend which left has for what it still holds.
const LEAVE_TIME: Duration = Duration::from_secs(30);
/// When a backend that could not be made is tried again.
const CONNECT_AGAIN: Duration = Duration::from_secs(30);

/// Where a route leads: whatever stands in front of one backend.
#[async_trait]
pub trait Backend: Send + Sync {
    /// Takes responsibility for `batch`, or hands back what was not taken.
    ///
    /// # Errors
    /// [`Rejected`] with the part that was not taken.
    async fn send(&self, batch: Batch) -> Result<Delivered, Rejected>;

    /// The backend left, and no route leads here any more: what is still held is to be routed
    /// anew, until `deadline`.
    async fn leave(&self, deadline: Instant);

    /// The process stops: what is still held is to be sent to the backend, until `deadline`.
    async fn shutdown(&self, deadline: Instant);
}

/// Makes what stands in front of the backend at an endpoint. Called within the runtime.
pub type Connect = Box<dyn Fn(&str) -> Result<Arc<dyn Backend>, BuildError> + Send + Sync>;

/// A ring and the backends of its endpoints.
pub struct Routes {
    ring: Ring,
    /// In the order of the ring's endpoints.
    backends: Vec<Arc<dyn Backend>>,
    /// Closed when the last holder lets go.
    held: watch::Sender<()>,
}

impl Routes {
    fn new(ring: Ring, backends: Vec<Arc<dyn Backend>>) -> Self {
        assert_eq!(ring.endpoints().len(), backends.len(), "every endpoint has its backend");
        Self { ring, backends, held: watch::Sender::new(()) }
    }

    /// Which of the backends owns a key.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// The backend of an endpoint, by the number that the ring gives.
    pub fn backend(&self, index: usize) -> &Arc<dyn Backend> {
        &self.backends[index]
    }

    /// Whether there is no backend.
    pub fn is_empty(&self) -> bool {
        self.backends.is_empty()
    }
}

metric_set! {
    /// What is known of the ring in use.
    pub struct RingMetrics ["exporter"];
    /// First 53 bits of the ring's digest; edges that place keys alike show the same number.
    ring_digest: Gauge = "otelcol_loadbalancer_ring_digest", "1";
}

/// Keeps the routes up to date with what a resolver tells.
pub struct RouteTable {
    current: Arc<ArcSwap<Routes>>,
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<Keeper>>>,
}

impl RouteTable {
    /// Begins without routes and follows `resolver` in the background. To be called within a
    /// runtime.
    pub fn start(
        exporter: &str,
        hash: RingHash,
        resolver: Box<dyn Resolver>,
        connect: Connect,
    ) -> Self {
        let none = Routes::new(Ring::new(hash, []), Vec::new());
        let current = Arc::new(ArcSwap::from_pointee(none));
        let stop = CancellationToken::new();
        let keeper = Keeper {
            exporter: exporter.to_owned(),
            hash,
            resolver,
            connect,
            current: Arc::clone(&current),
            endpoints: Vec::new(),
            backends: BTreeMap::new(),
            incomplete: false,
            leaving: JoinSet::new(),
            metrics: RingMetrics::new(&[("exporter", exporter)]),
        };
        let task = tokio::spawn(keeper.run(stop.clone()));
        Self { current, stop, task: Mutex::new(Some(task)) }
    }

    /// The routes of this moment; to be taken once for each attempt.
    pub fn current(&self) -> Arc<Routes> {
        self.current.load_full()
    }

    /// Follows the resolver no longer, and shuts all backends down side by side.
    pub async fn shutdown(&self, deadline: Instant) {
        self.stop.cancel();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(task) = task else { return };
        let Ok(mut keeper) = task.await else { return };
        let left = async { while keeper.leaving.join_next().await.is_some() {} };
        if tokio::time::timeout_at(deadline.into(), left).await.is_err() {
            warn!(exporter = keeper.exporter, "stopped before backends that left were done");
        }
        let mut stopping = JoinSet::new();
        for backend in keeper.backends.into_values() {
            stopping.spawn(async move { backend.shutdown(deadline).await });
        }
        while stopping.join_next().await.is_some() {}
    }
}

impl Drop for RouteTable {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The task behind a [`RouteTable`].
struct Keeper {
    exporter: String,
    hash: RingHash,
    resolver: Box<dyn Resolver>,
    connect: Connect,
    current: Arc<ArcSwap<Routes>>,
    /// What the resolver told last.
    endpoints: Vec<String>,
    /// The backends in use.
    backends: BTreeMap<String, Arc<dyn Backend>>,
    /// Whether one could not be made.
    incomplete: bool,
    leaving: JoinSet<()>,
    metrics: RingMetrics,
}

impl Keeper {
    async fn run(mut self, stop: CancellationToken) -> Self {
        loop {
            tokio::select! {
                () = stop.cancelled() => return self,
                endpoints = self.resolver.changed() => {
                    self.endpoints = endpoints;
                    self.update().await;
                }
                () = tokio::time::sleep(CONNECT_AGAIN), if self.incomplete => self.update().await,
                Some(_) = self.leaving.join_next() => {}
            }
        }
    }

    /// Makes the backends that are new, then swaps the routes, then lets the others go.
    async fn update(&mut self) {
        let mut backends = BTreeMap::new();
        self.incomplete = false;
        for endpoint in &self.endpoints {
            let backend = match self.backends.get(endpoint) {
                Some(backend) => Ok(Arc::clone(backend)),
                None => (self.connect)(endpoint),
            };
            match backend {
                Ok(backend) => drop(backends.insert(endpoint.clone(), backend)),
                // Not on the ring, so that its keys have another owner until it can be made.
                Err(error) => {
                    self.incomplete = true;
                    error!(exporter = self.exporter, endpoint, %error, "backend left out");
                }
            }
        }
        if backends.keys().eq(self.backends.keys()) {
            return;
        }
        let (hash, endpoints) = (self.hash, backends.keys().cloned().collect::<Vec<_>>());
        // Some milliseconds of work, which the tasks of this worker should not wait for.
        let ring = tokio::task::spawn_blocking(move || Ring::new(hash, endpoints)).await;
        let ring = ring.expect("a ring can be made of any names");
        // The ring names a backend once, also when it was told in two spellings.
        backends.retain(|endpoint, _| ring.endpoints().contains(endpoint));
        self.swap(ring, backends);
    }

    #[allow(clippy::cast_precision_loss, reason = "53 bits fit")]
    fn swap(&mut self, ring: Ring, backends: BTreeMap<String, Arc<dyn Backend>>) {
        let digest = ring.digest();
        let ordered = ring.endpoints().iter().map(|name| Arc::clone(&backends[name])).collect();
        let old = self.current.swap(Arc::new(Routes::new(ring, ordered)));
        self.metrics.ring_digest.set((digest >> 11) as f64);
        info!(
            exporter = self.exporter,
            backends = backends.len(),
            digest = format!("{digest:016x}"),
            "routes changed"
        );
        let before = std::mem::replace(&mut self.backends, backends);
        for (endpoint, backend) in before {
            if !self.backends.contains_key(&endpoint) {
                self.leaving.spawn(leave(backend, old.held.subscribe()));
            }
        }
    }
}

/// Lets a backend go once nobody can send to it by the old routes.
async fn leave(backend: Arc<dyn Backend>, mut held: watch::Receiver<()>) {
    let deadline = clock::now() + LEAVE_TIME;
    // Its value never changes; an error says that the old routes are gone.
    let gone = async { while held.changed().await.is_ok() {} };
    drop(tokio::time::timeout_at(deadline.into(), gone).await);
    backend.leave(deadline).await;
}
