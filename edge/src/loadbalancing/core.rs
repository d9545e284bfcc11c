//! What one exporter does with a request: admits it, cuts it, puts the parts on their lanes, and
//! decides what becomes of a part that was not delivered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use shared::consumer::{Reached, Rejected};
use shared::membership::{RouteTable, Routes};
use shared::queue::{Counts, Delivered, QueueMetrics, RetryConfig, Sizer, Verdict, split};
use shared::service::{Context, Losses};
use shared::telemetry::thin::Thin;
use shared::{Batch, clock};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use super::lane_task::Way;
use super::metrics::RoutingMetrics;
use super::routing_key::{RoutingKey, Split};
use super::ticket::{Answer, Caller, Part, STOPPING, Ticket, as_gauge};

/// When a sender should come again while there is no room or no backend.
pub(super) const COME_AGAIN: Duration = Duration::from_secs(1);

/// How long a request waits for the first lookup of the process.
const FIRST_LOOKUP: Duration = Duration::from_secs(1);

/// What `open_items` says after the exporter was cut off.
const CUT_OFF: u64 = u64::MAX;

/// How an exporter takes requests.
#[derive(Debug, Clone)]
pub(super) struct Admission {
    /// How much it holds, in the unit of `sizer`, what is under way included.
    pub(super) capacity: usize,
    pub(super) sizer: Sizer,
    /// Whether a sender waits for room instead of being refused.
    pub(super) block_on_overflow: bool,
    /// Whether a sender waits for the outcome.
    pub(super) wait_for_result: bool,
}

/// One exporter.
pub(super) struct Core {
    exporter: String,
    key: RoutingKey,
    admission: Admission,
    pub(super) sizer: Sizer,
    retry: RetryConfig,
    /// No part is larger.
    split_above: Option<(usize, Sizer)>,
    room: Arc<Semaphore>,
    table: RouteTable<Way>,
    pub(super) counts: Counts,
    pub(super) queue: QueueMetrics,
    enqueue_failed: metrics::Counter,
    metrics: RoutingMetrics,
    losses: Arc<Losses>,
    /// Items that were admitted and have no outcome, or [`CUT_OFF`].
    open_items: AtomicU64,
    /// Requests that have no outcome.
    pub(super) open: TaskTracker,
    /// Once cancelled, no wait is begun or continued: one more attempt, and that is final.
    stopping: CancellationToken,
    retried: Thin,
    dropped: Thin,
    partial: Thin,
}

impl Core {
    pub(super) fn new(
        ctx: &Context,
        key: RoutingKey,
        admission: Admission,
        retry: RetryConfig,
        split_above: Option<(usize, Sizer)>,
        table: RouteTable<Way>,
    ) -> Self {
        let exporter = ctx.id.to_string();
        let labels = [("exporter", exporter.as_str()), ("data_type", ctx.signal.name())];
        let queue = QueueMetrics::new(&labels);
        queue.capacity.increment(as_gauge(admission.capacity));
        Self {
            key,
            sizer: admission.sizer,
            room: Arc::new(Semaphore::new(admission.capacity.min(Semaphore::MAX_PERMITS))),
            admission,
            retry,
            split_above,
            table,
            counts: Counts::new(&exporter, ctx.signal, None),
            queue,
            enqueue_failed: shared::queue::enqueue_failed(&exporter, ctx.signal),
            metrics: RoutingMetrics::new(&labels),
            losses: Arc::clone(&ctx.losses),
            open_items: AtomicU64::new(0),
            open: TaskTracker::new(),
            stopping: CancellationToken::new(),
            retried: Thin::new(),
            dropped: Thin::new(),
            partial: Thin::new(),
            exporter,
        }
    }

