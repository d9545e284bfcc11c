use std::collections::VecDeque;

use shared::RejectedKind;
use shared::service::{Commons, ComponentId, Losses, ProcessorConfig};
use shared::wire::Signal;

use super::policy::testing::named_policies;
use super::testing::{TestSpan, batch, read};
use super::*;

/// A next component that answers by a script, and then takes everything.
#[derive(Default)]
struct Sink {
    script: Mutex<VecDeque<Answer>>,
    taken: Mutex<Vec<TestSpan>>,
    calls: Notify,
}

#[derive(Clone, Copy)]
enum Answer {
    Reject(RejectedKind),
    /// Takes all but the last so many spans.
    TakeBut(usize),
    Hang,
}

impl Sink {
    fn new(script: &[Answer]) -> Arc<Self> {
        Arc::new(Self { script: Mutex::new(script.to_vec().into()), ..Self::default() })
    }

    fn taken(&self) -> Vec<u64> {
        let mut numbers: Vec<u64> =
            self.taken.lock().unwrap().iter().map(|span| span.number).collect();
        numbers.sort_unstable();
        numbers
    }
}

#[async_trait]
impl Consumer for Sink {
    async fn consume(&self, request: Batch) -> Result<(), Rejected> {
        self.calls.notify_one();
        let answer = self.script.lock().unwrap().pop_front();
        let (mut spans, _) = read(&request);
        let left = match answer {
            None => Vec::new(),
            Some(Answer::Reject(kind)) => {
                return Err(Rejected { kind, ..Rejected::refused(request, "told to") });
            }
            Some(Answer::TakeBut(count)) => spans.split_off(spans.len() - count),
            Some(Answer::Hang) => std::future::pending().await,
        };
        self.taken.lock().unwrap().extend(spans);
        match left.is_empty() {
            true => Ok(()),
            false => Err(Rejected::retryable(batch(&left), "the rest")),
        }
    }
}

const ALL: &str = "{name: all, type: always_sample}";
const WAIT: Duration = Duration::from_secs(10);

fn config() -> TailSamplingConfig {
    TailSamplingConfig {
        decision_wait: WAIT,
        policies: named_policies(&[ALL]),
        max_buffer_bytes: Some(1 << 30),
        early_release: false,
        ..TailSamplingConfig::default()
    }
}

fn start(config: &TailSamplingConfig, sink: &Arc<Sink>) -> (Next, Arc<Losses>) {
    start_among(&Arc::default(), config, sink)
}

fn start_among(
    commons: &Arc<Commons>,
    config: &TailSamplingConfig,
    sink: &Arc<Sink>,
) -> (Next, Arc<Losses>) {
    let losses = Arc::new(Losses::default());
    let ctx = Context {
        id: ComponentId::parse("tail_sampling").unwrap(),
        signal: Signal::Traces,
        output: Signal::Traces,
        losses: Arc::clone(&losses),
        instance: "here".into(),
        commons: Arc::clone(commons),
    };
    let next: Next = Arc::<Sink>::clone(sink);
    (config.build(&ctx, next).unwrap(), losses)
}

fn in_a_minute() -> Instant {
    clock::now() + Duration::from_secs(60)
}

