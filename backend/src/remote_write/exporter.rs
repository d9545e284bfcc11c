//! Takes batches in, and ends what is under way.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use http::Uri;
use metrics::{Counter, Gauge};
use shared::queue::{Counts, QueueMetrics, enqueue_failed};
use shared::service::{BuildError, Context};
use shared::telemetry::thin::Thin;
use shared::{Batch, Consumer, Rejected, Signal};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::client::{self, Client};
use super::config::{Message, RemoteWriteConfig};
use super::feed::{Feed, Logged, Queued};
use super::metrics::{Dropped, RemoteWriteMetrics};
use super::row::{Delivery, Inbox};
use super::ticket::{Account, Keeper, Taken, Ticket, Waiter};
use super::translate::Settings;
use super::wal::{Log, NotWritten};

/// What a sender is told when the exporter ends.
const STOPPING: &str = "the exporter is stopping";

/// The exporter. It works until it is shut down or dropped.
pub(super) struct RemoteWriteExporter {
    exporter: String,
    intake: Intake,
    account: Arc<Account>,
    stopping: CancellationToken,
    tasks: Mutex<JoinSet<()>>,
}

/// Where batches go.
enum Intake {
    Queue(Queue),
    /// Senders wait for the outcome.
    Direct(mpsc::Sender<Queued>),
    Log(Logged, Counter),
}

struct Queue {
    room: Arc<Semaphore>,
    channel: mpsc::Sender<Queued>,
    size: Gauge,
    enqueue_failed: Counter,
    _capacity: Capacity,
}

/// The capacity as long as the queue lives.
struct Capacity(Gauge, f64);

impl Drop for Capacity {
    fn drop(&mut self) {
        self.0.decrement(self.1);
    }
}

impl RemoteWriteExporter {
    /// Starts the exporter's tasks in the current runtime.
    ///
    /// # Errors
    /// When the endpoint, a TLS file, the authenticator or the write-ahead log cannot be used.
    pub(super) fn start(config: &RemoteWriteConfig, ctx: &Context) -> Result<Self, BuildError> {
        let exporter = ctx.id.to_string();
        let endpoint = client::label(config)?;
        let metrics = RemoteWriteMetrics::new(&[("exporter", &exporter), ("endpoint", &endpoint)]);
        let account = Arc::new(Account {
            counts: Counts::new(&exporter, Signal::Metrics, destination(config).as_ref()),
            dropped: Dropped::new(&exporter),
            losses: Arc::clone(&ctx.losses),
            cut_off: AtomicU64::new(0),
        });
        let stopping = CancellationToken::new();
        let logged = match config.wal.as_ref() {
            None => None,
            Some(wal) => Some(Logged {
                log: Arc::new(Log::open(wal, &exporter).map_err(|error| {
                    BuildError::new(format!("write-ahead log in {:?}: {error}", wal.directory))
                })?),
                config: wal.clone(),
                account: Arc::clone(&account),
                written: Arc::new(Notify::new()),
            }),
        };
        let mut retry = config.retry();
        if logged.is_some() {
            // What waits is bounded by the log, and its senders were told that it is safe.
            retry.max_elapsed_time = std::time::Duration::ZERO;
        }
        let delivery = Arc::new(Delivery {
            exporter: exporter.clone(),
            client: Client::new(config, &ctx.commons, metrics.clone())?,
            in_flight: account.counts.flight.in_flight.clone(),
            message: config.protobuf_message,
            max_bytes: config.max_batch_size(),
            retry,
            is_logged: logged.is_some(),
            stopping: stopping.clone(),
            retried: Thin::new(),
            dropped: Thin::new(),
        });
        let mut tasks = JoinSet::new();
        let mut rows = Vec::new();
        for _ in 0..config.parallelism() {
            let (inbox, waiting) = Inbox::new(delivery.max_bytes);
            tasks.spawn(Arc::clone(&delivery).run(waiting));
            rows.push(inbox);
        }
        metrics.consumers.set(as_gauge(rows.len()));
        let feed = Feed {
            exporter: exporter.clone(),
            settings: Settings::new(config),
            rows,
            sends_families: config.send_metadata && config.protobuf_message == Message::V1,
            metrics,
            failed: Thin::new(),
        };
        let intake = Intake::start(config, &exporter, feed, logged, (&mut tasks, &stopping));
        Ok(Self { exporter, intake, account, stopping, tasks: Mutex::new(tasks) })
    }
}

#[cfg(test)]
impl RemoteWriteExporter {
    /// Ends it at once, as when the process is killed.
    pub(super) async fn kill(self) {
        let mut tasks = self.tasks.into_inner().unwrap();
        tasks.shutdown().await;
    }
}

