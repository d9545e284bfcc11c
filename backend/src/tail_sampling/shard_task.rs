//! The task that owns a shard: its inbox, its clock, and the way out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::service::Losses;
use shared::telemetry::memory;
use shared::telemetry::thin::Thin;
use shared::{Batch, Next, Rejected, RejectedKind, clock};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::MissedTickBehavior;
use tracing::{error, warn};

use super::evaluate::Policies;
use super::inspection::Question;
use super::metrics::Handles;
use super::shard::{Held, Shard, Take};

/// How often due traces are looked for, and how much later than its deadline a trace is judged.
const TICK: Duration = Duration::from_millis(50);
/// Ticks between two looks for memory to give back.
const TICKS_TO_TRIM: u32 = 20;
/// Traces judged before other tasks get their turn.
const SLICE: usize = 256;
/// Bytes of the buffer sealed before other tasks get their turn.
const UPKEEP_SLICE: usize = 128 << 10;
/// The first wait after a rejection that names none; each further one is twice as long.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// The longest wait after a rejection.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// A batch for a shard, with the room it takes in the inbox.
pub(super) struct Message {
    /// The batch.
    pub(super) batch: Batch,
    /// Given back when the batch is in the shard.
    pub(super) room: OwnedSemaphorePermit,
    /// Counts the batch as held until then.
    pub(super) held: memory::Held,
}

/// See the module's head.
pub(super) struct ShardTask {
    /// The shard.
    pub(super) shard: Shard,
    /// Where batches come in.
    pub(super) inbox: mpsc::Receiver<Message>,
    /// What operators ask.
    pub(super) questions: mpsc::Receiver<Question>,
    /// Where sampled spans go.
    pub(super) next: Next,
    /// The deadline of a stop, once there is one.
    pub(super) stop: watch::Receiver<Option<Instant>>,
    /// The shared part.
    pub(super) common: Arc<Common>,
}

/// What the tasks of a processor share.
pub(super) struct Common {
    /// The processor's id, for log lines.
    pub(super) id: String,
    /// The policies.
    pub(super) policies: Arc<Policies>,
    /// Metric handles.
    pub(super) handles: Handles,
    /// Where lost spans are noted.
    pub(super) losses: Arc<Losses>,
    /// Whether a stop throws waiting traces away.
    pub(super) drop_pending: bool,
    /// Thins the log lines of rejections.
    pub(super) thin: Thin,
}

/// What a task counts as held, and what the gauges show of it.
#[derive(Default)]
struct Accounts {
    /// Spans and bytes of the request that the next component has not taken yet.
    sending: Held,
    published: Held,
    memory: memory::Held,
}

impl ShardTask {
    /// Runs until a stop is ordered and everything has been judged and has left.
    pub(super) async fn run(mut self) {
        let mut accounts = Accounts::default();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut until_trim = TICKS_TO_TRIM;
        loop {
            tokio::select! {
                // Decisions first, so that no rush of spans can hold them up.
                biased;
                _ = self.stop.changed() => break,
                _ = ticks.tick() => {
                    self.judge(Take::Any, &mut accounts).await;
                    until_trim -= 1;
                    if until_trim == 0 {
                        self.shard.trim();
                        until_trim = TICKS_TO_TRIM;
                    }
                    self.publish(&mut accounts);
                }
                Some(question) = self.questions.recv() => answer(&mut self.shard, question),
                message = self.inbox.recv() => {
                    let Some(message) = message else { break };
                    let bytes = message.batch.bytes().len();
                    self.admit(message);
                    if self.shard.is_over_limit() {
                        self.judge(Take::Full, &mut accounts).await;
                    }
                    // Sealing keeps pace with what comes in, and catches up when nothing does.
                    self.shard.upkeep(UPKEEP_SLICE.min(2 * bytes));
                    tokio::task::yield_now().await;
                }
                () = std::future::ready(()), if self.shard.has_upkeep() => {
                    self.shard.upkeep(UPKEEP_SLICE);
                    tokio::task::yield_now().await;
                }
            }
        }
        self.finish(&mut accounts).await;
    }

    fn admit(&mut self, message: Message) {
        self.shard.admit(&message.batch, clock::now());
        drop((message.room, message.held));
    }

    /// Judges what is due and sends it off, a slice at a time.
    async fn judge(&mut self, take: Take, accounts: &mut Accounts) {
        let mut took = Duration::ZERO;
        loop {
            let begun = clock::now();
            let judged = self.shard.judge(begun, SLICE, clock::now);
            if judged == 0 {
                break;
            }
            took += clock::now().saturating_duration_since(begun);
            self.send(Take::Full, accounts).await;
            tokio::task::yield_now().await;
        }
        if !took.is_zero() {
            let latency = &self.common.handles.metrics.timer_latency;
            latency.record(took.as_secs_f64() * 1000.0);
        }
        self.send(take, accounts).await;
    }

