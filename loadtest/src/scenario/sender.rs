//! An open loop that remembers of every request what became of it.
//!
//! Requests leave at fixed times, however long others take, and from many clients in turns, as in
//! a fleet: one that waits holds a stream of its own client's connection, and no other's. One that
//! is rejected for now is sent again as SDKs do it, after the delay it was given or a growing one;
//! one that was acknowledged is never sent again.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::RngExt as _;
use shared::queue::Sender;
use shared::wire::Writer;
use shared::{Batch, RejectedKind, Signal, clock};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Trace ids in use: enough that every backend of a few hundred owns some.
pub(super) const KEYS: u64 = 4_000;

/// Most requests on their way from each client, as many as an edge lets it have; further ones
/// wait, which shows as latency.
const MOST_IN_FLIGHT: usize = 1_024;

/// A client waits so long for an answer: longer than an edge tries by default.
const ATTEMPT: Duration = Duration::from_secs(40);

const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Acknowledged at this time, in nanoseconds since the Unix epoch.
    Acknowledged(u64),
    /// Rejected for good.
    Rejected,
    /// Given up: it was rejected for now until the end.
    GivenUp,
}

/// A request and what became of it.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    /// Ids of its spans.
    pub spans: Range<u64>,
    /// When it had to leave, in nanoseconds since the Unix epoch.
    pub due_ns: u64,
    /// Attempts that were rejected for now or not answered.
    pub retries: u32,
    /// Of these, how many were not answered at all.
    pub unanswered: u32,
    /// What became of it.
    pub fate: Fate,
}

/// The trace that span `span` is of.
pub(super) fn key_of(span: u64) -> u64 {
    1 + xxhash_rust::xxh3::xxh3_64(&span.to_be_bytes()) % KEYS
}

/// How to send.
pub(super) struct OpenLoop {
    /// A client each; requests go by them in turns.
    pub targets: Vec<Arc<dyn Sender>>,
    /// Spans a second.
    pub rate: u64,
    /// Spans in a request.
    pub spans_per_request: u64,
}

impl OpenLoop {
    /// Sends until `stop`, then until `patience` is over or all have an answer.
    pub(super) async fn run(self, stop: CancellationToken, patience: Duration) -> Vec<Sent> {
        let sending = Arc::new(Sending {
            slots: self.targets.iter().map(|_| Semaphore::new(MOST_IN_FLIGHT)).collect(),
            targets: self.targets,
            turn: AtomicUsize::new(0),
            stop: stop.clone(),
            patience,
            sent: Mutex::default(),
        });
        let interval = Duration::from_secs(1) * u32::try_from(self.spans_per_request).unwrap_or(1)
            / u32::try_from(self.rate.max(1)).unwrap_or(u32::MAX);
        let (requests, started) = (TaskTracker::new(), Instant::now());
        let mut next = 1;
        for number in 0_u32.. {
            tokio::select! {
                () = sleep_until(started + interval * number) => {}
                () = stop.cancelled() => break,
            }
            let spans = next..next + self.spans_per_request;
            next = spans.end;
            let due_ns = clock::unix_ns();
            requests.spawn(Arc::clone(&sending).deliver(spans, due_ns));
        }
        requests.close();
        requests.wait().await;
        let mut sent = sending.sent.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *sent)
    }
}

struct Sending {
    targets: Vec<Arc<dyn Sender>>,
    turn: AtomicUsize,
    /// Those of each client.
    slots: Vec<Semaphore>,
    stop: CancellationToken,
    /// How long retries go on after `stop`.
    patience: Duration,
    sent: Mutex<Vec<Sent>>,
}

impl Sending {
    async fn deliver(self: Arc<Self>, spans: Range<u64>, due_ns: u64) {
        let batch = request(spans.clone(), due_ns);
        let mut sent = Sent { spans, due_ns, retries: 0, unanswered: 0, fate: Fate::GivenUp };
        let given_up = async {
            self.stop.cancelled().await;
            sleep(self.patience).await;
        };
        tokio::select! {
            fate = self.attempts(batch, &mut sent.retries, &mut sent.unanswered) => {
                sent.fate = fate;
            }
            () = given_up => {}
        }
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).push(sent);
    }

    /// Tries until there is a final answer.
    async fn attempts(&self, batch: Batch, retries: &mut u32, unanswered: &mut u32) -> Fate {
        let mut backoff = FIRST_BACKOFF;
        loop {
            let target = self.turn.fetch_add(1, Ordering::Relaxed) % self.targets.len();
            let slot = self.slots[target].acquire().await;
            let outcome = timeout(ATTEMPT, self.targets[target].send(batch.clone())).await;
            drop(slot);
            let delay = match outcome {
                Ok(Ok(_)) => return Fate::Acknowledged(clock::unix_ns()),
                Ok(Err(rejected)) if rejected.kind == RejectedKind::Permanent => {
                    return Fate::Rejected;
                }
                Ok(Err(rejected)) => rejected.retry_after,
                Err(_) => {
                    *unanswered += 1;
                    None
                }
            };
            *retries += 1;
            let factor = rand::rng().random_range(0.5..1.5);
            sleep(delay.unwrap_or(backoff.mul_f64(factor))).await;
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
        }
    }
}

