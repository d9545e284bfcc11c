//! The sending queue: what waits for a destination, and who sends it.
//!
//! ```text
//! consume → room (permits) → channel → dispatcher (batcher) → at most num_consumers deliveries
//! ```
//!
//! A queued request holds its permits until its last part is delivered or given up, so the size
//! counts what is in flight. The dispatcher is one task and owns all that is waiting. At shutdown
//! everything left gets one attempt, until the deadline; what is left then is counted as failed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use metrics::{Counter, Gauge};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tracing::error;

use super::batcher::{Joined, Limits};
use super::counts::{QueueMetrics, enqueue_failed};
use super::deadline::{passed, until};
use super::deliver::{Delivery, Open, Owner};
use super::partitions::Partitions;
use super::{QueueConfig, Sizer};
use crate::batch::Batch;
use crate::clock;
use crate::consumer::{Consumer, Rejected};
use crate::telemetry::memory::Held;
use crate::wire::Signal;

/// What a caller is told when the exporter ends.
const STOPPING: &str = "the exporter is stopping";

/// A bounded queue in front of a destination.
pub(super) struct SendingQueue {
    room: Arc<Semaphore>,
    capacity: usize,
    sizer: Sizer,
    overflow: Overflow,
    owner: Owner,
    channel: mpsc::Sender<Queued>,
    size: Gauge,
    _capacity: CapacityGauge,
    enqueue_failed: Counter,
    delivery: Arc<Delivery>,
    deadline: watch::Sender<Option<Instant>>,
    dispatcher: Mutex<Option<JoinHandle<()>>>,
}

/// What a full queue does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overflow {
    Refuse,
    Wait,
}

/// The capacity as long as the queue lives.
struct CapacityGauge(Gauge, f64);

impl Drop for CapacityGauge {
    fn drop(&mut self) {
        self.0.decrement(self.1);
    }
}

/// A request and its place in the queue.
struct Queued {
    batch: Batch,
    ticket: Arc<Ticket>,
}

/// A request's place: held until each of its parts has an outcome.
struct Ticket {
    _room: OwnedSemaphorePermit,
    _held: Held,
    size: Gauge,
    units: f64,
    items: usize,
    waiter: Mutex<Option<Waiter>>,
}

/// The tickets of a joined batch, each with the number of its items that are in it.
type Tickets = Vec<(Arc<Ticket>, usize)>;

/// A caller who waits for the outcome.
struct Waiter {
    answer: oneshot::Sender<Result<(), Rejected>>,
    /// To hand back when the undelivered part cannot be told from that of others.
    batch: Batch,
    /// Items without an outcome; if the ticket goes before they have one, they were cut off.
    open: usize,
    outcome: Result<(), Rejected>,
}

impl SendingQueue {
    /// Starts the queue's tasks in the current runtime.
    pub(super) fn start(config: &QueueConfig, signal: Signal, delivery: Arc<Delivery>) -> Self {
        let capacity = config.queue_size.min(Semaphore::MAX_PERMITS);
        let labels = [("exporter", delivery.exporter.as_str()), ("data_type", signal.name())];
        let metrics = QueueMetrics::new(&labels);
        metrics.capacity.increment(as_gauge(capacity));
        // Every queued request holds a permit, so the channel never lacks room for it.
        let (channel, queued) = mpsc::channel(capacity);
        let (deadline, deadline_set) = watch::channel(None);
        let owner = match config.wait_for_result {
            true => Owner::Caller,
            false => Owner::Queue,
        };
        let dispatcher = Dispatcher {
            queued,
            batcher: config.batch.as_ref().map(|batch| {
                let limits = Limits {
                    flush_timeout: batch.flush_timeout,
                    min_size: batch.min_size,
                    max_size: batch.max_size,
                    sizer: batch.sizer(config.sizer),
                };
                Partitions::new(limits, batch.partition.names())
            }),
            ready: VecDeque::new(),
            deliveries: JoinSet::new(),
            most: config.num_consumers,
            owner,
            delivery: Arc::clone(&delivery),
        };
        Self {
            room: Arc::new(Semaphore::new(capacity)),
            capacity,
            sizer: config.sizer,
            overflow: match config.block_on_overflow {
                true => Overflow::Wait,
                false => Overflow::Refuse,
            },
            owner,
            channel,
            size: metrics.size,
            _capacity: CapacityGauge(metrics.capacity, as_gauge(capacity)),
            enqueue_failed: enqueue_failed(&delivery.exporter, signal),
            delivery,
            deadline,
            dispatcher: Mutex::new(Some(tokio::spawn(dispatcher.run(deadline_set)))),
        }
    }

