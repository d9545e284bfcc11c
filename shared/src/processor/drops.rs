//! What processors lose that have answered their sender before.

use std::sync::Arc;

use metrics::Counter;
use tracing::error;

use crate::clock;
use crate::consumer::{Rejected, RejectedKind};
use crate::service::{Context, Losses};
use crate::telemetry::thin::Thin;

/// Counts what is lost.
pub(super) struct Drops {
    processor: String,
    permanent: Counter,
    retryable: Counter,
    refused: Counter,
    shutdown: Counter,
    losses: Arc<Losses>,
    logged: Thin,
}

impl Drops {
    /// Those of the processor that is being built; `counter` makes one with the labels `processor`,
    /// `data_type` and `reason`.
    pub(super) fn new(ctx: &Context, counter: impl Fn(&[(&'static str, &str)]) -> Counter) -> Self {
        let processor = ctx.id.to_string();
        let reasoned = |reason: &'static str| {
            let data_type = ctx.signal.name();
            let labels =
                [("processor", processor.as_str()), ("data_type", data_type), ("reason", reason)];
            counter(&labels)
        };
        Self {
            permanent: reasoned("permanent"),
            retryable: reasoned("retryable"),
            refused: reasoned("refused"),
            shutdown: reasoned("shutdown"),
            losses: Arc::clone(&ctx.losses),
            logged: Thin::new(),
            processor,
        }
    }

    /// Counts what the next component did not take.
    pub(super) fn note(&self, rejected: &Rejected) {
        let items = rejected.batch.items();
        let counter = match rejected.kind {
            RejectedKind::Permanent => &self.permanent,
            RejectedKind::Retryable => &self.retryable,
            RejectedKind::Refused => &self.refused,
        };
        counter.increment(items as u64);
        self.losses.add(items);
        if let Some(suppressed) = self.logged.pass(clock::now()) {
            error!(processor = self.processor, dropped_items = items, error = %rejected, suppressed,
                "sender failed, dropping data");
        }
    }

    /// Counts what could not be sent in the time for stopping.
    pub(super) fn at_shutdown(&self, items: usize) {
        if items == 0 {
            return;
        }
        self.shutdown.increment(items as u64);
        self.losses.add(items);
        error!(
            processor = self.processor,
            dropped_items = items,
            "stopped before everything was sent, dropping data"
        );
    }
}