    /// Sends requests until there is none left of the wanted size.
    async fn send(&mut self, take: Take, accounts: &mut Accounts) {
        while let Some(batch) = self.shard.take(take) {
            self.deliver(batch, accounts).await;
        }
    }

    /// Hands one batch to the next component, as often as it takes, until a stop's deadline.
    async fn deliver(&mut self, mut batch: Batch, accounts: &mut Accounts) {
        let mut backoff = FIRST_BACKOFF;
        loop {
            accounts.sending =
                Held { spans: batch.items(), bytes: batch.bytes().len(), ..Held::default() };
            self.publish(accounts);
            let spans = batch.items();
            let Some(outcome) = self.attempt(batch.clone()).await else {
                self.lose_at_shutdown(&batch);
                break;
            };
            let Err(rejected) = outcome else {
                self.common.handles.metrics.forwarded_spans.increment(spans as u64);
                break;
            };
            let taken = spans.saturating_sub(rejected.batch.items());
            self.common.handles.metrics.forwarded_spans.increment(taken as u64);
            if rejected.kind == RejectedKind::Permanent {
                self.lose_rejected(&rejected);
                break;
            }
            self.warn_of_wait(&rejected);
            batch = rejected.batch;
            let wait = rejected.retry_after.unwrap_or(backoff).min(MAX_BACKOFF);
            if self.until_deadline(tokio::time::sleep(wait)).await.is_none() {
                self.lose_at_shutdown(&batch);
                break;
            }
            backoff = (backoff * 2).min(MAX_BACKOFF);
        }
        accounts.sending = Held::default();
    }

    /// What the next component makes of `batch`; nothing if a stop's deadline comes before.
    async fn attempt(&mut self, batch: Batch) -> Option<Result<(), Rejected>> {
        let next = Arc::clone(&self.next);
        self.until_deadline(next.consume(batch)).await
    }

    /// What comes of `work`, unless a stop's deadline comes before. Operators are answered
    /// meanwhile: that nothing is taken any more is when they ask.
    async fn until_deadline<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = std::pin::pin!(work);
        let mut deadline = std::pin::pin!(deadline(self.stop.clone()));
        loop {
            tokio::select! {
                biased;
                outcome = &mut work => return Some(outcome),
                () = &mut deadline => return None,
                Some(question) = self.questions.recv() => answer(&mut self.shard, question),
            }
        }
    }

    /// Takes in what is left in the inbox, judges everything, and sends it until the deadline.
    async fn finish(mut self, accounts: &mut Accounts) {
        self.inbox.close();
        while let Some(message) = self.inbox.recv().await {
            self.admit(message);
        }
        if self.common.drop_pending {
            self.shard.discard();
        }
        self.shard.close();
        self.judge(Take::Any, accounts).await;
        self.shard.trim();
        self.publish(accounts);
    }

    fn lose_rejected(&self, rejected: &Rejected) {
        let spans = rejected.batch.items();
        self.common.handles.lost_rejected.spans.increment(spans as u64);
        self.common.losses.add(spans);
        if let Some(suppressed) = self.common.thin.pass(clock::now()) {
            let (processor, reason) = (&self.common.id, &rejected.reason);
            error!(processor, spans, %reason, suppressed, "spans of sampled traces were rejected for good and are lost");
        }
    }

    fn lose_at_shutdown(&self, batch: &Batch) {
        let spans = batch.items();
        self.common.handles.lost_shutdown.spans.increment(spans as u64);
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

    fn publish(&mut self, accounts: &mut Accounts) {
        let (mut held, sending) = (self.shard.held(), accounts.sending);
        held.spans += sending.spans;
        held.bytes += sending.bytes;
        let remembered: usize = held.remembered.iter().map(|remembered| remembered.bytes).sum();
        accounts.memory.resize(held.bytes + remembered);
        let tally = self.shard.take_tally();
        self.common.handles.publish(&tally, held, &mut accounts.published);
        let panics = self.common.policies.take_panics();
        self.common.handles.metrics.evaluation_errors.increment(panics);
    }
}

/// Tells an operator what is known about a trace.
fn answer(shard: &mut Shard, question: Question) {
    let known = shard.inspect(&question.id, clock::now());
    // Who asked may have gone.
    drop(question.answer.send(known));
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