    fn refuse(&self, rejected: Rejected) -> Rejected {
        self.enqueue_failed.increment(rejected.batch.items() as u64);
        rejected
    }

    async fn reserve(&self, batch: Batch) -> Result<(Batch, OwnedSemaphorePermit), Rejected> {
        let units = self.sizer.measure(&batch);
        let (true, Ok(permits)) = (units <= self.capacity, u32::try_from(units)) else {
            return Err(self.refuse(Rejected::permanent(batch, "element size too large")));
        };
        let room = Arc::clone(&self.room);
        let refused = match self.overflow {
            Overflow::Wait => match room.acquire_many_owned(permits).await {
                Ok(permit) => return Ok((batch, permit)),
                Err(_) => STOPPING,
            },
            Overflow::Refuse => match room.try_acquire_many_owned(permits) {
                Ok(permit) => return Ok((batch, permit)),
                Err(TryAcquireError::NoPermits) => "sending queue is full",
                Err(TryAcquireError::Closed) => STOPPING,
            },
        };
        Err(self.refuse(Rejected::refused(batch, refused)))
    }

    /// The request's ticket and, for a caller who waits, where the outcome will be told.
    fn ticket(
        &self,
        batch: &Batch,
        room: OwnedSemaphorePermit,
    ) -> (Arc<Ticket>, Option<oneshot::Receiver<Result<(), Rejected>>>) {
        let (waiter, outcome) = match self.owner {
            Owner::Queue => (None, None),
            Owner::Caller => {
                let (answer, outcome) = oneshot::channel();
                let open = batch.items();
                let waiter = Waiter { answer, batch: batch.clone(), open, outcome: Ok(()) };
                (Some(waiter), Some(outcome))
            }
        };
        let units = as_gauge(self.sizer.measure(batch));
        self.size.increment(units);
        let ticket = Arc::new(Ticket {
            _room: room,
            _held: Held::new(batch.bytes().len()),
            size: self.size.clone(),
            units,
            items: batch.items(),
            waiter: Mutex::new(waiter),
        });
        (ticket, outcome)
    }
}

#[async_trait]
impl Consumer for SendingQueue {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        if batch.items() == 0 {
            return Ok(());
        }
        let (batch, room) = self.reserve(batch).await?;
        let (ticket, outcome) = self.ticket(&batch, room);
        if let Err(error) = self.channel.try_send(Queued { batch, ticket }) {
            let queued = error.into_inner();
            return Err(self.refuse(Rejected::refused(queued.batch, STOPPING)));
        }
        match outcome {
            None => Ok(()),
            Some(outcome) => outcome.await.expect("a ticket answers when it is dropped"),
        }
    }

    async fn shutdown(&self, deadline: Instant) {
        self.room.close();
        self.deadline.send_replace(Some(deadline));
        self.delivery.stopping.cancel();
        let dispatcher = self.dispatcher.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(dispatcher) = dispatcher
            && let Err(error) = dispatcher.await
        {
            error!(exporter = self.delivery.exporter, %error, "the sending queue broke");
        }
    }
}

/// Takes requests from the channel, joins them and starts their deliveries.
struct Dispatcher {
    queued: mpsc::Receiver<Queued>,
    batcher: Option<Partitions<Arc<Ticket>>>,
    /// To be delivered as soon as a delivery may start. Nothing that is not counted elsewhere is
    /// ever held outside this struct across an await.
    ready: VecDeque<(Batch, Tickets)>,
    deliveries: JoinSet<()>,
    /// How many deliveries may run.
    most: usize,
    owner: Owner,
    delivery: Arc<Delivery>,
}

