//! Sends one batch until it is delivered or given up: counting → retry → timeout → sender.
//!
//! Every item is counted once, when its outcome is final: as sent when the attempt that delivered
//! it ends, else as failed, also when the future is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::counts::Counts;
use super::retry::{Schedule, Verdict};
use super::{Delivered, RetryConfig, Sender};
use crate::batch::Batch;
use crate::clock;
use crate::consumer::{Reached, Rejected, RejectedKind};
use crate::service::{Context, Losses};
use crate::telemetry::thin::Thin;

/// Who answers for a batch that cannot be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// Whoever called waits for the outcome and still has the data, or can ask for it again.
    Caller,
    /// The caller was told that all is well; what fails now is lost.
    Queue,
}

/// Everything needed to deliver batches to one destination.
pub(super) struct Delivery {
    sender: Arc<dyn Sender>,
    timeout: Duration,
    retry: RetryConfig,
    counts: Counts,
    pub(super) exporter: String,
    losses: Arc<Losses>,
    /// Once cancelled, no wait is begun or continued: one more attempt, and that is final.
    pub(super) stopping: CancellationToken,
    /// Items whose delivery was cut off by the deadline of a shutdown.
    cut_off: AtomicU64,
    retried: Thin,
    dropped: Thin,
    refused_in_part: Thin,
}

impl Delivery {
    pub(super) fn new(
        ctx: &Context,
        sender: Arc<dyn Sender>,
        timeout: Duration,
        retry: RetryConfig,
        destination: Option<&(String, u16)>,
    ) -> Self {
        let exporter = ctx.id.to_string();
        Self {
            sender,
            timeout,
            retry,
            counts: Counts::new(&exporter, ctx.signal, destination),
            exporter,
            losses: Arc::clone(&ctx.losses),
            stopping: CancellationToken::new(),
            cut_off: AtomicU64::new(0),
            retried: Thin::new(),
            dropped: Thin::new(),
            refused_in_part: Thin::new(),
        }
    }

    /// Counts items that will not be sent any more.
    pub(super) fn cut_off(&self, items: usize, owner: Owner) {
        self.fail(items, owner);
        if owner == Owner::Queue {
            self.cut_off.fetch_add(items as u64, Ordering::Relaxed);
        }
    }

    /// Items that a queue held and that were cut off.
    pub(super) fn items_cut_off(&self) -> u64 {
        self.cut_off.load(Ordering::Relaxed)
    }

    fn fail(&self, items: usize, owner: Owner) {
        self.counts.send_failed.increment(items as u64);
        if owner == Owner::Queue {
            self.losses.add(items);
        }
    }

    async fn attempt(&self, batch: Batch) -> Result<Delivered, Rejected> {
        if self.timeout.is_zero() {
            return self.sender.send(batch).await;
        }
        // The attempt takes its batch with it when it is cut short; the bytes are shared.
        match tokio::time::timeout(self.timeout, self.sender.send(batch.clone())).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Rejected::retryable(batch, "the destination did not answer in time")
                .reached(Reached::Unknown)),
        }
    }
}

/// A batch on its way.
pub(super) struct Open {
    delivery: Arc<Delivery>,
    owner: Owner,
    /// What is not delivered yet.
    batch: Batch,
    /// Its items; 0 when all are counted.
    items: usize,
}

impl Open {
    pub(super) fn new(delivery: &Arc<Delivery>, batch: Batch, owner: Owner) -> Self {
        delivery.counts.flight.in_flight.increment(1.0);
        let items = batch.items();
        Self { delivery: Arc::clone(delivery), owner, batch, items }
    }

    /// Sends the batch.
    ///
    /// # Errors
    /// [`Rejected`] with the part that was not delivered; it was counted and logged.
    pub(super) async fn deliver(mut self) -> Result<(), Rejected> {
        let delivery = Arc::clone(&self.delivery);
        let mut schedule = Schedule::new(&delivery.retry, clock::now());
        loop {
            let rejected = match delivery.attempt(self.batch.clone()).await {
                Ok(delivered) => {
                    self.delivered(&delivered);
                    return Ok(());
                }
                Err(rejected) => self.narrow(rejected),
            };
            if rejected.kind == RejectedKind::Permanent {
                return Err(self.give_up(rejected, "not retryable error"));
            }
            let now = clock::now();
            let verdict = schedule.failed(now, rejected.retry_after, &mut rand::rng());
            if delivery.stopping.is_cancelled() {
                return Err(self.give_up(rejected, "interrupted due to shutdown"));
            }
            let Verdict::Wait(interval) = verdict else {
                return Err(self.give_up(rejected, "no more retries left"));
            };
            if let Some(suppressed) = delivery.retried.pass(now) {
                info!(exporter = delivery.exporter, error = %rejected, ?interval, suppressed,
                    "exporting failed, will retry the request after interval");
            }
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                () = delivery.stopping.cancelled() => {}
            }
        }
    }

    fn delivered(&mut self, delivered: &Delivered) {
        let delivery = &self.delivery;
        let items = std::mem::take(&mut self.items);
        let refused = delivered.rejected_items.min(items);
        delivery.counts.sent.increment((items - refused) as u64);
        if refused > 0 {
            delivery.fail(refused, Owner::Queue);
        }
        if refused == 0 && delivered.message.is_empty() {
            return;
        }
        if let Some(suppressed) = delivery.refused_in_part.pass(clock::now()) {
            warn!(
                exporter = delivery.exporter,
                dropped_items = refused,
                message_of_destination = delivered.message,
                suppressed,
                "the destination took the request in part"
            );
        }
    }

    /// Keeps only what was handed back; the rest got through or was dropped for good.
    fn narrow(&mut self, mut rejected: Rejected) -> Rejected {
        let left = rejected.batch.items().min(self.items);
        let dropped = std::mem::take(&mut rejected.dropped_items).min(self.items - left);
        self.delivery.counts.sent.increment((self.items - left - dropped) as u64);
        self.items = left;
        self.dropped(dropped, &rejected);
        self.batch = rejected.batch.clone();
        rejected
    }

    /// Counts items that an attempt gave up for good while the rest may be tried again.
    fn dropped(&self, items: usize, rejected: &Rejected) {
        if items == 0 {
            return;
        }
        let delivery = &self.delivery;
        delivery.fail(items, Owner::Queue);
        if let Some(suppressed) = delivery.dropped.pass(clock::now()) {
            error!(exporter = delivery.exporter, dropped_items = items, error = %rejected,
                suppressed, "exporting failed in part, dropping data");
        }
    }

    fn give_up(&mut self, mut rejected: Rejected, why: &'static str) -> Rejected {
        let delivery = &self.delivery;
        let items = std::mem::take(&mut self.items);
        delivery.fail(items, self.owner);
        if let Some(suppressed) = delivery.dropped.pass(clock::now()) {
            let exporter = delivery.exporter.as_str();
            let hint = match delivery.retry.enabled {
                true => "",
                false => "try enabling retry_on_failure to retry on retryable errors",
            };
            match self.owner {
                Owner::Queue => {
                    error!(exporter, dropped_items = items, why, error = %rejected, suppressed,
                        hint, "exporting failed, dropping data");
                }
                Owner::Caller => {
                    warn!(exporter, rejected_items = items, why, error = %rejected, suppressed,
                        hint, "exporting failed, rejecting data");
                }
            }
        }
        rejected.reason = format!("{why}: {}", rejected.reason).into();
        rejected
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.delivery.counts.flight.in_flight.decrement(1.0);
        if self.items > 0 {
            self.delivery.cut_off(self.items, self.owner);
        }
    }
}
