//! Sends requests to OTLP endpoints, in a closed or an open loop.
//!
//! Closed loop: a number of requests is always on its way; shows what a tier can carry. Open
//! loop: requests are due at fixed times, and latency counts from when a request was due, so a
//! stall is not hidden by the requests that were held back (coordinated omission).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use shared::queue::Sender;
use shared::{Batch, RejectedKind};
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::generate::Generator;

/// Where requests come from.
pub trait Source: Send + 'static {
    /// The next request; `None` when there are no more.
    fn next_request(&mut self) -> Option<Batch>;
    /// Comes to an end as soon as it can.
    fn finish(&mut self);
}

impl Source for Generator {
    fn next_request(&mut self) -> Option<Batch> {
        Generator::next_request(self)
    }

    fn finish(&mut self) {
        Generator::finish(self);
    }
}

/// Requests that were made before, in turns, so that making them costs nothing while sending.
pub struct Replay {
    requests: Arc<[Batch]>,
    next: usize,
    left: usize,
}

impl Replay {
    /// `count` requests out of `requests`, over and over.
    pub fn new(requests: Arc<[Batch]>, count: usize) -> Self {
        Self { requests, next: 0, left: count }
    }
}

impl Source for Replay {
    fn next_request(&mut self) -> Option<Batch> {
        self.left = self.left.checked_sub(1)?;
        let request = self.requests.get(self.next)?.clone();
        self.next = (self.next + 1) % self.requests.len();
        Some(request)
    }

    fn finish(&mut self) {
        self.left = 0;
    }
}

/// How to send.
#[derive(Clone)]
pub struct Load {
    /// Requests go to these in turns.
    pub targets: Vec<Arc<dyn Sender>>,
    /// The most requests on their way at a time.
    pub concurrency: usize,
    /// Spans a second; as many as go if there is none.
    pub rate: Option<u64>,
    /// A request that is rejected for now is tried again for this long.
    pub patience: Duration,
}

/// What was sent so far; may be read at any time.
#[derive(Debug, Default)]
pub struct Counts {
    /// Spans in requests that were acknowledged.
    pub spans: AtomicU64,
    /// Requests that were acknowledged.
    pub requests: AtomicU64,
    /// Bytes of these requests, uncompressed.
    pub bytes: AtomicU64,
    /// Attempts that were rejected for now and made again.
    pub retries: AtomicU64,
    /// Spans that were given up.
    pub failed_spans: AtomicU64,
    /// Spans in acknowledged requests that the destination said it had not taken.
    pub rejected_spans: AtomicU64,
    /// The last reason for giving up.
    last_failure: std::sync::Mutex<Option<String>>,
    /// The last reason for sending again.
    last_retry: std::sync::Mutex<Option<String>>,
}

impl Counts {
    /// Spans that were acknowledged so far.
    pub fn sent(&self) -> u64 {
        self.spans.load(Ordering::Relaxed)
    }

    /// Spans that were given up.
    pub fn failed(&self) -> u64 {
        self.failed_spans.load(Ordering::Relaxed)
    }

    /// Notes that a request is sent again, and why.
    pub(crate) fn retry(&self, reason: String) {
        self.retries.fetch_add(1, Ordering::Relaxed);
        let mut last = self.last_retry.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *last = Some(reason);
    }

