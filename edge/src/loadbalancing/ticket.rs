//! A request's place in the exporter, and the parts that it was cut into.
//!
//! A request holds room in the queue for the parts that have no outcome yet; when the last has one,
//! whoever waits for it is answered. A part that is dropped without one, since the process ends,
//! counts as cut off. So nothing can end uncounted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use shared::consumer::{Reached, Rejected, RejectedKind};
use shared::queue::{RetryConfig, Schedule, Sizer};
use shared::telemetry::memory::Held;
use shared::{Batch, clock};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::core::{COME_AGAIN, Core};
use super::lane::Waiting;
use super::way::{Place, Way};

/// What a caller is told when the exporter ends.
pub(super) const STOPPING: &str = "the exporter is stopping";

/// What a part takes besides its bytes: its own and its place's fields, its schedule and its task
/// while it waits to be tried again, and what the allocator adds.
pub(super) const PART_UPKEEP: usize = 512;

/// What a part takes of a bound in this unit.
pub(super) fn size_of_part(sizer: Sizer, batch: &Batch) -> usize {
    match sizer {
        Sizer::Bytes => batch.bytes().len() + PART_UPKEEP,
        Sizer::Requests | Sizer::Items => sizer.measure(batch),
    }
}

/// How a request ended, for whoever waits for it.
pub(super) type Answer = oneshot::Receiver<Result<(), Rejected>>;

/// A request's place.
pub(super) struct Ticket {
    core: Arc<Core>,
    taken: Instant,
    /// Nobody waits for the answer any more, though somebody did.
    given_up: AtomicBool,
    state: Mutex<State>,
    /// Tells the exporter when all requests have ended.
    _open: TaskTrackerToken,
}

struct State {
    waiter: Option<oneshot::Sender<Result<(), Rejected>>>,
    /// Parts that were given up.
    rejected: Vec<Rejected>,
    /// What it takes of the queue: no more than its open parts do.
    room: OwnedSemaphorePermit,
    /// Size of the parts without an outcome, in the unit of the queue. Together they may be larger
    /// than the request, of which they repeat the headers.
    open: usize,
    /// The same in bytes; counts as held unless whoever waits for the outcome counts the request.
    held: Option<Held>,
}

/// Marks a request as given up when its caller goes away before the answer.
pub(super) struct Caller(Weak<Ticket>);

impl Drop for Caller {
    fn drop(&mut self) {
        if let Some(ticket) = self.0.upgrade() {
            ticket.given_up.store(true, Ordering::Release);
        }
    }
}

impl Ticket {
    /// The place of a request for which there was `room`.
    pub(super) fn new(core: &Arc<Core>, batch: &Batch, room: OwnedSemaphorePermit) -> Arc<Self> {
        core.outcomes.counts.flight.in_flight.increment(1.0);
        core.queue.size.increment(as_gauge(room.num_permits()));
        let state = State {
            waiter: None,
            rejected: Vec::new(),
            room,
            open: size_of_part(core.sizer, batch),
            held: (!core.waits_for_result()).then(|| Held::new(batch.bytes().len())),
        };
        Arc::new(Self {
            taken: clock::now(),
            given_up: AtomicBool::default(),
            state: Mutex::new(state),
            _open: core.requests.token(),
            core: Arc::clone(core),
        })
    }

    /// Where the outcome will be told. To be called before there are parts.
    pub(super) fn wait(self: &Arc<Self>) -> (Caller, Answer) {
        let (tell, told) = oneshot::channel();
        self.state().waiter = Some(tell);
        (Caller(Arc::downgrade(self)), told)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rejected(&self, rejected: Rejected) {
        let mut state = self.state();
        if state.waiter.is_some() {
            state.rejected.push(rejected);
        }
    }

    /// A part became these, which may be none, and gives back the room that they do not take.
    fn replace<'p>(&self, part: &Batch, pieces: impl Iterator<Item = &'p Batch>) {
        let sizer = self.core.sizer;
        let (mut size, mut bytes) = (0, 0);
        for piece in pieces {
            size += size_of_part(sizer, piece);
            bytes += piece.bytes().len();
        }
        let mut state = self.state();
        state.open = state.open + size - size_of_part(sizer, part);
        if let Some(held) = &mut state.held {
            held.resize((held.bytes() + bytes).saturating_sub(part.bytes().len()));
        }
        let spare = state.room.num_permits().saturating_sub(state.open);
        // With the last part the request ends, and all of its room.
        if spare > 0 && state.open > 0 {
            drop(state.room.split(spare));
            self.core.queue.size.decrement(as_gauge(spare));
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.core.outcomes.counts.flight.in_flight.decrement(1.0);
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.core.queue.size.decrement(as_gauge(state.room.num_permits()));
        if let Some(waiter) = state.waiter.take() {
            let outcome = match Rejected::merge(std::mem::take(&mut state.rejected)) {
                None => Ok(()),
                Some(rejected) if rejected.kind == RejectedKind::Permanent => Err(rejected),
                Some(rejected) => {
                    let come_again = rejected.retry_after.unwrap_or(COME_AGAIN);
                    Err(rejected.retry_after(come_again))
                }
            };
            // A caller who has gone away does not want to know.
            drop(waiter.send(outcome));
        }
    }
}

/// What one backend is to get of a request.
pub(super) struct Part {
    batch: Batch,
    ticket: Arc<Ticket>,
    /// How it is tried again; from its first failure on.
    schedule: Option<Box<Schedule>>,
    /// Since when it waits in its lane.
    waits_since: Instant,
    /// Set when it was joined with others and refused for good: which of them it is tried with now.
    group: Option<u64>,
    /// What its lane sizes it as.
    size: usize,
    /// Where it was sent last, and its place among what is held for that backend.
    place: Option<Arc<Place>>,
    /// Whether it has no outcome yet.
    open: bool,
}

impl Part {
    /// All of a request.
    pub(super) fn whole(ticket: Arc<Ticket>, batch: Batch) -> Self {
        Self {
            batch,
            ticket,
            schedule: None,
            waits_since: clock::now(),
            group: None,
            size: 0,
            place: None,
            open: true,
        }
    }

