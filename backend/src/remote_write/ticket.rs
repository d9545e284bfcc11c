//! What a batch holds until each of its data points has an outcome, and who is told of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use metrics::Gauge;
use shared::queue::Counts;
use shared::service::Losses;
use shared::{Batch, Rejected};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::metrics::Dropped;
use super::reason::Reason;
use super::request::Finality;
use super::wal::Position;

/// What all batches of an exporter are counted in.
pub(super) struct Account {
    pub(super) counts: Counts,
    pub(super) dropped: Dropped,
    pub(super) losses: Arc<Losses>,
    /// Data points that a shutdown cut off.
    pub(super) cut_off: AtomicU64,
}

/// A batch's place, held until nothing of it is under way.
pub(super) struct Ticket {
    account: Arc<Account>,
    keeper: Keeper,
    /// Whether it stays in the log.
    is_kept: AtomicBool,
    _room: Option<OwnedSemaphorePermit>,
    _size: Option<Taken>,
}

/// Who answers for a batch that is not delivered.
pub(super) enum Keeper {
    /// Its sender was told that all is well: what fails is lost.
    Queue,
    /// Its sender waits for the outcome.
    Sender(Mutex<Option<Waiter>>),
    /// It is in the write-ahead log, and goes from there when it has an outcome.
    Log(Position),
}

/// A sender who waits.
pub(super) struct Waiter {
    pub(super) batch: Batch,
    pub(super) answer: oneshot::Sender<Result<(), Rejected>>,
    pub(super) failure: Option<(Finality, String)>,
}

/// One place of those that a gauge counts.
pub(super) struct Taken(Gauge);

impl Taken {
    pub(super) fn new(gauge: &Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge.clone())
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

impl Ticket {
    /// For a batch with its room in the queue.
    pub(super) fn new(
        account: &Arc<Account>,
        keeper: Keeper,
        room: Option<OwnedSemaphorePermit>,
        size: Option<Taken>,
    ) -> Self {
        Self {
            account: Arc::clone(account),
            keeper,
            is_kept: AtomicBool::new(false),
            _room: room,
            _size: size,
        }
    }

    /// Counts data points that arrived.
    pub(super) fn delivered(&self, items: usize) {
        self.account.counts.sent.increment(items as u64);
    }

    /// Counts data points that were given up.
    pub(super) fn failed(&self, items: usize, reason: Reason, is_final: Finality, text: &str) {
        if items == 0 {
            return;
        }
        self.account.counts.send_failed.increment(items as u64);
        self.account.dropped.add(reason, items);
        match &self.keeper {
            Keeper::Queue | Keeper::Log(_) => self.account.losses.add(items),
            Keeper::Sender(waiter) => {
                let mut waiter = waiter.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(waiter) = waiter.as_mut() else { return };
                // A batch of which something may be taken later is worth sending again.
                if waiter.failure.is_none() || is_final == Finality::ForNow {
                    waiter.failure = Some((is_final, text.to_owned()));
                }
            }
        }
    }

    /// Leaves the batch in the log, for the next start.
    pub(super) fn keep(&self) {
        self.is_kept.store(true, Ordering::Relaxed);
    }

    /// Counts data points that will not be sent, because the process ends.
    pub(super) fn cut_off(&self, items: usize) {
        if items == 0 {
            return;
        }
        match self.keeper {
            Keeper::Log(_) => self.keep(),
            Keeper::Queue | Keeper::Sender(_) => {
                self.account.cut_off.fetch_add(items as u64, Ordering::Relaxed);
                self.failed(items, Reason::Shutdown, Finality::ForNow, "the exporter is stopping");
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        match &mut self.keeper {
            Keeper::Queue => {}
            Keeper::Sender(waiter) => {
                let waiter = waiter.get_mut().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(Waiter { batch, answer, failure }) = waiter {
                    let outcome = match failure {
                        None => Ok(()),
                        Some((Finality::Final, text)) => Err(Rejected::permanent(batch, text)),
                        Some((Finality::ForNow, text)) => Err(Rejected::retryable(batch, text)),
                    };
                    // A sender who has gone away does not want to know.
                    drop(answer.send(outcome));
                }
            }
            Keeper::Log(position) => {
                if !self.is_kept.load(Ordering::Relaxed) {
                    position.done();
                }
            }
        }
    }
}
