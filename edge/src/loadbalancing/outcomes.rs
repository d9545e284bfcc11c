//! Counts the items of an exporter from their admission to their outcome: each once.
//!
//! When the exporter is cut off, what has no outcome yet is counted as lost; whatever comes of it
//! afterwards does not count any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use shared::clock;
use shared::consumer::Rejected;
use shared::queue::{Counts, Delivered};
use shared::service::{Context, Losses};
use shared::telemetry::thin::Thin;
use tracing::{error, warn};

/// What `open` says after the exporter was cut off.
const CUT_OFF: u64 = u64::MAX;

/// What one exporter counts.
pub(super) struct Outcomes {
    exporter: String,
    pub(super) counts: Counts,
    losses: Arc<Losses>,
    /// Items that were admitted and have no outcome, or [`CUT_OFF`].
    open: AtomicU64,
    /// Whether senders wait for the outcome, and so know what is lost.
    wait_for_result: bool,
    dropped: Thin,
    partial: Thin,
}

impl Outcomes {
    pub(super) fn new(ctx: &Context, wait_for_result: bool) -> Self {
        let exporter = ctx.id.to_string();
        Self {
            counts: Counts::new(&exporter, ctx.signal, None),
            losses: Arc::clone(&ctx.losses),
            open: AtomicU64::new(0),
            wait_for_result,
            dropped: Thin::new(),
            partial: Thin::new(),
            exporter,
        }
    }

    /// Counts what was admitted; not once the exporter was cut off.
    pub(super) fn admit(&self, items: usize) -> bool {
        let open = |open: u64| (open != CUT_OFF).then(|| open + items as u64);
        self.open.fetch_update(Ordering::AcqRel, Ordering::Acquire, open).is_ok()
    }

    /// Takes out what has its outcome; whether it is to be counted at all.
    fn close(&self, items: usize) -> bool {
        let close = |open: u64| (open != CUT_OFF).then(|| open.saturating_sub(items as u64));
        self.open.fetch_update(Ordering::AcqRel, Ordering::Acquire, close).is_ok()
    }

    /// Counts what is lost.
    pub(super) fn lose(&self, items: usize) {
        self.counts.send_failed.increment(items as u64);
        if !self.wait_for_result {
            self.losses.add(items);
        }
    }

    /// Counts what was delivered, but for so many items that the backend took the rest without.
    pub(super) fn deliver(&self, items: usize, rejected_items: usize) {
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

    /// Counts what was given up.
    pub(super) fn fail(&self, items: usize, rejected: &Rejected, why: &'static str) {
        if !self.close(items) {
            return;
        }
        self.lose(items);
        let Some(suppressed) = self.dropped.pass(clock::now()) else { return };
        let (exporter, error) = (self.exporter.as_str(), &rejected.reason);
        match self.wait_for_result {
            true => warn!(exporter, rejected_items = items, why, %error, suppressed,
                "exporting failed, rejecting data"),
            false => error!(exporter, dropped_items = items, why, %error, suppressed,
                "exporting failed, dropping data"),
        }
    }

    /// Counts what was dropped without an outcome.
    pub(super) fn cut_off(&self, items: usize) {
        if self.close(items) {
            self.lose(items);
        }
    }

    /// Tells that a backend did not take all of a request.
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

    /// Counts no outcome from now on; tells how many items have none.
    pub(super) fn end(&self) -> u64 {
        self.open.swap(CUT_OFF, Ordering::AcqRel)
    }
}
