//! `tail_sampling`: keeps whole traces until they can be judged, and forwards those worth keeping.
//!
//! In reading order: [`config`], [`policy`] and [`tier`] are what a user sets. A [`shard`] is the
//! pure state machine, made of the traces that wait ([`trace`], [`deadlines`]), their spans' bytes
//! in a log ([`buffer`], [`segments`], [`sealing`], [`headers`]), the policies' votes ([`sighting`],
//! [`evaluate`]), what is certain ahead of time ([`outcome`],
//! [`former`]), the decisions that are remembered ([`decision_cache`], [`fingerprints`]) and what is on its way out
//! ([`outgoing`], [`inscription`]). A [`shard_task`] gives it a clock and an inbox, and large requests in [`slices`]. This file cuts batches by shard.
//!
//! [`inspection`] tells operators what a shard knows about a trace. A [`replay`] drives a shard with
//! recorded requests, and compares two by their [`journal`]s; a [`sampler`] is one for benchmarks.
//!
//! There is a shard for each worker thread. A trace's shard comes from its id by a hash with a
//! secret seed, so it has nothing to do with the ring that sent the trace here.

mod config;
mod policy;
mod tier;

mod shard;

mod deadlines;
mod trace;
mod traces;

mod buffer;
mod headers;
mod sealing;
mod segments;
mod sighting;
mod slab;

mod decision_cache;
mod evaluate;
mod fingerprints;
mod former;
mod inscription;
mod outcome;
mod outgoing;
mod places;
mod tally;

mod inspection;
mod journal;
mod metrics;
mod regime;
mod shard_task;
mod slices;

mod replay;
mod sampler;

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use shared::service::Context;
use shared::telemetry::admin::Answers;
use shared::telemetry::memory;
use shared::telemetry::thin::Thin;
use shared::{Batch, Consumer, Next, Rejected, clock};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tracing::{debug, error};
use xxhash_rust::xxh3::xxh3_64_with_seed;

pub(crate) use config::{RECORD_POLICY_GATE, TailSamplingConfig, USE_TRACESTATE_GATE};
pub(crate) use metrics::DESCRIPTORS;
pub(crate) use replay::{Decided, Format, Replay};
pub use sampler::Sampler;

use inspection::Inspector;
use metrics::{LostMetrics, Metrics};
use policy::{Names, Stock};
use regime::Regime;
use shard::Shard;
use shard_task::{Common, Message, ShardTask};
use tier::TierSize;
use trace::TraceId;

/// Room in the inbox of a shard, in bytes of batches; a larger batch takes all of it.
const INBOX_BYTES: usize = 16 << 20;
/// Room in the inbox of a shard, in batches.
const INBOX_BATCHES: usize = 1024;
/// How long a sender waits for room before it is refused.
const INBOX_WAIT: Duration = Duration::from_millis(200);
/// When a sender that was refused should come again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Time that a stop leaves the tasks beyond its deadline to count what is lost.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The processor.
pub(crate) struct TailSampling {
    inboxes: Vec<Inbox>,
    /// Chooses a trace's shard.
    seed: u64,
    common: Arc<Common>,
    /// What the shards are to judge by.
    regime: watch::Sender<Arc<Regime>>,
    tier_size: TierSize,
    names: Mutex<Names>,
    stop: watch::Sender<Option<Instant>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    /// Answers operators for as long as it is held.
    _inspector: Arc<dyn Answers>,
}

struct Inbox {
    sender: mpsc::Sender<Message>,
    room: Arc<Semaphore>,
    /// Tells the shard, while it lets others have their turn, that something came in.
    knock: Arc<Notify>,
}

/// A place in an inbox, to be filled at once.
type Place<'a> = (OwnedSemaphorePermit, mpsc::Permit<'a, Message>);

