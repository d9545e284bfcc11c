//! What one exporter does with a request: admits it, cuts it and puts the parts on their lanes.

mod retry;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::Guard;
use shared::Batch;
use shared::consumer::Rejected;
use shared::membership::{Member, RouteTable, Routes};
use shared::queue::{QueueMetrics, RetryConfig, Sizer, split};
use shared::service::Context;
use shared::telemetry::thin::Thin;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::error;

use super::metrics::RoutingMetrics;
use super::outcomes::Outcomes;
use super::routing_key::{RoutingKey, Split};
use super::ticket::{Answer, Caller, PART_UPKEEP, Part, STOPPING, Ticket, as_gauge};
use super::way::{Place, Way};

/// When a sender should come again while there is no room or no backend.
pub(super) const COME_AGAIN: Duration = Duration::from_secs(1);

/// How long a request waits for the first lookup of the process.
const FIRST_LOOKUP: Duration = Duration::from_secs(1);

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
    pub(super) outcomes: Outcomes,
    pub(super) queue: QueueMetrics,
    enqueue_failed: metrics::Counter,
    metrics: RoutingMetrics,
    /// Requests that have no outcome.
    pub(super) requests: TaskTracker,
    /// Once cancelled, no wait is begun or continued: one more attempt, and that is final.
    stopping: CancellationToken,
    retried: Thin,
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
            outcomes: Outcomes::new(ctx, admission.wait_for_result),
            admission,
            retry,
            split_above,
            table,
            queue,
            enqueue_failed: shared::queue::enqueue_failed(&exporter, ctx.signal),
            metrics: RoutingMetrics::new(&labels),
            requests: TaskTracker::new(),
            stopping: CancellationToken::new(),
            retried: Thin::new(),
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
        if !self.outcomes.admit(batch.items()) {
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
        for (owner, part) in whole.divide(cut.parts) {
            let way = routes.member(owner);
            let place = places.next().unwrap_or_else(|| way.place(part.batch()));
            let place = Arc::new(place);
            match self.split_above {
                None => way.push(part, place),
                Some((most, sizer)) => {
                    let (first, others) = split(part.batch(), most, most, sizer);
                    let pieces = first.into_iter().chain(others).map(|piece| ((), piece));
                    for ((), piece) in part.divide(pieces.collect()) {
                        way.push(piece, Arc::clone(&place));
                    }
                }
            }
            // A backend that was passed over meanwhile may have handed back before this came.
            let current = self.table.current();
            if !Arc::ptr_eq(&current, routes) && !current.leads_to(way) {
                way.passed_over();
            }
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

    /// Gives the first lookup a moment, so that a process that has just started refuses nobody.
    async fn first_lookup(&self) {
        let mut changed = self.table.changed();
        if *changed.borrow_and_update() == 0 {
            drop(tokio::time::timeout(FIRST_LOOKUP, changed.changed()).await);
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
        let cut_off = self.outcomes.end();
        if ended.is_err() && cut_off > 0 {
            let items = usize::try_from(cut_off).unwrap_or(usize::MAX);
            self.outcomes.lose(items);
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