    /// Takes a request; `Some` is where its outcome will be told.
    pub(super) async fn take(
        self: &Arc<Self>,
        batch: Batch,
    ) -> Result<Option<(Caller, Answer)>, Rejected> {
        let (batch, room) = self.reserve(batch).await?;
        if self.admission.wait_for_result {
            self.first_lookup().await;
        }
        let routes = self.table.current();
        if routes.is_empty() && self.admission.wait_for_result {
            self.metrics.unroutable.increment(batch.items() as u64);
            return Err(self.refuse(batch, "no backend is known"));
        }
        let Split { parts, keyless } = match routes.is_empty() {
            true => Split { parts: Vec::new(), keyless: 0 },
            false => self.cut(&batch, &routes),
        };
        // All or nothing: a sender that is refused comes again with the whole request.
        let places = parts.iter().map(|(owner, part)| routes.member(*owner).reserve(part));
        let Some(places) = places.collect::<Option<Vec<_>>>() else {
            return Err(self.refuse(batch, "the queue of a backend is full"));
        };
        self.metrics.keyless.increment(keyless as u64);
        self.open_items.fetch_add(batch.items() as u64, Ordering::AcqRel);
        let ticket = Ticket::new(self, &batch, room);
        let answer = self.admission.wait_for_result.then(|| ticket.wait());
        let whole = Part::whole(ticket, batch);
        if parts.is_empty() {
            self.park(whole);
            return Ok(answer);
        }
        let (owners, batches): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let parts = whole.divide(batches);
        for ((owner, place), part) in owners.into_iter().zip(places).zip(parts) {
            routes.member(owner).push(part, place);
        }
        Ok(answer)
    }

    async fn reserve(&self, batch: Batch) -> Result<(Batch, OwnedSemaphorePermit), Rejected> {
        let units = self.sizer.measure(&batch);
        let (true, Ok(permits)) = (units <= self.admission.capacity, u32::try_from(units)) else {
            self.enqueue_failed.increment(batch.items() as u64);
            return Err(Rejected::permanent(batch, "element size too large"));
        };
        let room = Arc::clone(&self.room);
        let refused = match self.admission.block_on_overflow {
            true => match room.acquire_many_owned(permits).await {
                Ok(permit) => return Ok((batch, permit)),
                Err(_) => STOPPING,
            },
            false => match room.try_acquire_many_owned(permits) {
                Ok(permit) => return Ok((batch, permit)),
                Err(TryAcquireError::NoPermits) => "sending queue is full",
                Err(TryAcquireError::Closed) => STOPPING,
            },
        };
        Err(self.refuse(batch, refused))
    }

    fn refuse(&self, batch: Batch, reason: &'static str) -> Rejected {
        self.enqueue_failed.increment(batch.items() as u64);
        Rejected::refused(batch, reason).retry_after(COME_AGAIN)
    }

    /// Cuts by owner, and then by size.
    fn cut(&self, batch: &Batch, routes: &Routes<Way>) -> Split {
        let mut cut = self.key.split(batch, routes);
        if let Some((most, sizer)) = self.split_above {
            let pieces = |(owner, part): (usize, Batch)| {
                let (first, others) = split(&part, most, most, sizer);
                first.into_iter().chain(others).map(move |piece| (owner, piece))
            };
            cut.parts = cut.parts.into_iter().flat_map(pieces).collect();
        }
        cut
    }

    /// Routes a part by the routes of this moment: its backend is passed over, or it is tried
    /// again.
    fn route(self: &Arc<Self>, part: Part) {
        let routes = self.table.current();
        if routes.is_empty() {
            self.park(part);
            return;
        }
        let split = self.cut(part.batch(), &routes);
        let (owners, batches): (Vec<_>, Vec<_>) = split.parts.into_iter().unzip();
        for (owner, part) in owners.into_iter().zip(part.divide(batches)) {
            routes.member(owner).push_again(part);
        }
    }

    /// Routes what waited for a backend that is passed over now.
    pub(super) fn reroute(self: &Arc<Self>, part: Part) {
        self.metrics.rerouted.increment(part.batch().items() as u64);
        self.route(part);
    }

    /// Gives the first lookup a moment, so that a process that has just started refuses nobody.
    async fn first_lookup(&self) {
        let mut changed = self.table.changed();
        if *changed.borrow_and_update() == 0 {
            drop(tokio::time::timeout(FIRST_LOOKUP, changed.changed()).await);
        }
    }

    /// Keeps a part until a backend is known. That costs it no attempt.
    fn park(self: &Arc<Self>, part: Part) {
        self.metrics.unroutable.increment(part.batch().items() as u64);
        let (core, mut changed) = (Arc::clone(self), self.table.changed());
        drop(tokio::spawn(async move {
            tokio::select! {
                () = has_backend(&core, &mut changed) => core.route(part),
                () = core.stopping.cancelled() => {
                    let none = Rejected::refused(part.batch().clone(), "no backend is known");
                    part.failed(none, "interrupted due to shutdown");
                }
            }
        }));
    }