impl Intake {
    fn start(
        config: &RemoteWriteConfig,
        exporter: &str,
        feed: Feed,
        logged: Option<Logged>,
        (tasks, stopping): (&mut JoinSet<()>, &CancellationToken),
    ) -> Self {
        if let Some(logged) = logged {
            tasks.spawn(feed.work_off_log(logged.clone(), stopping.clone()));
            tasks.spawn(logged.clone().keep_short(stopping.clone()));
            return Intake::Log(logged, enqueue_failed(exporter, Signal::Metrics));
        }
        let queue = &config.remote_write_queue;
        if !queue.enabled {
            let (channel, queued) = mpsc::channel(1);
            tasks.spawn(feed.work_off_queue(queued, stopping.clone()));
            return Intake::Direct(channel);
        }
        let capacity = queue.queue_size.min(Semaphore::MAX_PERMITS);
        // Every queued batch holds a permit, so the channel never lacks room for it.
        let (channel, queued) = mpsc::channel(capacity);
        tasks.spawn(feed.work_off_queue(queued, stopping.clone()));
        let labels = [("exporter", exporter), ("data_type", Signal::Metrics.name())];
        let metrics = QueueMetrics::new(&labels);
        metrics.capacity.increment(as_gauge(capacity));
        Intake::Queue(Queue {
            room: Arc::new(Semaphore::new(capacity)),
            channel,
            size: metrics.size,
            enqueue_failed: enqueue_failed(exporter, Signal::Metrics),
            _capacity: Capacity(metrics.capacity, as_gauge(capacity)),
        })
    }
}

impl Queue {
    fn take(&self, account: &Arc<Account>, batch: Batch) -> Result<(), Rejected> {
        let refuse = |batch: Batch, why| {
            self.enqueue_failed.increment(batch.items() as u64);
            Err(Rejected::refused(batch, why))
        };
        let room = match Arc::clone(&self.room).try_acquire_owned() {
            Ok(room) => room,
            Err(TryAcquireError::NoPermits) => return refuse(batch, "sending queue is full"),
            Err(TryAcquireError::Closed) => return refuse(batch, STOPPING),
        };
        let queued = self.queued(account, batch.clone(), room);
        match self.channel.try_send(queued) {
            Ok(()) => Ok(()),
            Err(error) => {
                error.into_inner().withdraw();
                refuse(batch, STOPPING)
            }
        }
    }

    fn queued(&self, account: &Arc<Account>, batch: Batch, room: OwnedSemaphorePermit) -> Queued {
        let taken = Some(Taken::new(&self.size));
        Queued::new(batch, Ticket::new(account, Keeper::Queue, Some(room), taken))
    }
}

/// Hands a batch over and waits for what becomes of it.
async fn deliver(
    channel: &mpsc::Sender<Queued>,
    account: &Arc<Account>,
    batch: Batch,
) -> Result<(), Rejected> {
    let Ok(place) = channel.reserve().await else {
        return Err(Rejected::refused(batch, STOPPING));
    };
    let (answer, outcome) = oneshot::channel();
    let waiter = Waiter { batch: batch.clone(), answer, failure: None };
    let keeper = Keeper::Sender(Mutex::new(Some(waiter)));
    place.send(Queued::new(batch, Ticket::new(account, keeper, None, None)));
    outcome.await.expect("a ticket answers when it is dropped")
}

async fn write(logged: &Logged, batch: Batch) -> Result<(), Rejected> {
    let (log, request) = (Arc::clone(&logged.log), batch.bytes().clone());
    let reason = match tokio::task::spawn_blocking(move || log.append(&request)).await {
        Ok(Ok(())) => {
            logged.written.notify_one();
            return Ok(());
        }
        Ok(Err(NotWritten::Full)) => "the write-ahead log is full",
        Ok(Err(NotWritten::Io(error))) => {
            error!(%error, "cannot write to the write-ahead log");
            "the write-ahead log cannot be written"
        }
        Err(error) => {
            error!(%error, "writing to the write-ahead log broke");
            "the write-ahead log cannot be written"
        }
    };
    Err(Rejected::refused(batch, reason))
}

#[async_trait]
impl Consumer for RemoteWriteExporter {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        if batch.items() == 0 {
            return Ok(());
        }
        match &self.intake {
            Intake::Queue(queue) => queue.take(&self.account, batch),
            Intake::Direct(channel) => deliver(channel, &self.account, batch).await,
            Intake::Log(..) if self.stopping.is_cancelled() => {
                Err(Rejected::refused(batch, STOPPING))
            }
            Intake::Log(logged, enqueue_failed) => {
                write(logged, batch).await.inspect_err(|rejected| {
                    enqueue_failed.increment(rejected.batch.items() as u64);
                })
            }
        }
    }

    async fn shutdown(&self, deadline: Instant) {
        if let Intake::Queue(queue) = &self.intake {
            queue.room.close();
        }
        self.stopping.cancel();
        let mut tasks = {
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *tasks)
        };
        let all = async {
            while let Some(ended) = tasks.join_next().await {
                if let Err(error) = ended {
                    error!(exporter = self.exporter, %error, "a task of the exporter broke");
                }
            }
        };
        let in_time = tokio::time::timeout_at(deadline.into(), all).await.is_ok();
        if !in_time {
            tasks.shutdown().await;
        }
        if let Intake::Log(logged, _) = &self.intake {
            logged.truncate().await;
        }
        let items = self.account.cut_off.load(Ordering::Relaxed);
        if items > 0 {
            error!(
                exporter = self.exporter,
                dropped_items = items,
                "stopped before everything was sent, dropping data"
            );
        }
    }
}

/// Host and port of the receiver, as labels.
fn destination(config: &RemoteWriteConfig) -> Option<(String, u16)> {
    let url: Uri = config.client().endpoint.parse().ok()?;
    let default = if url.scheme_str() == Some("https") { 443 } else { 80 };
    Some((url.host()?.to_owned(), url.port_u16().unwrap_or(default)))
}

#[allow(clippy::cast_precision_loss, reason = "gauges are doubles; sizes are far below 2^53")]
fn as_gauge(size: usize) -> f64 {
    size as f64
}