impl TailSampling {
    /// Starts one task a worker thread of the runtime it is called in.
    fn start(config: &TailSamplingConfig, ctx: &Context, next: &Next) -> Self {
        let shards = tokio::runtime::Handle::current().metrics().num_workers().max(1);
        let mut names = Names::of(ctx.id.name.as_deref());
        let tier_size = config.tier.initial_size();
        let left = Stock::default();
        let regime = Arc::new(Regime::new(config, shards, &tier_size, &mut names, left));
        let common = Arc::new(Common {
            id: ctx.id.to_string(),
            metrics: Metrics::new(&[]),
            lost_rejected: LostMetrics::new(&[("reason", "rejected")]),
            lost_shutdown: LostMetrics::new(&[("reason", "shutdown")]),
            losses: Arc::clone(&ctx.losses),
            thin: Thin::new(),
        });
        let settings = &regime.settings;
        debug!(processor = common.id, shards, ?settings, "tail sampling starts");
        let (regimes, regime_of_shard) = watch::channel(Arc::clone(&regime));
        let (stop, stopped) = watch::channel(None);
        if config.tier.is_set() {
            let members = config.tier.members.build();
            tokio::spawn(tier::follow(
                common.id.clone(),
                tier_size.clone(),
                members,
                stopped.clone(),
            ));
        }
        let (mut inboxes, mut tasks) = (Vec::new(), Vec::new());
        let (asking, rows) = inspection::rows(shards);
        for questions in rows {
            let (sender, inbox) = mpsc::channel(INBOX_BATCHES);
            let knock = Arc::new(Notify::new());
            let (settings, policies) = (settings.clone(), Arc::clone(&regime.policies));
            let mut shard = Shard::new(settings, policies, rand::random(), clock::now());
            shard.announce_kept(Arc::clone(ctx.commons.kept_traces()));
            let task = ShardTask {
                shard,
                regime: Arc::clone(&regime),
                regimes: regime_of_shard.clone(),
                inbox,
                knock: Arc::clone(&knock),
                questions,
                next: Arc::clone(next),
                stop: stopped.clone(),
                common: Arc::clone(&common),
            };
            tasks.push(tokio::spawn(task.run()));
            inboxes.push(Inbox { sender, room: Arc::new(Semaphore::new(INBOX_BYTES)), knock });
        }
        let (seed, tasks, names) = (rand::random(), Mutex::new(tasks), Mutex::new(names));
        let shard_of = move |id: &TraceId| shard_of(id, seed, shards);
        let inspector: Arc<dyn Answers> =
            Arc::new(Inspector::new(common.id.clone(), shard_of, asking));
        ctx.commons.admin().add("/api/traces", &inspector);
        Self {
            inboxes,
            seed,
            common,
            regime: regimes,
            tier_size,
            names,
            stop,
            tasks,
            _inspector: inspector,
        }
    }

    /// The batch's parts, each with its shard.
    fn cut(&self, batch: &Batch) -> Vec<(usize, Batch)> {
        let shards = self.inboxes.len();
        if shards == 1 {
            return vec![(0, batch.clone())];
        }
        batch.regroup_indexed(|span: &[u8]| shard_of(batch.trace_id(span), self.seed, shards))
    }

    /// Places for all parts, or none. Every sender takes them in the order of the shards.
    async fn places(&self, parts: &[(usize, Batch)]) -> Option<Vec<Place<'_>>> {
        let mut places = Vec::with_capacity(parts.len());
        for (shard, part) in parts {
            let inbox = &self.inboxes[*shard];
            let bytes = u32::try_from(part.bytes().len().min(INBOX_BYTES)).unwrap_or(u32::MAX);
            let room = Arc::clone(&inbox.room).acquire_many_owned(bytes).await.ok()?;
            places.push((room, inbox.sender.reserve().await.ok()?));
        }
        Some(places)
    }

    fn refuse(&self, batch: Batch, reason: &'static str) -> Rejected {
        self.common.metrics.refused_spans.increment(batch.items() as u64);
        Rejected::refused(batch, reason).retry_after(RETRY_AFTER)
    }
}

/// The shard of the trace `id`.
fn shard_of(id: &[u8], seed: u64, shards: usize) -> usize {
    let hash = xxh3_64_with_seed(id, seed);
    usize::try_from(hash % shards as u64).expect("there are few shards")
}

#[async_trait]
impl Consumer for TailSampling {
    /// Puts the batch into the inboxes of its shards, all of it or nothing.
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        let parts = self.cut(&batch);
        match tokio::time::timeout(INBOX_WAIT, self.places(&parts)).await {
            Ok(Some(places)) => {
                for ((room, place), (shard, batch)) in places.into_iter().zip(parts) {
                    let held = memory::Held::new(batch.bytes().len());
                    place.send(Message { batch, room, held });
                    self.inboxes[shard].knock.notify_waiters();
                }
                // A task that was woken last runs next: the shard, if nothing else is done before.
                // Then it finds the spans in this core's cache, where the check left them.
                tokio::task::yield_now().await;
                Ok(())
            }
            Ok(None) if self.stop.borrow().is_some() => Err(self.refuse(batch, "stopping")),
            Ok(None) => Err(self.refuse(batch, "a trace shard broke down")),
            Err(_) => Err(self.refuse(batch, "too many spans wait to be buffered")),
        }
    }

    fn reload(&self, section: &dyn Any) {
        let Some(config) = section.downcast_ref::<TailSamplingConfig>() else { return };
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let left = self.regime.borrow().policies.stock().clone();
        let regime = Regime::new(config, self.inboxes.len(), &self.tier_size, &mut names, left);
        self.regime.send_replace(Arc::new(regime));
    }

    async fn shutdown(&self, deadline: Instant) {
        self.stop.send_replace(Some(deadline));
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            let end = deadline + LAST_WORDS;
            match tokio::time::timeout_at(end.into(), task).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    // How many spans it held nobody knows any more, but the stop is not clean.
                    self.common.losses.add(1);
                    error!(processor = self.common.id, %error, "a trace shard broke down");
                }
                Err(_) => error!(processor = self.common.id, "a trace shard did not end in time"),
            }
        }
    }
}

#[cfg(test)]
mod differential;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