    /// Why a request was sent again, if one was.
    pub fn last_retry(&self) -> Option<String> {
        self.last_retry.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Notes that spans were given up, and why.
    pub(crate) fn give_up(&self, spans: u64, reason: String) {
        self.failed_spans.fetch_add(spans, Ordering::Relaxed);
        let mut last = self.last_failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *last = Some(reason);
    }

    /// Why spans were given up, if any were.
    pub fn last_failure(&self) -> Option<String> {
        self.last_failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

/// What came of it.
pub struct Outcome<S> {
    /// The source, as far as it got.
    pub source: S,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// From a request being due to its acknowledgement, in microseconds.
    pub latency: Histogram<u64>,
}

struct Job {
    batch: Batch,
    target: usize,
    due: Option<Instant>,
}

/// A histogram up to ten minutes, in microseconds.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(600_000_000, 3).expect("the bounds are valid")
}

impl Load {
    /// Sends everything that `source` has, until it ends or `stop` makes it.
    pub async fn run<S: Source>(
        self,
        source: S,
        counts: Arc<Counts>,
        stop: CancellationToken,
    ) -> Outcome<S> {
        let started = Instant::now();
        let (jobs, queue) = mpsc::channel(self.concurrency.max(1) * 2);
        let queue = Arc::new(Mutex::new(queue));
        let (rate, targets) = (self.rate, self.targets.len());
        // A thread of its own: making requests takes as much time as it takes.
        let producer = std::thread::spawn(move || {
            produce(source, &jobs, &stop, move |index, spans_before| {
                let due = rate.map(|rate| started + due_after(spans_before, rate));
                (index % targets, due)
            })
        });
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..self.concurrency.max(1) {
            workers.spawn(work(self.clone(), Arc::clone(&queue), Arc::clone(&counts)));
        }
        let mut latency = histogram();
        while let Some(worker) = workers.join_next().await {
            let part = worker.expect("a worker does not panic");
            latency.add(part).expect("the bounds are the same");
        }
        let elapsed = started.elapsed();
        // Workers end when the producer has; this does not block.
        let source = producer.join().expect("a source does not panic");
        Outcome { source, elapsed, latency }
    }
}

fn due_after(spans: u64, rate: u64) -> Duration {
    let nanos = u128::from(spans) * 1_000_000_000 / u128::from(rate.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

fn produce<S: Source>(
    mut source: S,
    jobs: &mpsc::Sender<Job>,
    stop: &CancellationToken,
    plan: impl Fn(usize, u64) -> (usize, Option<Instant>),
) -> S {
    let (mut index, mut spans, mut stopping) = (0, 0, false);
    loop {
        if !stopping && stop.is_cancelled() {
            source.finish();
            stopping = true;
        }
        let Some(batch) = source.next_request() else { return source };
        let (target, due) = plan(index, spans);
        (index, spans) = (index + 1, spans + batch.items() as u64);
        if jobs.blocking_send(Job { batch, target, due }).is_err() {
            return source;
        }
    }
}

async fn work(
    load: Load,
    queue: Arc<Mutex<mpsc::Receiver<Job>>>,
    counts: Arc<Counts>,
) -> Histogram<u64> {
    let mut latency = histogram();
    loop {
        let job = queue.lock().await.recv().await;
        let Some(job) = job else { return latency };
        let due = match job.due {
            Some(due) => {
                sleep_until(due).await;
                due
            }
            None => Instant::now(),
        };
        if deliver(&load, job, &counts).await {
            let micros = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
            latency.saturating_record(micros);
        }
    }
}

/// Sends one request, again and again as an SDK would; false when it was given up.
async fn deliver(load: &Load, job: Job, counts: &Counts) -> bool {
    let (spans, bytes) = (job.batch.items() as u64, job.batch.bytes().len() as u64);
    let give_up = Instant::now() + load.patience;
    let mut backoff = Duration::from_millis(50);
    let mut batch = job.batch;
    loop {
        match load.targets[job.target].send(batch).await {
            Ok(delivered) => {
                counts.spans.fetch_add(spans, Ordering::Relaxed);
                counts.requests.fetch_add(1, Ordering::Relaxed);
                counts.bytes.fetch_add(bytes, Ordering::Relaxed);
                let rejected = delivered.rejected_items as u64;
                counts.rejected_spans.fetch_add(rejected, Ordering::Relaxed);
                return true;
            }
            Err(rejected) => {
                let wait = rejected.retry_after.unwrap_or(backoff);
                let hopeless = rejected.kind == RejectedKind::Permanent;
                if hopeless || Instant::now() + wait > give_up {
                    counts.give_up(spans, rejected.reason.into_owned());
                    return false;
                }
                counts.retry(rejected.reason.into_owned());
                sleep(wait).await;
                backoff = (backoff * 2).min(Duration::from_secs(1));
                batch = rejected.batch;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;
    use shared::Rejected;
    use shared::queue::Delivered;

    /// Takes everything, or rejects the first attempts.
    #[derive(Default)]
    struct Target {
        taken: AtomicU64,
        rejections: AtomicU64,
        permanent: bool,
    }

    #[async_trait::async_trait]
    impl Sender for Target {
        async fn send(&self, batch: Batch) -> Result<Delivered, Rejected> {
            if self
                .rejections
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                .is_ok()
            {
                return Err(match self.permanent {
                    true => Rejected::permanent(batch, "no"),
                    false => Rejected::refused(batch, "not now"),
                });
            }
            self.taken.fetch_add(batch.items() as u64, Ordering::Relaxed);
            Ok(Delivered::default())
        }
    }

    fn load(targets: &[&Arc<Target>], rate: Option<u64>) -> Load {
        let target = |target: &&Arc<Target>| Arc::clone(target) as Arc<dyn Sender>;
        let targets = targets.iter().map(target).collect();
        Load { targets, concurrency: 4, rate, patience: Duration::from_secs(60) }
    }

    async fn run(load: Load, traces: u64) -> (Outcome<Generator>, Arc<Counts>) {
        let generator = Generator::new(Plan::new(1, traces), Arc::default());
        let counts = Arc::new(Counts::default());
        let outcome = load.run(generator, Arc::clone(&counts), CancellationToken::new()).await;
        (outcome, counts)
    }

    #[tokio::test(start_paused = true)]
    async fn requests_take_turns_and_all_arrive() {
        let (a, b) = (Arc::<Target>::default(), Arc::<Target>::default());
        let (outcome, counts) = run(load(&[&a, &b], None), 400).await;
        let (a, b) = (a.taken.load(Ordering::Relaxed), b.taken.load(Ordering::Relaxed));
        assert_eq!(a + b, outcome.source.truth().spans);
        assert_eq!(a + b, counts.sent());
        assert!(a.abs_diff(b) <= 256, "{a} and {b}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_rejected_for_now_is_sent_again() {
        let target = Arc::new(Target { rejections: 5.into(), ..Target::default() });
        let (outcome, counts) = run(load(&[&target], None), 100).await;
        assert_eq!(counts.sent(), outcome.source.truth().spans);
        assert_eq!(counts.retries.load(Ordering::Relaxed), 5);
        assert_eq!(counts.last_failure(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_rejected_for_good_is_given_up_and_counted() {
        let target =
            Arc::new(Target { rejections: 1.into(), permanent: true, ..Target::default() });
        let (outcome, counts) = run(load(&[&target], None), 100).await;
        let failed = counts.failed_spans.load(Ordering::Relaxed);
        assert!(failed > 0);
        assert_eq!(counts.sent() + failed, outcome.source.truth().spans);
        assert_eq!(counts.last_failure().as_deref(), Some("no"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_loop_keeps_its_rate() {
        let target = Arc::<Target>::default();
        let (outcome, counts) = run(load(&[&target], Some(1_000)), 1_000).await;
        let expected = Duration::from_millis(counts.sent());
        let request = Duration::from_millis(256);
        assert!(outcome.elapsed <= expected && outcome.elapsed + request > expected);
    }
}
