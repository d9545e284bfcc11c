//! A row: what waits for the receiver, of the series that have their place here, and the one
//! request that is under way.
//!
//! A series is always in the same row, and a row has one request under way at a time, so the
//! samples of a series arrive in their order whatever fails and is tried again.

use std::sync::Arc;

use metrics::Gauge;
use shared::clock;
use shared::queue::{RetryConfig, Schedule, Verdict};
use shared::telemetry::thin::Thin;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::client::{Client, Outcome};
use super::config::Message;
use super::reason::Reason;
use super::request::{Backlog, Finality, Outgoing, Part, Share};
use super::ticket::Taken;

/// How many batches may wait in a row; they are bounded by their bytes before that.
const MAX_PARTS: usize = 1024;

/// What all rows of an exporter share.
pub(super) struct Delivery {
    pub(super) exporter: String,
    pub(super) client: Client,
    pub(super) in_flight: Gauge,
    pub(super) message: Message,
    pub(super) max_bytes: usize,
    pub(super) retry: RetryConfig,
    /// Whether what cannot be delivered stays in a log.
    pub(super) is_logged: bool,
    /// Once cancelled, no wait is begun or continued: one more attempt, and that is final.
    pub(super) stopping: CancellationToken,
    pub(super) retried: Thin,
    pub(super) dropped: Thin,
}

/// The way into a row.
pub(super) struct Inbox {
    parts: mpsc::Sender<Part>,
    /// In bytes.
    room: Arc<Semaphore>,
    capacity: usize,
}

impl Inbox {
    /// A row, to be run.
    pub(super) fn new(max_bytes: usize) -> (Self, mpsc::Receiver<Part>) {
        let (parts, waiting) = mpsc::channel(MAX_PARTS);
        // The next request is waiting while one is under way.
        let capacity = (2 * max_bytes).min(Semaphore::MAX_PERMITS >> 1);
        (Self { parts, room: Arc::new(Semaphore::new(capacity)), capacity }, waiting)
    }

    /// Waits for room and adds a part.
    pub(super) async fn put(&self, part: Part) {
        let size = part.size_bytes().clamp(1, self.capacity);
        let permits = u32::try_from(size).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(permits).await;
        let part = match room {
            Ok(room) => part.in_room(room),
            Err(_) => part,
        };
        // A row ends after this is dropped; a part that comes too late counts as cut off.
        drop(self.parts.send(part).await);
    }
}

impl Delivery {
    /// Delivers what comes in until nothing can come any more.
    pub(super) async fn run(self: Arc<Self>, mut waiting: mpsc::Receiver<Part>) {
        let mut backlog = Backlog::default();
        loop {
            if backlog.is_empty() {
                match waiting.recv().await {
                    Some(part) => backlog.push(part),
                    None => return,
                }
            }
            while backlog.size_bytes() < self.max_bytes
                && let Ok(part) = waiting.try_recv()
            {
                backlog.push(part);
            }
            if let Some(outgoing) = backlog.next(self.message, self.max_bytes) {
                self.deliver(outgoing).await;
            }
        }
    }

    async fn deliver(&self, outgoing: Outgoing) {
        let Outgoing { body, metadata, content, shares } = outgoing;
        let metadata = metadata.as_deref();
        let _in_flight = Taken::new(&self.in_flight);
        let mut schedule = Schedule::new(&self.retry, clock::now());
        loop {
            match self.client.send(metadata, body.clone(), content).await {
                Outcome::Taken { not_written: 0 } => {
                    return shares.into_iter().for_each(Share::delivered);
                }
                Outcome::Taken { not_written } => return self.taken_in_part(shares, not_written),
                Outcome::Never { reason } => {
                    return self.give_up(shares, Reason::Rejected, Finality::Final, &reason);
                }
                Outcome::ForNow { reason, retry_after } => {
                    let now = clock::now();
                    let verdict = schedule.failed(now, retry_after, &mut rand::rng());
                    if self.stopping.is_cancelled() {
                        return self.stop(shares, &reason);
                    }
                    let Verdict::Wait(interval) = verdict else {
                        let why = Reason::RetriesExhausted;
                        return self.give_up(shares, why, Finality::ForNow, &reason);
                    };
                    if let Some(suppressed) = self.retried.pass(now) {
                        info!(
                            exporter = self.exporter,
                            error = reason,
                            ?interval,
                            suppressed,
                            "exporting failed, will retry the request after interval"
                        );
                    }
                    tokio::select! {
                        () = tokio::time::sleep(interval) => {}
                        () = self.stopping.cancelled() => {}
                    }
                }
            }
        }
    }

    /// The last attempt before the end failed.
    fn stop(&self, shares: Vec<Share>, reason: &str) {
        match self.is_logged {
            true => shares.into_iter().for_each(Share::kept),
            false => self.give_up(shares, Reason::Shutdown, Finality::ForNow, reason),
        }
    }

    fn give_up(&self, shares: Vec<Share>, why: Reason, finality: Finality, reason: &str) {
        let items: usize = shares.iter().map(Share::items).sum();
        if let Some(suppressed) = self.dropped.pass(clock::now()) {
            error!(
                exporter = self.exporter,
                dropped_items = items,
                why = why.name(),
                error = reason,
                suppressed,
                "exporting failed, dropping data"
            );
        }
        for share in shares {
            share.failed(why, finality, reason);
        }
    }

    /// The receiver says how many samples it left out, and not which: as many data points are
    /// taken for lost.
    fn taken_in_part(&self, shares: Vec<Share>, not_written: u64) {
        if let Some(suppressed) = self.dropped.pass(clock::now()) {
            warn!(
                exporter = self.exporter,
                not_written, suppressed, "the receiver did not write all samples that it took"
            );
        }
        let mut left = usize::try_from(not_written).unwrap_or(usize::MAX);
        for share in shares {
            let lost = left.min(share.items());
            left -= lost;
            match lost {
                0 => share.delivered(),
                lost => share.not_written(lost, "the receiver did not write all samples"),
            }
        }
    }
}
