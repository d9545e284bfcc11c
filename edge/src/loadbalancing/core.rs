//! What one exporter does with a request: admits it, cuts it, puts the parts on their lanes, and
//! decides what becomes of a part that was not delivered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::Guard;
use shared::consumer::{Reached, Rejected};
use shared::membership::{Member, RouteTable, Routes};
use shared::queue::{Counts, Delivered, QueueMetrics, RetryConfig, Sizer, Verdict, split};
use shared::service::{Context, Losses};
use shared::telemetry::thin::Thin;
use shared::{Batch, clock};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use super::lane::Waiting;
use super::lane_task::LONGEST_PAUSE;
use super::metrics::RoutingMetrics;
use super::routing_key::{RoutingKey, Split};
use super::ticket::{Answer, Caller, PART_UPKEEP, Part, STOPPING, Ticket, as_gauge};
use super::way::{Place, Way};

/// When a sender should come again while there is no room or no backend.
pub(super) const COME_AGAIN: Duration = Duration::from_secs(1);

/// How long a request waits for the first lookup of the process.
const FIRST_LOOKUP: Duration = Duration::from_secs(1);

/// What `open_items` says after the exporter was cut off.
const CUT_OFF: u64 = u64::MAX;

/// How often a part that waits is looked at, whether its sender has gone.
const SWEEP: Duration = Duration::from_secs(1);

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
    pub(super) requests: TaskTracker,
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
            requests: TaskTracker::new(),
            stopping: CancellationToken::new(),
            retried: Thin::new(),
            dropped: Thin::new(),
            partial: Thin::new(),
            exporter,
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Whether senders wait for the outcome of their requests.
    pub(super) fn waits_for_result(&self) -> bool {
        self.admission.wait_for_result
    }

    /// Takes a request; `Some` is where its outcome will be told.
    pub(super) async fn take(
        self: &Arc<Self>,
        batch: Batch,
    ) -> Result<Option<(Caller, Answer)>, Rejected> {
        let (batch, room) = self.reserve(batch).await?;
        if self.waits_for_result() {
            self.first_lookup().await;
        }
        let placed = loop {
            match self.place(&batch) {
                Placing::Placed(placed) => break Some(placed),
                Placing::NoBackend if !self.waits_for_result() => break None,
                Placing::NoBackend => {
                    self.metrics.unroutable.increment(batch.items() as u64);
                    return Err(self.refuse(batch, "no backend is known"));
                }
                Placing::Full(_) if self.stopping.is_cancelled() => {
                    return Err(self.refuse(batch, STOPPING));
                }
                Placing::Full(way) if self.admission.block_on_overflow => way.freed().await,
                Placing::Full(_) => {
                    return Err(self.refuse(batch, "the queue of a backend is full"));
                }
            }
        };
        if !self.open(batch.items()) {
            return Err(self.refuse(batch, STOPPING));
        }
        let ticket = Ticket::new(self, &batch, room);
        let answer = self.waits_for_result().then(|| ticket.wait());
        let whole = Part::whole(ticket, batch);
        match placed {
            None => self.park(whole),
            Some(Placed { routes, cut, places }) => {
                self.metrics.keyless.increment(cut.keyless as u64);
                self.push(&routes, whole, cut, Some(places));
            }
        }
        Ok(answer)
    }

    /// Cuts a request and takes the room for its parts: all or nothing, since a sender that is
    /// refused comes again with the whole request.
    fn place(&self, batch: &Batch) -> Placing {
        let routes = self.table.current();
        if routes.is_empty() {
            return Placing::NoBackend;
        }
        let cut = self.key.split(batch, &**routes);
        let mut places = Vec::with_capacity(cut.parts.len());
        for (owner, part) in &cut.parts {
            let way = routes.member(*owner);
            match way.reserve(part) {
                Some(place) => places.push(place),
                None => return Placing::Full(Arc::clone(way)),
            }
        }
        Placing::Placed(Placed { routes, cut, places })
    }

    /// Sends the parts of what was cut by these routes; without places, room is taken whatever
    /// there is.
    fn push(
        &self,
        routes: &Guard<Arc<Routes<Way>>>,
        whole: Part,
        cut: Split,
        places: Option<Vec<Place>>,
    ) {
        let mut places = places.into_iter().flatten();
        let (owners, batches): (Vec<_>, Vec<_>) = cut.parts.into_iter().unzip();
        for (owner, part) in owners.iter().zip(whole.divide(batches)) {
            let way = routes.member(*owner);
            let place = places.next().unwrap_or_else(|| way.place(part.batch()));
            let place = Arc::new(place);
            match self.split_above {
                None => way.push(part, place),
                Some((most, sizer)) => {
                    let (first, others) = split(part.batch(), most, most, sizer);
                    for piece in part.divide(first.into_iter().chain(others).collect()) {
                        way.push(piece, Arc::clone(&place));
                    }
                }
            }
        }
        // Whoever was passed over meanwhile may have handed back before these came.
        let current = self.table.current();
        if !Arc::ptr_eq(&current, routes) {
            let used = owners.iter().map(|owner| routes.member(*owner));
            used.filter(|way| !current.leads_to(way)).for_each(|way| way.passed_over());
        }
    }

    async fn reserve(&self, batch: Batch) -> Result<(Batch, OwnedSemaphorePermit), Rejected> {
        let units = self.most_taken_by(&batch);
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

    /// What a request takes of the queue at most, which is only known when it is cut; as much as
    /// there is, if that holds it at all.
    fn most_taken_by(&self, batch: &Batch) -> usize {
        let units = self.sizer.measure(batch);
        if self.sizer != Sizer::Bytes || units > self.admission.capacity {
            return units;
        }
        let most_parts = self.table.current().members().len().clamp(1, batch.items());
        (units + most_parts * PART_UPKEEP).min(self.admission.capacity)
    }

    fn refuse(&self, batch: Batch, reason: &'static str) -> Rejected {
        self.enqueue_failed.increment(batch.items() as u64);
        Rejected::refused(batch, reason).retry_after(COME_AGAIN)
    }

    /// Routes a part by the routes of this moment: its backend is passed over, or it is tried
    /// again.
    fn route(self: &Arc<Self>, part: Part) {
        let routes = self.table.current();
        if routes.is_empty() {
            self.park(part);
            return;
        }
        let cut = self.key.split(part.batch(), &**routes);
        self.push(&routes, part, cut, None);
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
        let core = Arc::clone(self);
        drop(tokio::spawn(async move {
            core.wait(&part, None, |routes| !routes.is_empty()).await;
            if core.stopping.is_cancelled() && core.table.current().is_empty() {
                let none = Rejected::refused(part.batch().clone(), "no backend is known");
                part.failed(none, "interrupted due to shutdown");
            } else {
                core.go_on(part);
            }
        }));
    }

    /// Waits so long, or until the routes are as they should be, the sender of the part has gone,
    /// or the process ends.
    async fn wait(
        &self,
        part: &Part,
        time: Option<Duration>,
        enough: impl Fn(&Routes<Way>) -> bool,
    ) {
        let mut changed = self.table.changed();
        let end = time.map(|time| tokio::time::Instant::now() + time);
        while !enough(&self.table.current()) && !part.given_up() {
            let now = tokio::time::Instant::now();
            let left = end.map_or(SWEEP, |end| end.saturating_duration_since(now).min(SWEEP));
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(left) => {}
                Ok(()) = changed.changed() => {}
                () = self.stopping.cancelled() => return,
            }
        }
    }

    /// Routes a part after a wait, unless nobody wants it any more.
    fn go_on(self: &Arc<Self>, part: Part) {
        match part.given_up() {
            true => part.abandoned(),
            false => self.route(part),
        }
    }

    /// Decides what becomes of a part that was not delivered for now.
    pub(super) fn again(self: &Arc<Self>, mut part: Part, rejected: Rejected) {
        if rejected.reached == Reached::Unknown {
            self.metrics.possible_duplicates.increment(part.batch().items() as u64);
        }
        let now = clock::now();
        let asked = rejected.retry_after.map(|delay| delay.min(LONGEST_PAUSE));
        let verdict = part.schedule(&self.retry, now).failed(now, asked, &mut rand::rng());
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
            let left = |routes: &Routes<Way>| part.way().is_some_and(|way| !routes.leads_to(way));
            core.wait(&part, Some(interval), left).await;
            core.go_on(part);
        }));
    }

    /// Counts what was admitted; not once the exporter was cut off.
    fn open(&self, items: usize) -> bool {
        let open = |open: u64| (open != CUT_OFF).then(|| open + items as u64);
        self.open_items.fetch_update(Ordering::AcqRel, Ordering::Acquire, open).is_ok()
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
        self.table.stop();
        self.stopping.cancel();
        for way in self.table.current().members() {
            way.flush();
        }
        self.requests.close();
        let ended = tokio::time::timeout_at(deadline.into(), self.requests.wait()).await;
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
    pub(super) fn room_left(&self) -> usize {
        self.room.available_permits()
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

/// What came of taking room for a request.
enum Placing {
    Placed(Placed),
    /// There is none for what it has for this backend.
    Full(Arc<Way>),
    NoBackend,
}

/// A request, cut and with room for its parts.
struct Placed {
    routes: Guard<Arc<Routes<Way>>>,
    cut: Split,
    /// In the order of the parts.
    places: Vec<Place>,
}
