//! The routes: the ring and a member for each of its endpoints, as one value that is swapped.
//!
//! Invariants: the ring and the members of a [`Routes`] always belong together, and whoever took
//! a `Routes` may use all of it. New members are made before the swap; those that keys no longer
//! lead to are told after it.
//!
//! A member that is out of rotation keeps its place on the ring. Its keys take a detour: to the
//! owners that they would have if it were not a member. The keys of the others stay where they
//! are, so that a fault moves nothing but what it must. If more than half of the members look bad,
//! the fault is more likely here, or everywhere, and nobody is passed over.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{error, info, warn};

use super::resolver::Resolver;
use super::ring::{Owners, Ring, RingHash};
use crate::service::BuildError;
use crate::{clock, metric_set};

/// When a member that could not be made is tried again.
const CONNECT_AGAIN: Duration = Duration::from_secs(30);

/// Where a route leads: whatever stands in front of one backend.
pub trait Member: Send + Sync + 'static {
    /// Whether keys may lead here.
    fn in_rotation(&self) -> bool;

    /// No key leads here any more, since it left or went out of rotation: what waits here is to
    /// be routed anew. The routes have been swapped.
    fn passed_over(&self);
}

/// Makes what stands in front of the backend at an endpoint. Called within the runtime.
pub type Connect<M> = Box<dyn Fn(&str) -> Result<Arc<M>, BuildError> + Send + Sync>;

/// A ring and the members at its endpoints.
pub struct Routes<M> {
    ring: Ring,
    /// In the order of the ring's endpoints.
    members: Vec<Arc<M>>,
    detour: Option<Detour>,
}

/// Who serves the keys of members that are out of rotation.
struct Detour {
    /// Which members are out.
    out: Vec<bool>,
    /// The ring of the others.
    ring: Ring,
    /// Their numbers among all members.
    numbers: Vec<usize>,
}

impl<M> Routes<M> {
    fn new(ring: Ring, members: Vec<Arc<M>>, detour: Option<Detour>) -> Self {
        assert_eq!(ring.endpoints().len(), members.len(), "every endpoint has its member");
        Self { ring, members, detour }
    }

    /// The ring of all members.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// A member, by the number that [`Owners::owner`] gives.
    pub fn member(&self, number: usize) -> &Arc<M> {
        &self.members[number]
    }

    /// All members, in the order of the ring's endpoints.
    pub fn members(&self) -> &[Arc<M>] {
        &self.members
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether keys may lead to this member.
    pub fn leads_to(&self, member: &Arc<M>) -> bool {
        let mut members = self.members.iter();
        let number = members.position(|other| Arc::ptr_eq(other, member));
        number.is_some_and(|number| !self.is_passed_over(number))
    }

    /// Whether the keys of this member take a detour.
    pub fn is_passed_over(&self, number: usize) -> bool {
        self.detour.as_ref().is_some_and(|detour| detour.out[number])
    }
}

impl<M> Owners for Routes<M> {
    #[inline]
    fn owner(&self, key: &[u8]) -> Option<usize> {
        let home = self.ring.owner(key)?;
        match &self.detour {
            Some(detour) if detour.out[home] => {
                detour.ring.owner(key).map(|number| detour.numbers[number])
            }
            _ => Some(home),
        }
    }

    fn hash(&self) -> RingHash {
        self.ring.hash()
    }
}

metric_set! {
    /// What is known of the ring in use.
    pub struct RingMetrics ["exporter", "data_type"];
    /// First 53 bits of the ring's digest; edges that place keys alike show the same number.
    ring_digest: Gauge = "otelcol_loadbalancer_ring_digest", "1";
    /// Number of backends whose keys are served by others, since they are out of rotation.
    passed_over: Gauge = "otelcol_loadbalancer_backends_passed_over", "{backends}";
    /// Whether more than half of the backends look bad, so that none is passed over.
    fail_open: Gauge = "otelcol_loadbalancer_fail_open", "1";
}

/// A resolver whose endpoints several may follow.
pub struct Endpoints {
    told: watch::Receiver<Option<Arc<[String]>>>,
    _stop: DropGuard,
}

impl Endpoints {
    /// Follows `resolver` until this is dropped. To be called within a runtime.
    pub fn follow(mut resolver: Box<dyn Resolver>) -> Self {
        let (tell, told) = watch::channel(None);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        drop(tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = stopped.cancelled() => return,
                    endpoints = resolver.changed() => drop(tell.send_replace(Some(endpoints.into()))),
                }
            }
        }));
        Self { told, _stop: stop.drop_guard() }
    }
}

