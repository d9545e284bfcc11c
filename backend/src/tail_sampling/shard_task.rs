//! The task that owns a shard: its inbox, its clock, and the way out.
//!
//! With each slice of spans that is taken in goes a slice of judging, small ones also of large
//! requests and giant traces, so that neither holds the other up; and while a request is on its way
//! out both go on, so that a slow next component delays no decision. What such a component does not
//! take fills the way out, then the inboxes, and so pushes back.

use std::collections::VecDeque;
use std::future::ready;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::service::Losses;
use shared::telemetry::memory;
use shared::telemetry::thin::Thin;
use shared::{Batch, Next, clock};
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc, watch};
use tokio::time::MissedTickBehavior;

use super::inspection::Question;
use super::metrics::{LostMetrics, Metrics};
use super::regime::Regime;
use super::shard::{Held, Shard, Take};
use super::slices::slices;

mod delivery;

use delivery::Delivery;

/// How often due traces are looked for, and how much later than its deadline a trace is judged.
pub(super) const TICK: Duration = Duration::from_millis(50);
/// Ticks between two looks for memory to give back.
pub(super) const TICKS_TO_TRIM: u32 = 20;
/// Traces judged before spans are taken in and other tasks get their turn: a fraction of a
/// millisecond.
pub(super) const SLICE: usize = 256;
/// Bytes of the buffer sealed before other tasks get their turn.
pub(super) const UPKEEP_SLICE: usize = 128 << 10;
/// The same after a batch came in, for each of its bytes: so sealing keeps pace.
const UPKEEP_FACTOR: usize = 2;
/// Bytes that may wait for the request before them to be taken; nothing more is taken in then.
const OUTGOING_BYTES: usize = 4 << 20;

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
    /// Tells those who wait for it that a batch came in.
    pub(super) knock: Arc<Notify>,
    /// What operators ask.
    pub(super) questions: mpsc::Receiver<Question>,
    /// Where sampled spans go.
    pub(super) next: Next,
    /// The deadline of a stop, once there is one.
    pub(super) stop: watch::Receiver<Option<Instant>>,
    /// What is in force.
    pub(super) regime: Arc<Regime>,
    /// What is to be.
    pub(super) regimes: watch::Receiver<Arc<Regime>>,
    /// The shared part.
    pub(super) common: Arc<Common>,
}

/// What the tasks of a processor share.
pub(super) struct Common {
    /// The processor's id, for log lines.
    pub(super) id: String,
    /// Metrics that do not depend on the policies.
    pub(super) metrics: Metrics,
    /// Spans lost because the next component rejected them for good.
    pub(super) lost_rejected: LostMetrics,
    /// Spans lost because the process had to stop.
    pub(super) lost_shutdown: LostMetrics,
    /// Where lost spans are noted.
    pub(super) losses: Arc<Losses>,
    /// Thins the log lines of rejections.
    pub(super) thin: Thin,
}

/// What is left of a batch that is being taken in, and what it holds until then.
struct Arriving {
    slices: VecDeque<Batch>,
    _room: OwnedSemaphorePermit,
    _held: memory::Held,
}

/// Where a task is with its work.
#[derive(Default)]
struct Work {
    arriving: Option<Arriving>,
    delivery: Delivery,
    /// Whether there may be something to judge.
    is_judging: bool,
    flush: Flush,
    /// Time that the judging has taken.
    took: Duration,
    ticks_to_trim: u32,
    published: Held,
    memory: memory::Held,
}

/// Whether small requests leave too.
#[derive(Default, PartialEq, Eq)]
enum Flush {
    /// Only full ones.
    #[default]
    No,
    /// As soon as a tick's traces are judged.
    WhenJudged,
    /// All, until nothing is left.
    Now,
}

impl Arriving {
    fn new(Message { batch, room, held }: Message) -> Self {
        Self { slices: slices(batch), _room: room, _held: held }
    }
}

