use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::*;
use crate::config::testing::section;
use crate::consumer::RejectedKind;
use crate::service::{ComponentId, Losses};
use crate::wire::{Signal, Writer};

/// A request of this many spans.
pub(crate) fn spans(count: usize) -> Batch {
    let mut writer = Writer::new();
    writer.message(1, |entry| {
        entry.message(2, |scope| {
            for _ in 0..count {
                scope.message(2, |span| span.bytes(5, b"name"));
            }
        });
    });
    Batch::parse(Signal::Traces, writer.into_vec().into()).unwrap()
}

/// A context for an exporter called `test`.
pub(crate) fn context() -> Context {
    Context {
        id: ComponentId::parse("test").unwrap(),
        signal: Signal::Traces,
        output: Signal::Traces,
        losses: Arc::new(Losses::default()),
        instance: "test".into(),
        commons: Arc::default(),
    }
}

/// What a destination does with an attempt.
#[derive(Debug, Clone, Copy)]
enum Act {
    Take,
    /// Takes all but these and forbids to send those again.
    TakeWithout(usize),
    /// Hands these back, for now.
    Fail(usize),
    FailFor(usize, Duration),
    /// Hands the first number back, for now, and drops the second for good.
    FailAndDrop(usize, usize),
    Forbid(usize),
    Hang,
}

/// Does as it is told, and takes everything when it is told nothing.
#[derive(Default)]
struct Script {
    acts: Mutex<VecDeque<Act>>,
    attempts: Mutex<Vec<usize>>,
    taken: AtomicUsize,
}

#[async_trait]
impl Sender for Script {
    async fn send(&self, batch: Batch) -> Result<Delivered, Rejected> {
        self.attempts.lock().unwrap().push(batch.items());
        let act = self.acts.lock().unwrap().pop_front().unwrap_or(Act::Take);
        let take = |items: usize| self.taken.fetch_add(items, Ordering::Relaxed);
        let items = batch.items();
        match act {
            Act::Take => {
                take(items);
                Ok(Delivered::default())
            }
            Act::TakeWithout(rejected_items) => {
                take(items - rejected_items);
                Ok(Delivered { rejected_items, message: "odd".into() })
            }
            Act::Fail(left) => {
                take(items - left.min(items));
                Err(Rejected::retryable(spans(left.min(items)), "away"))
            }
            Act::FailFor(left, delay) => {
                Err(Rejected::retryable(spans(left), "busy").retry_after(delay))
            }
            Act::FailAndDrop(left, dropped_items) => {
                take(items - left - dropped_items);
                let rejected = Rejected::retryable(spans(left), "away in part");
                Err(Rejected { dropped_items, ..rejected })
            }
            Act::Forbid(left) => {
                take(items - left.min(items));
                Err(Rejected::permanent(spans(left.min(items)), "bad"))
            }
            Act::Hang => std::future::pending().await,
        }
    }
}

struct Rig {
    chain: Next,
    script: Arc<Script>,
    ctx: Context,
    metrics: PrometheusHandle,
}

impl Rig {
    /// A chain with this `sending_queue`, or none if it is null; no jitter.
    fn new(queue: &Value, acts: &[Act]) -> Self {
        Self::with(queue, acts, Duration::from_secs(5))
    }

