//! Brings batches to their rows: from the queue, or from the write-ahead log.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use shared::metadata::Metadata;
use shared::telemetry::memory::Held;
use shared::telemetry::thin::Thin;
use shared::{Batch, Signal, clock};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};
use xxhash_rust::xxh3::xxh3_64;

use super::metrics::RemoteWriteMetrics;
use super::reason::Reason;
use super::request::{Finality, Part, Share};
use super::row::Inbox;
use super::series::{Family, Point};
use super::ticket::{Account, Keeper, Ticket};
use super::translate::{Settings, Translation};
use super::wal::{Log, Record, WalConfig};

/// Puts batches, translated, into rows.
pub(super) struct Feed {
    pub(super) exporter: String,
    pub(super) settings: Settings,
    pub(super) rows: Vec<Inbox>,
    /// Whether what is known of families is sent by itself.
    pub(super) sends_families: bool,
    pub(super) metrics: RemoteWriteMetrics,
    pub(super) failed: Thin,
}

/// A batch that waits to be translated.
pub(super) struct Queued {
    batch: Batch,
    share: Share,
    held: Held,
}

impl Queued {
    pub(super) fn new(batch: Batch, ticket: Ticket) -> Self {
        let share = Share::whole(ticket, batch.items());
        let held = Held::new(batch.bytes().len());
        Self { batch, share, held }
    }

    /// Gives up its place; nothing of it is counted.
    pub(super) fn withdraw(self) {
        drop(self.share.into_ticket());
    }
}

impl Feed {
    /// Works until nothing can come any more, or until it is stopping and nothing is left.
    pub(super) async fn work_off_queue(
        self,
        mut queued: mpsc::Receiver<Queued>,
        stopping: CancellationToken,
    ) {
        loop {
            tokio::select! {
                biased;
                () = stopping.cancelled() => break,
                next = queued.recv() => match next {
                    Some(next) => self.put(next).await,
                    None => return,
                },
            }
        }
        queued.close();
        while let Some(next) = queued.recv().await {
            self.put(next).await;
        }
    }

    /// Works until it is stopping. No more batches than `ahead` are under way.
    pub(super) async fn work_off_log(self, log: Logged, stopping: CancellationToken) {
        let ahead = Arc::new(Semaphore::new(log.config.buffer_size()));
        loop {
            let room = tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                room = Arc::clone(&ahead).acquire_owned() => room,
            };
            let Ok(room) = room else { return };
            let Some(Record { position, request }) = log.next(&stopping).await else { return };
            // What was written had been checked, and its checksum is right.
            let Ok(batch) = Batch::parse(Signal::Metrics, Bytes::from(request)) else {
                error!(exporter = self.exporter, "the write-ahead log holds what is no request");
                log.log.note_corruption();
                position.done();
                continue;
            };
            let ticket = Ticket::new(&log.account, Keeper::Log(position), Some(room), None);
            self.put(Queued::new(batch, ticket)).await;
        }
    }

    async fn put(&self, Queued { batch, share, held }: Queued) {
        let translation = self.settings.translate(batch.bytes());
        let ticket = share.into_ticket();
        self.metrics.translated_time_series.increment(translation.series as u64);
        self.note_dropped(&ticket, &translation);
        let metadata = batch.metadata().cloned();
        // All parts are made at once, so that none is forgotten if this ends while it waits.
        let parts = self.parts(&ticket, metadata.as_ref(), translation);
        drop((batch, ticket, held));
        for (part, row) in parts.into_iter().zip(&self.rows) {
            if !part.is_empty() {
                row.put(part).await;
            }
        }
    }

    /// The parts of a batch, in the order of the rows.
    fn parts(
        &self,
        ticket: &Arc<Ticket>,
        metadata: Option<&Arc<Metadata>>,
        translation: Translation,
    ) -> Vec<Part> {
        let mut rows: HashMap<usize, (Vec<Point>, Vec<Arc<Family>>)> = HashMap::new();
        for point in translation.points {
            rows.entry(self.row_of(point.id)).or_default().0.push(point);
        }
        if self.sends_families {
            for family in translation.families {
                let row = self.row_of(u128::from(xxh3_64(family.name.as_bytes())));
                rows.entry(row).or_default().1.push(family);
            }
        }
        (0..self.rows.len())
            .map(|row| {
                let (points, families) = rows.remove(&row).unwrap_or_default();
                Part::new(ticket, metadata.cloned(), points, families)
            })
            .collect()
    }

    #[allow(clippy::cast_possible_truncation, reason = "less than the number of rows")]
    fn row_of(&self, id: u128) -> usize {
        (id % self.rows.len() as u128) as usize
    }

    fn note_dropped(&self, ticket: &Ticket, translation: &Translation) {
        let dropped = Reason::ALL.into_iter().zip(translation.dropped);
        let dropped: Vec<_> = dropped.filter(|(_, items)| *items > 0).collect();
        if dropped.is_empty() {
            return;
        }
        self.metrics.failed_translations.increment(1);
        for (reason, items) in &dropped {
            ticket.failed(*items, *reason, Finality::Final, &explain(*reason));
        }
        if let Some(suppressed) = self.failed.pass(clock::now()) {
            let reasons: Vec<_> = dropped
                .iter()
                .map(|(reason, items)| format!("{items}: {}", explain(*reason)))
                .collect();
            warn!(
                exporter = self.exporter,
                reasons = reasons.join("; "),
                suppressed,
                "data points cannot be sent by remote write"
            );
        }
    }
}