/// Lets the shards empty their inboxes: their tasks run when this one waits.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_in_its_shard_when_its_sender_is_answered() {
    let sink = Sink::new(&[]);
    let commons = Arc::default();
    let (processor, _) = start_among(&commons, &config(), &sink);
    settle().await;
    for number in 1..=3 {
        processor.consume(batch(&[TestSpan::new(number, number)])).await.unwrap();
        // Operators are answered before anything is taken in.
        let answer = commons.admin().ask(&format!("/api/traces/{number:032x}")).await.unwrap();
        assert_eq!(answer[0]["state"], "buffered", "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_decision_comes_within_100_ms_of_its_deadline() {
    for wait in [Duration::from_millis(1), Duration::from_millis(1234), WAIT] {
        let sink = Sink::new(&[]);
        let config = TailSamplingConfig { decision_wait: wait, ..config() };
        let (processor, _) = start(&config, &sink);
        settle().await;
        let begun = clock::now();
        processor.consume(batch(&[TestSpan::new(1, 1)])).await.unwrap();
        sink.calls.notified().await;
        let took = clock::now() - begun;
        assert!(took >= wait && took <= wait + Duration::from_millis(100), "{took:?} for {wait:?}");
        processor.shutdown(in_a_minute()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejected_request_is_tried_again_and_only_its_rest() {
    let sink = Sink::new(&[
        Answer::Reject(RejectedKind::Refused),
        Answer::Reject(RejectedKind::Retryable),
        Answer::TakeBut(2),
    ]);
    let (processor, losses) = start(&config(), &sink);
    let spans: Vec<TestSpan> = (1..=5).map(|number| TestSpan::new(number, number)).collect();
    processor.consume(batch(&spans)).await.unwrap();
    for _ in 0..4 {
        sink.calls.notified().await;
    }
    settle().await;
    assert_eq!(sink.taken(), [1, 2, 3, 4, 5]);
    assert_eq!(losses.total(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_rejected_for_good_is_counted_as_lost() {
    let sink = Sink::new(&[Answer::Reject(RejectedKind::Permanent)]);
    let (processor, losses) = start(&config(), &sink);
    processor.consume(batch(&[TestSpan::new(1, 1), TestSpan::new(2, 2)])).await.unwrap();
    sink.calls.notified().await;
    settle().await;
    assert_eq!(losses.total(), 2);
    processor.consume(batch(&[TestSpan::new(3, 3)])).await.unwrap();
    processor.shutdown(in_a_minute()).await;
    assert_eq!((sink.taken(), losses.total()), (vec![3], 2));
}

#[tokio::test(start_paused = true)]
async fn a_full_inbox_hands_the_whole_batch_back() {
    let sink = Sink::new(&[Answer::Hang]);
    // One trace of one span too many sends the shard off to a component that never answers.
    let config = TailSamplingConfig { num_traces: 1, ..config() };
    let (processor, _) = start(&config, &sink);
    let sent = |number| batch(&[TestSpan { padding: 7 << 20, ..TestSpan::new(number, number) }]);
    processor.consume(sent(1)).await.unwrap();
    processor.consume(sent(2)).await.unwrap();
    sink.calls.notified().await;
    // The next one is judged although the one before is still on its way, and fills the way out.
    processor.consume(sent(3)).await.unwrap();
    settle().await;
    processor.consume(sent(4)).await.unwrap();
    processor.consume(sent(5)).await.unwrap();
    let begun = clock::now();
    let rejected = processor.consume(sent(6)).await.unwrap_err();
    assert_eq!(rejected.kind, RejectedKind::Refused);
    assert_eq!(rejected.batch, sent(6));
    assert_eq!(rejected.retry_after, Some(RETRY_AFTER));
    assert_eq!(clock::now() - begun, INBOX_WAIT);
}

#[tokio::test(start_paused = true)]
async fn blocked_senders_are_refused_until_a_trace_is_due() {
    let sink = Sink::new(&[]);
    let config = TailSamplingConfig { num_traces: 1, block_on_overflow: true, ..config() };
    let (processor, _) = start(&config, &sink);
    let sent = |number| batch(&[TestSpan { padding: 9 << 20, ..TestSpan::new(number, number) }]);
    processor.consume(sent(1)).await.unwrap();
    processor.consume(sent(2)).await.unwrap();
    settle().await;
    processor.consume(sent(3)).await.unwrap();
    let rejected = processor.consume(sent(4)).await.unwrap_err();
    assert_eq!((rejected.kind, sink.taken()), (RejectedKind::Refused, vec![]));
    tokio::time::sleep(WAIT).await;
    settle().await;
    processor.consume(sent(4)).await.unwrap();
    assert_eq!(sink.taken(), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn spans_are_taken_in_while_a_request_under_many_headers_is_on_its_way() {
    let sink = Sink::new(&[Answer::Hang]);
    let commons = Arc::default();
    let (processor, _) = start_among(&commons, &config(), &sink);
    settle().await;
    // Without a trace id, so they leave with the next tick.
    let spans: Vec<_> =
        (0..4000).map(|number| TestSpan { service: number, ..TestSpan::new(0, number) }).collect();
    processor.consume(batch(&spans)).await.unwrap();
    sink.calls.notified().await;
    let begun = clock::now();
    processor.consume(batch(&[TestSpan::new(1, 1)])).await.unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let answer = commons.admin().ask(&format!("/api/traces/{:032x}", 1)).await.unwrap();
    assert_eq!(answer[0]["state"], "buffered");
    assert_eq!(clock::now(), begun, "without waiting for a tick");
}

#[tokio::test(start_paused = true)]
async fn a_stop_judges_and_forwards_what_is_there() {
    let sink = Sink::new(&[Answer::Reject(RejectedKind::Retryable)]);
    let (processor, losses) = start(&config(), &sink);
    processor.consume(batch(&[TestSpan::new(1, 1), TestSpan::new(2, 2)])).await.unwrap();
    processor.shutdown(in_a_minute()).await;
    assert_eq!((sink.taken(), losses.total()), (vec![1, 2], 0));
    let rejected = processor.consume(batch(&[TestSpan::new(3, 3)])).await.unwrap_err();
    assert_eq!((rejected.kind, rejected.reason.as_ref()), (RejectedKind::Refused, "stopping"));
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_at_its_deadline_and_counts_what_is_lost() {
    for answer in [Answer::Hang, Answer::Reject(RejectedKind::Retryable)] {
        let sink = Sink::new(&[answer; 50]);
        let (processor, losses) = start(&config(), &sink);
        processor.consume(batch(&[TestSpan::new(1, 1), TestSpan::new(2, 2)])).await.unwrap();
        let deadline = clock::now() + Duration::from_secs(7);
        processor.shutdown(deadline).await;
        assert_eq!(clock::now(), deadline);
        assert_eq!((sink.taken(), losses.total()), (vec![], 2));
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_traces_may_be_thrown_away_at_a_stop() {
    let sink = Sink::new(&[]);
    let config = TailSamplingConfig { drop_pending_traces_on_shutdown: true, ..config() };
    let (processor, losses) = start(&config, &sink);
    processor.consume(batch(&[TestSpan::new(1, 1)])).await.unwrap();
    processor.shutdown(in_a_minute()).await;
    assert_eq!((sink.taken(), losses.total()), (vec![], 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn shards_share_the_traces_and_lose_no_span() {
    let sink = Sink::new(&[]);
    let (processor, losses) = start(&config(), &sink);
    let spans: Vec<TestSpan> = (0..3000)
        .map(|number| TestSpan { service: number % 7, ..TestSpan::new(number % 500, number) })
        .collect();
    for part in spans.chunks(100) {
        processor.consume(batch(part)).await.unwrap();
    }
    processor.shutdown(in_a_minute()).await;
    assert_eq!(sink.taken(), (0..3000).collect::<Vec<u64>>());
    assert_eq!(losses.total(), 0);
}

#[tokio::test(start_paused = true)]
async fn operators_are_answered_while_the_next_component_takes_nothing() {
    let sink = Sink::new(&[Answer::Hang]);
    let config = TailSamplingConfig { num_traces: 1, ..config() };
    let commons = Arc::default();
    let (processor, _) = start_among(&commons, &config, &sink);
    for number in [1, 2, 3] {
        processor.consume(batch(&[TestSpan::new(number, number)])).await.unwrap();
    }
    sink.calls.notified().await;
    settle().await;
    for (number, state) in [(1, "kept"), (2, "kept"), (3, "buffered"), (9, "unknown")] {
        let answer = commons.admin().ask(&format!("/api/traces/{number:032x}")).await.unwrap();
        assert_eq!(answer[0]["state"], state, "{number}");
    }
}