    pub(super) fn batch(&self) -> &Batch {
        &self.batch
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        &self.ticket.core
    }

    /// When its request was taken in.
    pub(super) fn taken(&self) -> Instant {
        self.ticket.taken
    }

    /// The way that it was sent last.
    pub(super) fn way(&self) -> Option<&Arc<Way>> {
        self.place.as_ref().map(|place| place.way())
    }

    /// Begins to wait in a lane that measures by `sizer`.
    pub(super) fn enter(&mut self, sizer: Sizer, place: Arc<Place>) {
        self.waits_since = clock::now();
        self.size = sizer.measure(&self.batch);
        self.place = Some(place);
        self.group = None;
    }

    /// To be tried with those of this group only.
    pub(super) fn regroup(&mut self, group: u64) {
        self.group = Some(group);
    }

    /// How long it has waited for its first turn in its lane; a further one is not told.
    pub(super) fn waited(&self, now: Instant) -> Option<Duration> {
        self.group.is_none().then(|| now.saturating_duration_since(self.waits_since))
    }

    /// Cuts it; the pieces are to hold all its items. What is with them stays with their parts.
    pub(super) fn divide<K>(mut self, pieces: Vec<(K, Batch)>) -> impl Iterator<Item = (K, Self)> {
        self.open = false;
        self.ticket.replace(&self.batch, pieces.iter().map(|(_, piece)| piece));
        pieces.into_iter().map(move |(with, batch)| {
            let part = Self {
                batch,
                ticket: Arc::clone(&self.ticket),
                schedule: self.schedule.clone(),
                waits_since: self.waits_since,
                group: None,
                size: 0,
                place: None,
                open: true,
            };
            (with, part)
        })
    }

    /// Its schedule, which begins with the first failure.
    pub(super) fn schedule(&mut self, retry: &RetryConfig, now: Instant) -> &mut Schedule {
        self.schedule.get_or_insert_with(|| Box::new(Schedule::new(retry, now)))
    }

    /// It was delivered, but for this many items.
    pub(super) fn delivered(mut self, rejected_items: usize) {
        self.close();
        self.core().outcomes.deliver(self.batch.items(), rejected_items);
    }

    /// It is given up. The batch of `rejected` does not matter.
    pub(super) fn failed(mut self, mut rejected: Rejected, why: &'static str) {
        self.close();
        self.core().outcomes.fail(self.batch.items(), &rejected, why);
        rejected.batch = self.batch.clone();
        rejected.reason = format!("{why}: {}", rejected.reason).into();
        self.ticket.rejected(rejected);
    }

    /// It has its outcome.
    fn close(&mut self) {
        self.open = false;
        self.ticket.replace(&self.batch, std::iter::empty());
    }

    /// Nobody waits for its outcome any more.
    pub(super) fn abandoned(self) {
        let rejected = Rejected::refused(Batch::empty(self.batch.signal()), "it waits no longer");
        self.failed(rejected, "the sender has gone");
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.open {
            self.close();
            self.core().outcomes.cut_off(self.batch.items());
            // Without a stop it is a panic that dropped it.
            let why = if self.core().is_stopping() { STOPPING } else { "internal error" };
            let rejected = Rejected::refused(self.batch.clone(), why);
            self.ticket.rejected(rejected.reached(Reached::Nobody));
        }
    }
}

impl Waiting for Part {
    fn size(&self) -> usize {
        self.size
    }

    fn since(&self) -> Instant {
        self.waits_since
    }

    fn urgent(&self) -> bool {
        self.group.is_some()
    }

    fn joins(&self, other: &Self) -> bool {
        // One sender's metadata must not go out with another's records.
        self.group == other.group && self.batch.same_metadata(&other.batch)
    }

    fn given_up(&self) -> bool {
        self.ticket.given_up.load(Ordering::Acquire)
    }
}

#[allow(clippy::cast_precision_loss, reason = "gauges are doubles; sizes are far below 2^53")]
pub(super) fn as_gauge(size: usize) -> f64 {
    size as f64
}