/// How a [`RouteTable`] names itself, and what it follows.
pub struct Following {
    /// The exporter's id and the signal that it routes, for logs and metrics.
    pub exporter: String,
    /// See `exporter`.
    pub data_type: &'static str,
    /// Which ring.
    pub hash: RingHash,
    /// Who the members are.
    pub endpoints: Arc<Endpoints>,
    /// Changes when a member may have gone out of rotation or come back; `None` if keys wait for
    /// their owner whatever its state.
    pub rotation: Option<watch::Receiver<u64>>,
}

/// Keeps the routes up to date with what a resolver and the members themselves tell.
pub struct RouteTable<M> {
    current: Arc<ArcSwap<Routes<M>>>,
    changed: watch::Receiver<u64>,
    stop: CancellationToken,
}

impl<M: Member> RouteTable<M> {
    /// Begins without routes and follows in the background. To be called within a runtime.
    pub fn start(following: Following, connect: Connect<M>) -> Self {
        let none = Routes::new(Ring::new(following.hash, []), Vec::new(), None);
        let current = Arc::new(ArcSwap::from_pointee(none));
        let stop = CancellationToken::new();
        let (tell, changed) = watch::channel(0);
        let labels =
            [("exporter", following.exporter.as_str()), ("data_type", following.data_type)];
        let keeper = Keeper {
            metrics: RingMetrics::new(&labels),
            told: following.endpoints.told.clone(),
            following,
            connect,
            current: Arc::clone(&current),
            changes: tell,
            members: BTreeMap::new(),
            connect_again: None,
            fail_open: false,
        };
        drop(tokio::spawn(keeper.run(stop.clone())));
        Self { current, changed, stop }
    }

    /// The routes of this moment; a batch is cut and sent by those that were taken once.
    #[inline]
    pub fn current(&self) -> arc_swap::Guard<Arc<Routes<M>>> {
        self.current.load()
    }

    /// Changes whenever the routes have.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.clone()
    }
}

impl<M> RouteTable<M> {
    /// Follows no longer; the routes stay as they are.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}

impl<M> Drop for RouteTable<M> {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The task behind a [`RouteTable`].
struct Keeper<M> {
    following: Following,
    told: watch::Receiver<Option<Arc<[String]>>>,
    connect: Connect<M>,
    current: Arc<ArcSwap<Routes<M>>>,
    changes: watch::Sender<u64>,
    /// The members in use.
    members: BTreeMap<String, Arc<M>>,
    /// When members that could not be made are tried again, if there are any.
    connect_again: Option<Instant>,
    /// Whether more than half look bad.
    fail_open: bool,
    metrics: RingMetrics,
}

impl<M: Member> Keeper<M> {
    async fn run(mut self, stop: CancellationToken) {
        // What was told before this one subscribed counts, too.
        self.told.mark_changed();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Ok(()) = self.told.changed() => self.update().await,
                () = rotated(&mut self.following.rotation) => self.turn().await,
                () = until(self.connect_again) => self.update().await,
            }
        }
    }

    /// Makes the members that are new, then swaps the routes.
    async fn update(&mut self) {
        let Some(endpoints) = self.told.borrow_and_update().clone() else { return };
        let mut members = BTreeMap::new();
        self.connect_again = None;
        for endpoint in &*endpoints {
            let member = match self.members.get(endpoint) {
                Some(member) => Ok(Arc::clone(member)),
                None => (self.connect)(endpoint),
            };
            match member {
                Ok(member) => drop(members.insert(endpoint.clone(), member)),
                // Not on the ring, so that its keys have another owner until it can be made.
                Err(error) => {
                    self.connect_again = Some(clock::now() + CONNECT_AGAIN);
                    let exporter = &self.following.exporter;
                    error!(exporter, endpoint, %error, "backend left out");
                }
            }
        }
        if members.keys().eq(self.members.keys()) {
            return;
        }
        let ring = self.ring(members.keys().cloned().collect()).await;
        // The ring names a member once, also when it was told in two spellings.
        members.retain(|endpoint, _| ring.endpoints().contains(endpoint));
        let before = std::mem::replace(&mut self.members, members);
        info!(
            exporter = self.following.exporter,
            data_type = self.following.data_type,
            backends = self.members.len(),
            digest = format!("{:016x}", ring.digest()),
            "routes changed"
        );
        self.swap(ring).await;
        for (endpoint, member) in before {
            if !self.members.contains_key(&endpoint) {
                member.passed_over();
            }
        }
    }