impl ShardTask {
    /// Runs until a stop is ordered and everything has been judged and has left.
    pub(super) async fn run(mut self) {
        let mut work = Work::default();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.dispatch(&mut work);
            // Spans wait for that, and the last step may have left some: headers to be let go,
            // more bytes than there may be while a segment is sealed.
            work.is_judging |= self.shard.is_over_limit();
            let may_admit = self.may_admit(&work);
            let has_upkeep = self.shard.has_upkeep();
            tokio::select! {
                biased;
                _ = self.stop.changed() => break,
                Ok(()) = self.regimes.changed() => self.change(&mut work),
                _ = ticks.tick() => self.tick(&mut work),
                () = work.delivery.finished(), if !work.delivery.is_idle() => {}
                Some(question) = self.questions.recv() => answer(&mut self.shard, question),
                () = ready(()), if may_admit && work.arriving.is_some() => {
                    self.take_in(&mut work);
                }
                message = self.inbox.recv(), if may_admit && work.arriving.is_none() => {
                    let Some(message) = message else { break };
                    work.arriving = Some(Arriving::new(message));
                    self.take_in(&mut work);
                    self.catch_up(&mut work);
                }
                () = ready(()), if work.is_judging => self.judge(&mut work),
                () = ready(()), if has_upkeep => {
                    self.shard.upkeep(UPKEEP_SLICE);
                }
            }
            self.give_way().await;
        }
        self.finish(&mut work).await;
    }

    /// Lets other tasks have their turn, or one of them, if that brought a batch: its bytes are still
    /// in the cache of this core, and would not be after those of others.
    async fn give_way(&self) {
        tokio::select! {
            biased;
            () = self.knock.notified() => {}
            () = tokio::task::yield_now() => {}
        }
    }

    /// Judges by another regime from now on. What happened until now is counted by the names of the
    /// former one.
    fn change(&mut self, work: &mut Work) {
        let regime = Arc::clone(&self.regimes.borrow_and_update());
        let (policies, settings) = (Arc::clone(&regime.policies), regime.settings.clone());
        let tally = self.shard.change(policies, settings);
        let former = std::mem::replace(&mut self.regime, regime);
        let held = work.published;
        former.handles.publish(&tally, held, &mut work.published);
        self.common.metrics.evaluation_errors.increment(former.policies.take_panics());
    }

    fn tick(&mut self, work: &mut Work) {
        work.is_judging = true;
        if work.flush == Flush::No {
            work.flush = Flush::WhenJudged;
        }
        work.ticks_to_trim += 1;
        if work.ticks_to_trim == TICKS_TO_TRIM {
            work.ticks_to_trim = 0;
            self.shard.trim();
        }
        self.publish(work);
    }

    /// Whether more spans may come in: not while the way out is full, nor while a limit is passed.
    fn may_admit(&self, work: &Work) -> bool {
        let is_busy = work.is_judging || !work.delivery.is_idle();
        !(self.shard.is_full()
            || is_busy && self.shard.is_over_limit()
            || self.shard.outgoing_bytes() >= OUTGOING_BYTES)
    }

    /// Takes in what may be at a time of what has arrived. Decisions go on with it, so that no rush of
    /// spans can hold them up.
    fn take_in(&mut self, work: &mut Work) {
        let Some(bytes) = self.admit(&mut work.arriving) else { return };
        self.shard.upkeep((UPKEEP_FACTOR * bytes).min(4 * UPKEEP_SLICE));
        work.is_judging |= self.shard.is_over_limit();
        if work.is_judging {
            self.judge(work);
        }
    }

    /// Takes one batch more in if batches have piled up. With one for each that arrives they would
    /// stay piled up, and each would have left the cache by its turn.
    fn catch_up(&mut self, work: &mut Work) {
        if work.arriving.is_none()
            && self.may_admit(work)
            && let Ok(message) = self.inbox.try_recv()
        {
            work.arriving = Some(Arriving::new(message));
            self.take_in(work);
        }
    }

    /// Takes the next slice in; how many bytes it has.
    fn admit(&mut self, arriving: &mut Option<Arriving>) -> Option<usize> {
        let slices = &mut arriving.as_mut()?.slices;
        let slice = slices.pop_front();
        if slices.is_empty() {
            *arriving = None;
        }
        let slice = slice?;
        self.shard.admit(&slice, clock::now());
        Some(slice.bytes().len())
    }

    /// Judges a slice of what is due.
    fn judge(&mut self, work: &mut Work) {
        let begun = clock::now();
        if self.shard.judge(begun, SLICE, clock::now) > 0 {
            work.took += clock::now().saturating_duration_since(begun);
            return;
        }
        work.is_judging = false;
        if work.flush == Flush::WhenJudged {
            work.flush = Flush::Now;
        }
        let took = std::mem::take(&mut work.took);
        if !took.is_zero() {
            let latency = &self.common.metrics.timer_latency;
            latency.record(took.as_secs_f64() * 1000.0);
        }
    }

    /// Sends the next request off, if none is on its way.
    fn dispatch(&mut self, work: &mut Work) {
        if !work.delivery.is_idle() {
            return;
        }
        let wanted = if work.flush == Flush::Now { Take::Any } else { Take::Full };
        match self.shard.take(wanted) {
            Some(batch) => self.deliver(batch, work),
            None if work.flush == Flush::Now => work.flush = Flush::No,
            None => {}
        }
    }

    fn deliver(&mut self, batch: Batch, work: &mut Work) {
        let (next, common) = (Arc::clone(&self.next), Arc::clone(&self.common));
        work.delivery.begin(batch, next, common, self.stop.clone());
    }

    /// Waits for the request on its way. Operators are answered meanwhile: that nothing is taken any
    /// more is when they ask.
    async fn delivered(&mut self, work: &mut Work) {
        while !work.delivery.is_idle() {
            tokio::select! {
                biased;
                () = work.delivery.finished() => {}
                Some(question) = self.questions.recv() => answer(&mut self.shard, question),
            }
        }
    }

    /// Takes in what is left in the inbox, judges everything, and sends it until the deadline.
    async fn finish(mut self, work: &mut Work) {
        self.inbox.close();
        loop {
            while self.admit(&mut work.arriving).is_some() {}
            let Some(message) = self.inbox.recv().await else { break };
            work.arriving = Some(Arriving::new(message));
        }
        if self.regime.drop_pending {
            self.shard.discard();
        }
        self.shard.close();
        loop {
            self.delivered(work).await;
            let judged = self.shard.judge(clock::now(), SLICE, clock::now);
            let wanted = if judged == 0 { Take::Any } else { Take::Full };
            match self.shard.take(wanted) {
                Some(batch) => self.deliver(batch, work),
                None if judged == 0 => break,
                None => tokio::task::yield_now().await,
            }
            self.publish(work);
        }
        self.shard.trim();
        self.publish(work);
    }

    fn publish(&mut self, work: &mut Work) {
        let (mut held, sending) = (self.shard.held(), work.delivery.held());
        held.spans += sending.spans;
        held.bytes += sending.bytes;
        let remembered: usize = held.remembered.iter().map(|remembered| remembered.bytes).sum();
        work.memory.resize(held.bytes + remembered);
        let tally = self.shard.take_tally();
        self.regime.handles.publish(&tally, held, &mut work.published);
        let panics = self.regime.policies.take_panics();
        self.common.metrics.evaluation_errors.increment(panics);
    }
}

/// Tells an operator what is known about a trace.
fn answer(shard: &mut Shard, question: Question) {
    let known = shard.inspect(&question.id, clock::now());
    // Who asked may have gone.
    drop(question.answer.send(known));
}