/// What is wrong with data points, and what helps.
fn explain(reason: Reason) -> String {
    let text = match reason {
        Reason::Temporality => {
            "invalid temporality: remote write sends cumulative sums and histograms only, so put \
             the processor delta_to_cumulative in front"
        }
        Reason::Scale => "exponential histograms with a scale below -4 have no native counterpart",
        Reason::Invalid => "no name, no time, no value, or bounds that do not ascend",
        Reason::Duplicate => "a second sample of the same series and time in one batch",
        other => other.name(),
    };
    text.to_owned()
}

/// The write-ahead log and who waits for it.
#[derive(Clone)]
pub(super) struct Logged {
    pub(super) log: Arc<Log>,
    pub(super) config: WalConfig,
    pub(super) account: Arc<Account>,
    /// Told when something was written.
    pub(super) written: Arc<Notify>,
}

impl Logged {
    /// Waits for the next batch; `None` once it is stopping.
    async fn next(&self, stopping: &CancellationToken) -> Option<Record> {
        loop {
            let log = Arc::clone(&self.log);
            match tokio::task::spawn_blocking(move || log.read()).await {
                Ok(Some(record)) => return Some(record),
                Ok(None) => {}
                Err(error) => {
                    error!(%error, "reading the write-ahead log broke");
                    return None;
                }
            }
            tokio::select! {
                () = stopping.cancelled() => return None,
                () = self.written.notified() => {}
            }
        }
    }

    /// Removes what is no longer needed, as often as it is configured and after each `buffer_size`
    /// batches, and records the lag.
    pub(super) async fn keep_short(self, stopping: CancellationToken) {
        let ticker = |every: Duration| {
            let mut ticker = tokio::time::interval(every);
            ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticker
        };
        let mut truncate = ticker(self.config.truncate_frequency());
        let mut lag = ticker(self.config.lag_record_frequency());
        let mut look = ticker(Duration::from_secs(1));
        let many = self.config.buffer_size() as u64;
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                _ = truncate.tick() => self.truncate().await,
                _ = lag.tick() => self.log.record_lag(),
                _ = look.tick() => {
                    if self.log.forgettable() >= many {
                        self.truncate().await;
                    }
                }
            }
        }
    }

    pub(super) async fn truncate(&self) {
        let log = Arc::clone(&self.log);
        match tokio::task::spawn_blocking(move || log.truncate()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                warn!(%error, "cannot remove what the write-ahead log no longer needs");
            }
            Err(error) => error!(%error, "removing from the write-ahead log broke"),
        }
    }
}