    /// Swaps the routes if other members are out of rotation than before.
    async fn turn(&mut self) {
        let current = self.current.load_full();
        let out = self.out(current.ring());
        let before = current.detour.as_ref().map(|detour| &detour.out);
        if before != out.as_ref() {
            self.swap(current.ring().clone()).await;
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "53 bits fit")]
    async fn swap(&mut self, ring: Ring) {
        let members = ring.endpoints().iter().map(|name| Arc::clone(&self.members[name]));
        let members: Vec<_> = members.collect();
        let detour = match self.out(&ring) {
            None => None,
            Some(out) => {
                let numbers: Vec<_> = (0..out.len()).filter(|number| !out[*number]).collect();
                let names = numbers.iter().map(|number| ring.endpoints()[*number].clone());
                let others = self.ring(names.collect()).await;
                Some(Detour { out, ring: others, numbers })
            }
        };
        self.metrics.ring_digest.set((ring.digest() >> 11) as f64);
        let routes = Arc::new(Routes::new(ring, members, detour));
        let passed_over: Vec<_> =
            (0..routes.members.len()).filter(|number| routes.is_passed_over(*number)).collect();
        self.metrics.passed_over.set(passed_over.len() as f64);
        let before = self.current.swap(Arc::clone(&routes));
        self.changes.send_modify(|changes| *changes += 1);
        self.log_rotation(&before, &routes);
        for number in passed_over {
            routes.member(number).passed_over();
        }
    }

    /// Which members of a ring are to be passed over; `None` if none is.
    fn out(&mut self, ring: &Ring) -> Option<Vec<bool>> {
        self.following.rotation.as_ref()?;
        let out: Vec<bool> =
            ring.endpoints().iter().map(|name| !self.members[name].in_rotation()).collect();
        let (bad, backends) = (out.iter().filter(|out| **out).count(), out.len());
        let fail_open = bad * 2 > backends;
        if std::mem::replace(&mut self.fail_open, fail_open) != fail_open {
            let Following { exporter, data_type, .. } = &self.following;
            match fail_open {
                true => warn!(exporter, data_type, bad, backends, "most look bad, all are used"),
                false => info!(exporter, data_type, bad, backends, "most look good again"),
            }
        }
        self.metrics.fail_open.set(f64::from(u8::from(fail_open)));
        (bad > 0 && !fail_open).then_some(out)
    }

    fn log_rotation(&self, before: &Routes<M>, after: &Routes<M>) {
        let names = |routes: &Routes<M>| -> Vec<String> {
            let endpoints = routes.ring.endpoints().iter().enumerate();
            endpoints
                .filter(|(number, _)| routes.is_passed_over(*number))
                .map(|(_, name)| name.clone())
                .collect()
        };
        let (were, are) = (names(before), names(after));
        let Following { exporter, data_type, .. } = &self.following;
        if were != are {
            warn!(exporter, data_type, passed_over = ?are, before = ?were, "rotation changed");
        }
    }

    /// Some milliseconds of work, which the tasks of this worker should not wait for.
    async fn ring(&self, endpoints: Vec<String>) -> Ring {
        let hash = self.following.hash;
        let ring = tokio::task::spawn_blocking(move || Ring::new(hash, endpoints)).await;
        ring.expect("a ring can be made of any names")
    }
}

/// Waits until then; for ever if there is no then.
async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

/// Waits until the rotation may have changed; for ever if there is none.
async fn rotated(rotation: &mut Option<watch::Receiver<u64>>) {
    match rotation {
        Some(rotation) => {
            if rotation.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
        None => std::future::pending().await,
    }
}