    /// Decides what becomes of a part that was not delivered for now.
    pub(super) fn again(self: &Arc<Self>, mut part: Part, rejected: Rejected) {
        if rejected.reached == Reached::Unknown {
            self.metrics.possible_duplicates.increment(part.batch().items() as u64);
        }
        let now = clock::now();
        let verdict =
            part.schedule(&self.retry, now).failed(now, rejected.retry_after, &mut rand::rng());
        if self.stopping.is_cancelled() {
            part.failed(rejected, "interrupted due to shutdown");
            return;
        }
        let Verdict::Wait(interval) = verdict else {
            part.failed(rejected, "no more retries left");
            return;
        };
        if let Some(suppressed) = self.retried.pass(now) {
            info!(exporter = self.exporter, error = %rejected, ?interval, suppressed,
                "exporting failed, will retry the part after interval");
        }
        let core = Arc::clone(self);
        drop(tokio::spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                () = core.stopping.cancelled() => {}
            }
            core.route(part);
        }));
    }

    /// Counts what has its outcome; whether it is to be counted at all.
    fn close(&self, items: usize) -> bool {
        let close = |open: u64| (open != CUT_OFF).then(|| open.saturating_sub(items as u64));
        self.open_items.fetch_update(Ordering::AcqRel, Ordering::Acquire, close).is_ok()
    }

    fn lost(&self, items: usize) {
        self.counts.send_failed.increment(items as u64);
        if !self.admission.wait_for_result {
            self.losses.add(items);
        }
    }

    pub(super) fn count_delivered(&self, items: usize, rejected_items: usize) {
        if !self.close(items) {
            return;
        }
        self.counts.sent.increment((items - rejected_items) as u64);
        if rejected_items > 0 {
            // The sender is told that all is well.
            self.counts.send_failed.increment(rejected_items as u64);
            self.losses.add(rejected_items);
        }
    }

    pub(super) fn count_failed(&self, items: usize, rejected: &Rejected, why: &'static str) {
        if !self.close(items) {
            return;
        }
        self.lost(items);
        let Some(suppressed) = self.dropped.pass(clock::now()) else { return };
        let (exporter, error) = (self.exporter.as_str(), &rejected.reason);
        match self.admission.wait_for_result {
            true => warn!(exporter, rejected_items = items, why, %error, suppressed,
                "exporting failed, rejecting data"),
            false => error!(exporter, dropped_items = items, why, %error, suppressed,
                "exporting failed, dropping data"),
        }
    }

    pub(super) fn count_cut_off(&self, items: usize) {
        if self.close(items) {
            self.lost(items);
        }
    }

    pub(super) fn log_partial(&self, delivered: &Delivered) {
        if let Some(suppressed) = self.partial.pass(clock::now()) {
            let (dropped_items, message_of_backend) =
                (delivered.rejected_items, &delivered.message);
            warn!(
                exporter = self.exporter,
                dropped_items, message_of_backend, suppressed, "a backend took a request in part"
            );
        }
    }

    /// Takes nothing more, sends what is held, until `deadline`.
    pub(super) async fn shutdown(&self, deadline: Instant) {
        self.room.close();
        self.stopping.cancel();
        for way in self.table.current().members() {
            way.flush();
        }
        self.open.close();
        let ended = tokio::time::timeout_at(deadline.into(), self.open.wait()).await;
        self.table.stop();
        let cut_off = self.open_items.swap(CUT_OFF, Ordering::AcqRel);
        if ended.is_err() && cut_off > 0 {
            let items = usize::try_from(cut_off).unwrap_or(usize::MAX);
            self.lost(items);
            error!(
                exporter = self.exporter,
                dropped_items = cut_off,
                "stopped before everything was sent, dropping data"
            );
        }
    }

    #[cfg(test)]
    pub(super) fn table(&self) -> &RouteTable<Way> {
        &self.table
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.queue.capacity.decrement(as_gauge(self.admission.capacity));
    }
}

/// Waits until there is a backend.
async fn has_backend(core: &Core, changed: &mut watch::Receiver<u64>) {
    while core.table.current().is_empty() {
        if changed.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