    fn with(queue: &Value, acts: &[Act], timeout: Duration) -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        let metrics = recorder.handle();
        let (ctx, script) = (context(), Arc::new(Script::default()));
        script.acts.lock().unwrap().extend(acts);
        let queue = match queue {
            Value::Null => Section::none(),
            queue => {
                let (config, problems, _) = section(queue, QueueConfig::validate);
                assert_eq!(problems, [""; 0]);
                Section::on(config)
            }
        };
        let retry = RetryConfig { randomization_factor: 0.0, ..RetryConfig::default() };
        let settings = ChainSettings { timeout, retry, queue, destination: None };
        let sender = Arc::clone(&script) as Arc<dyn Sender>;
        let chain = metrics::with_local_recorder(&recorder, || chain(&ctx, settings, sender));
        Self { chain, script, ctx, metrics }
    }

    async fn consume(&self, items: usize) -> Result<(), (RejectedKind, usize, String)> {
        let outcome = self.chain.consume(spans(items)).await;
        outcome.map_err(|rejected| {
            (rejected.kind, rejected.batch.items(), rejected.reason.into_owned())
        })
    }

    async fn shutdown(&self, within: Duration) {
        self.chain.shutdown(crate::clock::now() + within).await;
    }

    /// Sizes of all attempts so far.
    fn attempts(&self) -> Vec<usize> {
        self.script.attempts.lock().unwrap().clone()
    }

    fn metric(&self, name: &str) -> u64 {
        let page = self.metrics.render();
        let line = page.lines().find(|line| line.starts_with(&format!("{name}{{")));
        let line = line.unwrap_or_else(|| panic!("{name} is not in:\n{page}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// Spans sent, failed, not enqueued, and noted as lost.
    #[track_caller]
    fn counts(&self, sent: u64, failed: u64, not_enqueued: u64, lost: u64) {
        let found = [
            self.metric("otelcol_exporter_sent_spans"),
            self.metric("otelcol_exporter_send_failed_spans"),
            match self.metrics.render().contains("enqueue_failed") {
                true => self.metric("otelcol_exporter_enqueue_failed_spans"),
                false => 0,
            },
            self.ctx.losses.total(),
        ];
        assert_eq!(found, [sent, failed, not_enqueued, lost], "sent, failed, not enqueued, lost");
    }
}

const NO_QUEUE: Value = Value::Null;
const SOON: Duration = Duration::from_secs(1);

/// Lets every other task run until it waits for something.
async fn settle() {
    tokio::time::sleep(Duration::from_nanos(1)).await;
}

#[tokio::test(start_paused = true)]
async fn only_what_was_not_delivered_is_tried_again() {
    let rig = Rig::new(&NO_QUEUE, &[Act::Fail(6), Act::Fail(2)]);
    let started = crate::clock::now();
    assert_eq!(rig.consume(10).await, Ok(()));
    assert_eq!(rig.attempts(), [10, 6, 2]);
    assert_eq!((crate::clock::now() - started).as_millis(), 5000 + 7500);
    rig.counts(10, 0, 0, 0);
}

#[tokio::test(start_paused = true)]
async fn what_got_through_before_giving_up_counts_as_sent() {
    let rig = Rig::new(&NO_QUEUE, &[Act::Fail(6), Act::Forbid(2)]);
    let reason = "not retryable error: bad".to_owned();
    assert_eq!(rig.consume(10).await, Err((RejectedKind::Permanent, 2, reason)));
    rig.counts(8, 2, 0, 0);
}

#[tokio::test(start_paused = true)]
async fn gives_up_after_the_longest_time() {
    let rig = Rig::new(&NO_QUEUE, &[Act::Fail(3); 99]);
    let reason = "no more retries left: away".to_owned();
    assert_eq!(rig.consume(3).await, Err((RejectedKind::Retryable, 3, reason)));
    assert_eq!(rig.attempts().len(), 13);
    rig.counts(0, 3, 0, 0);
}

#[tokio::test(start_paused = true)]
async fn a_destination_can_ask_for_a_longer_wait() {
    let rig = Rig::new(&NO_QUEUE, &[Act::FailFor(3, Duration::from_secs(60))]);
    let started = crate::clock::now();
    assert_eq!(rig.consume(3).await, Ok(()));
    assert_eq!((crate::clock::now() - started).as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_ends_at_its_timeout_and_is_tried_again() {
    let rig = Rig::new(&NO_QUEUE, &[Act::Hang]);
    let started = crate::clock::now();
    assert_eq!(rig.consume(3).await, Ok(()));
    assert_eq!((crate::clock::now() - started).as_secs(), 5 + 5);
    assert_eq!(rig.attempts(), [3, 3]);
}

#[tokio::test(start_paused = true)]
async fn what_a_destination_took_a_batch_without_is_lost() {
    let rig = Rig::new(&NO_QUEUE, &[Act::TakeWithout(4)]);
    assert_eq!(rig.consume(10).await, Ok(()));
    rig.counts(6, 4, 0, 4);
}

#[tokio::test(start_paused = true)]
async fn what_an_attempt_dropped_for_good_counts_as_failed_once() {
    let rig = Rig::new(&Value::Null, &[Act::FailAndDrop(4, 1), Act::Fail(2)]);
    assert_eq!(rig.consume(10).await, Ok(()));
    assert_eq!(rig.attempts(), [10, 4, 2]);
    rig.counts(9, 1, 0, 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_goes_away_leaves_the_rest_as_failed() {
    let rig = Rig::new(&NO_QUEUE, &[Act::Fail(6), Act::Hang]);
    let gone = tokio::time::timeout(Duration::from_secs(7), rig.consume(10)).await;
    assert!(gone.is_err());
    rig.counts(4, 6, 0, 0);
    assert_eq!(rig.metric("otelcol_exporter_in_flight_requests"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_hands_the_batch_back() {
    let rig = Rig::with(&json!({"queue_size": 2}), &[Act::Hang, Act::Hang], Duration::ZERO);
    assert_eq!(rig.consume(1).await, Ok(()));
    assert_eq!(rig.consume(2).await, Ok(()));
    settle().await;
    assert_eq!(rig.attempts().len(), 2, "what is being sent still takes room");
    let full = "sending queue is full".to_owned();
    assert_eq!(rig.consume(3).await, Err((RejectedKind::Refused, 3, full)));
    assert_eq!(rig.metric("otelcol_exporter_queue_size"), 2);
    assert_eq!(rig.metric("otelcol_exporter_queue_capacity"), 2);
    assert_eq!(rig.metric("otelcol_exporter_in_flight_requests"), 2);
    rig.shutdown(SOON).await;
    assert_eq!(rig.metric("otelcol_exporter_queue_size"), 0);
    rig.counts(0, 3, 3, 3);
}

#[tokio::test(start_paused = true)]
async fn room_is_counted_in_the_sizers_unit() {
    let rig = Rig::with(&json!({"queue_size": 10, "sizer": "items"}), &[Act::Hang], Duration::ZERO);
    assert_eq!(rig.consume(8).await, Ok(()));
    assert!(rig.consume(3).await.is_err());
    assert_eq!(rig.consume(2).await, Ok(()));
    let (kind, items, reason) = rig.consume(11).await.unwrap_err();
    assert_eq!(
        (kind, items, reason.as_str()),
        (RejectedKind::Permanent, 11, "element size too large")
    );
    let bytes = spans(1).bytes().len();
    let rig =
        Rig::with(&json!({"queue_size": bytes, "sizer": "bytes"}), &[Act::Hang], Duration::ZERO);
    assert_eq!(rig.consume(1).await, Ok(()));
    assert!(rig.consume(1).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_blocking_queue_waits_for_room() {
    let queue = json!({"queue_size": 1, "block_on_overflow": true});
    let rig = Rig::new(&queue, &[Act::Fail(1)]);
    let started = crate::clock::now();
    assert_eq!(rig.consume(1).await, Ok(()));
    assert_eq!(rig.consume(1).await, Ok(()));
    assert_eq!((crate::clock::now() - started).as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn no_more_than_num_consumers_send_at_a_time() {
    let rig = Rig::with(&json!({"num_consumers": 2}), &[Act::Hang; 9], Duration::ZERO);
    for _ in 0..5 {
        assert_eq!(rig.consume(1).await, Ok(()));
    }
    settle().await;
    assert_eq!(rig.attempts().len(), 2);
    assert_eq!(rig.metric("otelcol_exporter_queue_size"), 5);
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_waits_learns_the_outcome_and_gets_the_rest_back() {
    let rig = Rig::new(&json!({"wait_for_result": true}), &[Act::Take, Act::Forbid(2)]);
    assert_eq!(rig.consume(5).await, Ok(()));
    let (kind, items, _) = rig.consume(5).await.unwrap_err();
    assert_eq!((kind, items), (RejectedKind::Permanent, 2));
    rig.counts(8, 2, 0, 0);
}

#[tokio::test(start_paused = true)]
async fn callers_whose_batches_were_joined_get_their_own_back() {
    let queue = json!({"wait_for_result": true, "batch": {"min_size": 5}});
    let rig = Rig::new(&queue, &[Act::Forbid(3)]);
    let (first, second) = tokio::join!(rig.consume(3), rig.consume(4));
    assert_eq!(rig.attempts(), [7]);
    assert_eq!((first.unwrap_err().1, second.unwrap_err().1), (3, 4));
    rig.counts(4, 3, 0, 0);
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_goes_away_does_not_take_its_queued_batch_with_it() {
    let rig = Rig::new(&json!({"wait_for_result": true}), &[Act::Fail(3)]);
    let gone = tokio::time::timeout(SOON, rig.consume(3)).await;
    assert!(gone.is_err());
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(rig.attempts(), [3, 3]);
    rig.counts(3, 0, 0, 0);
}

#[tokio::test(start_paused = true)]
async fn queued_batches_are_joined_and_cut_to_size() {
    let queue = json!({"batch": {"min_size": 4, "max_size": 6}});
    let rig = Rig::new(&queue, &[]);
    for items in [1, 2, 14] {
        assert_eq!(rig.consume(items).await, Ok(()));
    }
    settle().await;
    assert_eq!(rig.attempts(), [6, 6, 5]);
    assert_eq!(rig.consume(1).await, Ok(()));
    settle().await;
    assert_eq!(rig.attempts().len(), 3, "too small to be sent before its time");
    tokio::time::sleep(Duration::from_millis(200)).await;
    settle().await;
    assert_eq!(rig.attempts().len(), 4);
    assert_eq!(rig.metric("otelcol_exporter_queue_size"), 0);
}

#[tokio::test(start_paused = true)]
async fn shutdown_gives_everything_left_one_attempt() {
    let queue = json!({"num_consumers": 1, "batch": {"min_size": 3}});
    let rig = Rig::new(&queue, &[Act::Fail(3), Act::Take, Act::Fail(3), Act::Take]);
    for items in [3, 3, 1] {
        assert_eq!(rig.consume(items).await, Ok(()));
    }
    settle().await;
    assert_eq!(rig.attempts(), [3], "the first one waits for its next attempt");
    let started = crate::clock::now();
    rig.shutdown(SOON).await;
    assert!(crate::clock::now() - started < SOON);
    assert_eq!(rig.attempts(), [3, 3, 3, 1]);
    rig.counts(4, 3, 0, 3);
    let stopping = (RejectedKind::Refused, 2, "the exporter is stopping".to_owned());
    assert_eq!(rig.consume(2).await, Err(stopping));
}

#[tokio::test(start_paused = true)]
async fn what_is_left_at_the_deadline_is_counted_as_failed() {
    let queue = json!({"num_consumers": 1, "batch": {"min_size": 2, "max_size": 2}});
    let rig = Rig::with(&queue, &[Act::Hang], Duration::ZERO);
    for items in [2, 3, 4] {
        assert_eq!(rig.consume(items).await, Ok(()));
    }
    settle().await;
    let started = crate::clock::now();
    rig.shutdown(SOON).await;
    assert_eq!((crate::clock::now() - started).as_secs(), 1);
    rig.counts(0, 9, 0, 9);
    assert_eq!(rig.metric("otelcol_exporter_queue_size"), 0);
    assert_eq!(rig.metric("otelcol_exporter_in_flight_requests"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_caller_is_answered_at_the_deadline() {
    let queue = json!({"wait_for_result": true, "num_consumers": 1});
    let rig = Rig::with(&queue, &[Act::Hang], Duration::ZERO);
    let shutdown = async {
        settle().await;
        rig.shutdown(SOON).await;
    };
    let (first, second, ()) = tokio::join!(rig.consume(2), rig.consume(3), shutdown);
    assert_eq!(first.unwrap_err().1, 2);
    assert_eq!(second.unwrap_err(), (RejectedKind::Refused, 3, "the exporter is stopping".into()));
    rig.counts(0, 5, 0, 0);
}

#[tokio::test(start_paused = true)]
async fn held_bytes_are_given_back() {
    let _alone = crate::telemetry::memory::tests::ALONE.lock().await;
    // Other tests hold bytes at the same time, so this asks for a difference they cannot make.
    let rig = Rig::with(&json!({}), &[Act::Hang], Duration::ZERO);
    let big = spans(2_000_000);
    let before = crate::telemetry::memory::held_bytes();
    assert!(rig.chain.consume(big.clone()).await.is_ok());
    settle().await;
    let held = crate::telemetry::memory::held_bytes();
    assert!(held + 1_000_000 > before + big.bytes().len() as u64);
    rig.shutdown(SOON).await;
    assert!(crate::telemetry::memory::held_bytes() + 1_000_000 < held);
}

/// Every item ends in exactly one of: sent, failed, not enqueued.
#[tokio::test(start_paused = true)]
async fn nothing_is_lost_or_counted_twice() {
    for seed in 0..60 {
        let mut rng = StdRng::seed_from_u64(seed);
        let acts: Vec<Act> = (0..40)
            .map(|_| match rng.random_range(0..6) {
                0 => Act::Fail(rng.random_range(0..5)),
                1 => Act::Forbid(rng.random_range(0..5)),
                2 => Act::Hang,
                _ => Act::Take,
            })
            .collect();
        let queue = match seed % 4 {
            0 => NO_QUEUE,
            1 => json!({"queue_size": 5, "num_consumers": 2}),
            2 => {
                json!({"queue_size": 20, "sizer": "items", "batch": {"min_size": 6, "max_size": 7}})
            }
            _ => json!({"queue_size": 3, "block_on_overflow": true, "wait_for_result": true,
                "batch": {"min_size": 4}}),
        };
        let rig = Rig::new(&queue, &acts);
        let mut given = 0;
        for _ in 0..25 {
            let items = rng.random_range(1..9);
            given += items;
            let patience = Duration::from_millis(rng.random_range(0..20_000));
            drop(tokio::time::timeout(patience, rig.consume(items)).await);
        }
        rig.shutdown(SOON).await;
        let counted = rig.metric("otelcol_exporter_sent_spans")
            + rig.metric("otelcol_exporter_send_failed_spans")
            + match rig.metrics.render().contains("enqueue_failed") {
                true => rig.metric("otelcol_exporter_enqueue_failed_spans"),
                false => 0,
            };
        match seed % 4 {
            // A caller who goes away before there is room was never taken.
            3 => assert!(counted <= given as u64, "seed {seed}: {counted} of {given}"),
            _ => assert_eq!(counted, given as u64, "seed {seed}"),
        }
        let taken = rig.script.taken.load(Ordering::Relaxed) as u64;
        assert_eq!(rig.metric("otelcol_exporter_sent_spans"), taken, "seed {seed}");
    }
}