/// One request with these spans, each of the trace that [`key_of`] says.
fn request(spans: Range<u64>, time_ns: u64) -> Batch {
    let mut writer = Writer::new();
    writer.message(1, |entry| {
        entry.message(1, |resource| resource.string_attribute(1, b"service.name", b"scenario"));
        entry.message(2, |scope| {
            for span in spans {
                scope.message(2, |writer| put_span(writer, span, time_ns));
            }
        });
    });
    Batch::parse(Signal::Traces, writer.into_vec().into()).expect("the request is well formed")
}

fn put_span(writer: &mut Writer, span: u64, time_ns: u64) {
    let mut trace_id = [0x5c; 16];
    trace_id[8..].copy_from_slice(&key_of(span).to_be_bytes());
    writer.bytes(1, &trace_id);
    writer.bytes(2, &span.to_be_bytes());
    writer.bytes(5, b"GET /orders/{id}");
    writer.varint(6, 2);
    writer.fixed64(7, time_ns);
    writer.fixed64(8, time_ns + 1_000_000);
    for (key, value) in [
        (&b"http.request.method"[..], &b"GET"[..]),
        (b"http.route", b"/orders/{id}"),
        (b"url.path", b"/orders/8f14e45f-ceea-467f-a8c3-9f2c1d0e5b77"),
        (b"server.address", b"orders.shop.svc.cluster.local"),
        (b"user_agent.original", b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101"),
        (b"network.peer.address", b"10.1.2.3"),
    ] {
        writer.string_attribute(9, key, value);
    }
    writer.int_attribute(9, b"http.response.status_code", 200);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::for_each_item;
    use shared::Rejected;
    use shared::queue::Delivered;

    /// Refuses the first attempts, and takes what comes then.
    struct Target {
        refusals: AtomicUsize,
        taken: Mutex<Vec<u64>>,
    }

    #[async_trait::async_trait]
    impl Sender for Target {
        async fn send(&self, batch: Batch) -> Result<Delivered, Rejected> {
            let left = self
                .refusals
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            if left.is_ok() {
                let rejected = Rejected::refused(batch, "full");
                return Err(rejected.retry_after(Duration::from_secs(3)));
            }
            let mut taken = self.taken.lock().unwrap();
            for_each_item(&batch, |item| {
                let (trace_id, span_id) = item.ids();
                let span = u64::from_be_bytes(span_id.try_into().unwrap());
                assert_eq!(trace_id[8..], key_of(span).to_be_bytes());
                taken.push(span);
            });
            Ok(Delivered::default())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_request_leaves_in_time_and_is_acknowledged_once() {
        let target = Arc::new(Target { refusals: 7.into(), taken: Mutex::default() });
        let targets = vec![Arc::clone(&target) as Arc<dyn Sender>];
        let stop = CancellationToken::new();
        let load = OpenLoop { targets, rate: 1_000, spans_per_request: 10 };
        let sending = tokio::spawn(load.run(stop.clone(), Duration::from_secs(60)));
        sleep(Duration::from_millis(1_995)).await;
        stop.cancel();
        let sent = sending.await.unwrap();
        assert_eq!(sent.len(), 200, "two seconds' worth, though the first seven took three more");
        assert!(sent.iter().all(|sent| matches!(sent.fate, Fate::Acknowledged(_))));
        assert_eq!(sent.iter().map(|sent| sent.retries).sum::<u32>(), 7);
        let mut taken = target.taken.lock().unwrap().clone();
        taken.sort_unstable();
        assert!(taken.iter().copied().eq(1..=2_000));
    }

    /// Takes what comes and never answers.
    struct Silent(AtomicUsize);

    #[async_trait::async_trait]
    impl Sender for Silent {
        async fn send(&self, _: Batch) -> Result<Delivered, Rejected> {
            self.0.fetch_add(1, Ordering::Relaxed);
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_with_all_its_streams_in_use_holds_up_no_other() {
        let silent = Arc::new(Silent(0.into()));
        let target = Arc::new(Target { refusals: 0.into(), taken: Mutex::default() });
        let targets = vec![Arc::clone(&silent) as Arc<dyn Sender>, Arc::clone(&target) as _];
        let stop = CancellationToken::new();
        let load = OpenLoop { targets, rate: 100, spans_per_request: 1 };
        let sending = tokio::spawn(load.run(stop.clone(), Duration::ZERO));
        sleep(Duration::from_millis(29_995)).await;
        assert_eq!(silent.0.load(Ordering::Relaxed), MOST_IN_FLIGHT);
        stop.cancel();
        let sent = sending.await.unwrap();
        let delivered = sent.iter().filter(|sent| matches!(sent.fate, Fate::Acknowledged(_)));
        assert_eq!((sent.len(), delivered.count()), (3_000, 1_500));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_to_the_end_is_given_up() {
        let target = Arc::new(Target { refusals: usize::MAX.into(), taken: Mutex::default() });
        let stop = CancellationToken::new();
        let load = OpenLoop { targets: vec![target], rate: 100, spans_per_request: 10 };
        let sending = tokio::spawn(load.run(stop.clone(), Duration::from_secs(60)));
        sleep(Duration::from_millis(150)).await;
        stop.cancel();
        let sent = sending.await.unwrap();
        assert!(sent.iter().all(|sent| sent.fate == Fate::GivenUp && sent.retries >= 15));
    }
}
