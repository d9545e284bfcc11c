//! A request on its way to the next component.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use shared::{Batch, Next, Rejected, RejectedKind, clock};
use tokio::sync::watch;
use tracing::{error, warn};

use super::super::shard::Held;
use super::Common;

/// The first wait after a rejection that names none; each further one is twice as long.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// The longest wait after a rejection.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// One request at a time, and what is left of it.
#[derive(Default)]
pub(super) struct Delivery {
    request: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    left: Arc<Left>,
}

#[derive(Default)]
struct Left {
    spans: AtomicUsize,
    bytes: AtomicUsize,
}

impl Left {
    fn set(&self, spans: usize, bytes: usize) {
        self.spans.store(spans, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }
}

impl Delivery {
    /// Whether nothing is on its way.
    pub(super) fn is_idle(&self) -> bool {
        self.request.is_none()
    }

    /// Sends a request off; nothing else may be on its way.
    pub(super) fn begin(
        &mut self,
        batch: Batch,
        next: Next,
        common: Arc<Common>,
        stop: watch::Receiver<Option<Instant>>,
    ) {
        let left = Arc::clone(&self.left);
        left.set(batch.items(), batch.bytes().len());
        self.request = Some(Box::pin(Courier { next, common, stop, left }.deliver(batch)));
    }

    /// Waits until the request is taken or lost; safe to be given up and called again.
    pub(super) async fn finished(&mut self) {
        if let Some(request) = &mut self.request {
            request.await;
            self.request = None;
        }
    }

    /// What the next component has not taken yet.
    pub(super) fn held(&self) -> Held {
        Held {
            spans: self.left.spans.load(Ordering::Relaxed),
            bytes: self.left.bytes.load(Ordering::Relaxed),
            ..Held::default()
        }
    }
}

struct Courier {
    next: Next,
    common: Arc<Common>,
    stop: watch::Receiver<Option<Instant>>,
    left: Arc<Left>,
}

impl Courier {
    /// Hands a batch to the next component, as often as it takes, until a stop's deadline.
    async fn deliver(self, mut batch: Batch) {
        let forwarded = &self.common.metrics.forwarded_spans;
        let mut backoff = FIRST_BACKOFF;
        loop {
            let spans = batch.items();
            let outcome = tokio::select! {
                biased;
                outcome = self.next.consume(batch.clone()) => outcome,
                () = deadline(self.stop.clone()) => {
                    self.lose_at_shutdown(&batch);
                    break;
                }
            };
            let Err(rejected) = outcome else {
                forwarded.increment(spans as u64);
                break;
            };
            forwarded.increment(spans.saturating_sub(rejected.batch.items()) as u64);
            if rejected.kind == RejectedKind::Permanent {
                self.lose_rejected(&rejected);
                break;
            }
            self.warn_of_wait(&rejected);
            batch = rejected.batch;
            self.left.set(batch.items(), batch.bytes().len());
            tokio::select! {
                biased;
                () = deadline(self.stop.clone()) => {
                    self.lose_at_shutdown(&batch);
                    break;
                }
                () = tokio::time::sleep(rejected.retry_after.unwrap_or(backoff).min(MAX_BACKOFF)) => {}
            }
            backoff = (backoff * 2).min(MAX_BACKOFF);
        }
        self.left.set(0, 0);
    }

    fn lose_rejected(&self, rejected: &Rejected) {
        let spans = rejected.batch.items();
        self.common.lost_rejected.spans.increment(spans as u64);
        self.common.losses.add(spans);
        if let Some(suppressed) = self.common.thin.pass(clock::now()) {
            let (processor, reason) = (&self.common.id, &rejected.reason);
            error!(processor, spans, %reason, suppressed, "spans of sampled traces were rejected for good and are lost");
        }
    }

    fn lose_at_shutdown(&self, batch: &Batch) {
        let spans = batch.items();
        self.common.lost_shutdown.spans.increment(spans as u64);
        self.common.losses.add(spans);
        if let Some(suppressed) = self.common.thin.pass(clock::now()) {
            let processor = &self.common.id;
            error!(
                processor,
                spans,
                suppressed,
                "spans of sampled traces were not taken before the process had to stop and are lost"
            );
        }
    }

    fn warn_of_wait(&self, rejected: &Rejected) {
        if let Some(suppressed) = self.common.thin.pass(clock::now()) {
            let (processor, reason, spans) =
                (&self.common.id, &rejected.reason, rejected.batch.items());
            warn!(processor, spans, %reason, suppressed, "decisions wait for the next component");
        }
    }
}

/// Waits for the deadline of a stop.
async fn deadline(mut stop: watch::Receiver<Option<Instant>>) {
    let deadline = match stop.wait_for(Option::is_some).await {
        Ok(deadline) => *deadline,
        // The processor was dropped without a stop: nobody waits for what it holds.
        Err(_) => None,
    };
    if let Some(deadline) = deadline {
        tokio::time::sleep_until(deadline.into()).await;
    }
}