impl Dispatcher {
    async fn run(mut self, mut deadline: watch::Receiver<Option<Instant>>) {
        tokio::select! {
            () = self.work() => return,
            () = passed(&mut deadline) => {}
        }
        self.abandon().await;
    }

    /// Works until there is to be no more and all is delivered.
    async fn work(&mut self) {
        let stopping = self.delivery.stopping.clone();
        loop {
            self.start_ready().await;
            let due = self.batcher.as_mut().and_then(Partitions::due);
            tokio::select! {
                () = stopping.cancelled() => break,
                () = until(due) => self.flush_due(),
                queued = self.queued.recv() => match queued {
                    Some(queued) => self.take(queued),
                    None => break,
                },
            }
        }
        self.queued.close();
        while let Some(queued) = self.queued.recv().await {
            self.take(queued);
            self.start_ready().await;
        }
        self.flush();
        self.start_ready().await;
        while self.deliveries.join_next().await.is_some() {}
    }

    fn take(&mut self, Queued { batch, ticket }: Queued) {
        match &mut self.batcher {
            None => self.ready.push_back((batch, vec![(Arc::clone(&ticket), ticket.items)])),
            Some(batcher) => {
                let joined = batcher.push(batch, ticket, clock::now());
                self.make_ready(joined);
            }
        }
    }

    fn flush_due(&mut self) {
        if let Some(batcher) = &mut self.batcher {
            let joined = batcher.flush_due(clock::now());
            self.make_ready(joined);
        }
    }

    fn flush(&mut self) {
        if let Some(batcher) = &mut self.batcher {
            let joined = batcher.flush();
            self.make_ready(joined);
        }
    }

    fn make_ready(&mut self, joined: Vec<Joined<Arc<Ticket>>>) {
        self.ready.extend(joined.into_iter().map(|Joined { batch, tokens, .. }| (batch, tokens)));
    }

    /// Starts a delivery for all that is ready, each when one may start.
    async fn start_ready(&mut self) {
        while !self.ready.is_empty() {
            while self.deliveries.try_join_next().is_some() {}
            while self.deliveries.len() >= self.most {
                self.deliveries.join_next().await;
            }
            let Some((batch, tickets)) = self.ready.pop_front() else { return };
            let open = Open::new(&self.delivery, batch, self.owner);
            self.deliveries.spawn(async move {
                let outcome = open.deliver().await;
                // Alone in its batch and whole, a request can have exactly its rest back.
                let alone = tickets.len() == 1;
                for (ticket, items) in &tickets {
                    let whole = alone && *items == ticket.items;
                    ticket.note(outcome.as_ref().err(), *items, whole);
                }
            });
        }
    }

    /// Gives up everything that is left.
    async fn abandon(mut self) {
        self.flush();
        while let Ok(queued) = self.queued.try_recv() {
            self.ready.push_back((queued.batch, Vec::new()));
        }
        for (batch, _) in self.ready.drain(..) {
            self.delivery.cut_off(batch.items(), self.owner);
        }
        self.deliveries.shutdown().await;
        let items = self.delivery.items_cut_off();
        if items > 0 {
            error!(
                exporter = self.delivery.exporter,
                dropped_items = items,
                "stopped before everything was sent, dropping data"
            );
        }
    }
}

impl Ticket {
    /// Notes the outcome of `items` of the request; `whole` when they were sent as the request
    /// that they came as.
    fn note(&self, rejected: Option<&Rejected>, items: usize, whole: bool) {
        let mut waiter = self.waiter.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(waiter) = waiter.as_mut() else { return };
        waiter.open = waiter.open.saturating_sub(items);
        if let Some(rejected) = rejected {
            let mut rejected = rejected.clone();
            if !whole {
                rejected.batch = waiter.batch.clone();
            }
            waiter.outcome = Err(rejected);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.size.decrement(self.units);
        let waiter = self.waiter.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Waiter { answer, batch, open, outcome }) = waiter {
            let outcome = match open {
                0 => outcome,
                _ => Err(Rejected::refused(batch, STOPPING)),
            };
            // A caller who has gone away does not want to know.
            drop(answer.send(outcome));
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "gauges are doubles; sizes are far below 2^53")]
fn as_gauge(size: usize) -> f64 {
    size as f64
}
