//! Latency in an open loop: requests are due at times that were fixed in advance, and latency
//! counts from then to the acknowledgement.
//!
//! So a stall is seen by every request that was due during it, not by the one that was on its way
//! (coordinated omission). What the loader itself adds is reported as its lateness: how long after
//! its time a request was handed to the client. A run is void when the loader was late too often,
//! when so many requests were on their way that no further one was let go, or when any was not
//! acknowledged.

mod pacer;
mod schedule;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use hdrhistogram::Histogram;
use nix::errno::Errno;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

pub use schedule::Arrivals;

use super::payload::Request;
use super::spread::real;
use crate::report::thousands;
use crate::testbed::TestbedError;
use crate::testbed::page::whole;
use pacer::sleep_until;
use schedule::Schedule;

/// A request that is handed to the client longer after its time than this is late.
const LATE: Duration = Duration::from_millis(1);
/// The most of all requests that may be late.
const MOST_LATE: f64 = 0.01;
/// A request without an answer for this long is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between the decision on all times and the first of them.
const HEAD_START: Duration = Duration::from_millis(20);

/// Where requests go.
#[async_trait]
pub(super) trait Target: Send + Sync + 'static {
    /// Sends a request as it goes over the wire, once, and waits for its acknowledgement; the error
    /// is why there was none.
    async fn offer(&self, body: Bytes) -> Result<(), String>;
}

/// An open loop.
#[derive(Clone)]
pub(super) struct OpenLoop {
    /// Requests go to these in turns.
    pub(super) targets: Vec<Arc<dyn Target>>,
    /// Spans a second.
    pub(super) rate: u64,
    /// How requests follow each other.
    pub(super) arrivals: Arrivals,
    /// Seed of their times.
    pub(super) seed: u64,
    /// Requests that are due before this are sent, but do not count.
    pub(super) warm_up: Duration,
    /// How long they are due after that.
    pub(super) window: Duration,
    /// Requests on their way at once that void the run.
    pub(super) max_in_flight: u32,
}

/// What an open loop showed. Times are in microseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Spans a second that were due.
    pub rate: u64,
    /// How requests followed each other.
    pub arrivals: Arrivals,
    /// How long they were due, in seconds, after the warm-up.
    pub seconds: f64,
    /// Requests that count.
    pub requests: u64,
    /// Spans that were acknowledged, those of the warm-up included.
    pub spans: u64,
    /// Half of the requests were acknowledged within this time of being due.
    pub p50_us: u64,
    /// As that, of nine in ten.
    pub p90_us: u64,
    /// As that, of 99 in a hundred.
    pub p99_us: u64,
    /// As that, of 999 in a thousand.
    pub p999_us: u64,
    /// The longest.
    pub max_us: u64,
    /// Share of the requests that the loader sent more than a millisecond after their time.
    pub late_share: f64,
    /// 99 in a hundred were sent within this time of being due.
    pub lateness_p99_us: u64,
    /// The longest that one was late.
    pub lateness_max_us: u64,
    /// Requests that were not acknowledged, those of the warm-up included.
    pub failed: u64,
    /// Why the run does not count; empty when it does.
    pub void: Vec<String>,
}

/// Shares of what a gateway carries at most: what it is asked when nobody says.
const SHARES: [f64; 4] = [0.25, 0.5, 0.75, 0.9];

/// Rates to look at when a gateway carries `saturation` spans a second in a closed loop.
pub(super) fn rates(saturation: f64) -> Vec<u64> {
    SHARES.iter().map(|share| whole(saturation * share).max(1).next_multiple_of(1000)).collect()
}

/// What the requests leave behind.
struct Tally {
    latency: Histogram<u64>,
    lateness: Histogram<u64>,
    late: u64,
    spans: u64,
    failed: u64,
    last_failure: Option<String>,
}

/// Whether a run came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Every request was let go.
    Reached,
    /// There was no place for a further one, or nobody waited any more.
    Early,
}

impl OpenLoop {
    /// Sends `requests` over and over at their times, and waits for the last answer.
    ///
    /// # Errors
    /// When there is nothing to send or nobody to send to, or the rate makes no schedule.
    pub(super) async fn run(&self, requests: Arc<[Request]>) -> Result<Latency, TestbedError> {
        if requests.is_empty() || self.targets.is_empty() {
            return Err(TestbedError::new(
                "an open loop needs requests and somewhere to send them",
            ));
        }
        let spans: u64 = requests.iter().map(|request| request.spans).sum();
        let per_second = real(self.rate) * real(requests.len() as u64) / real(spans.max(1));
        let window = self.warm_up + self.window;
        let schedule = Schedule::new(self.arrivals, per_second, window, self.seed)?;
        let tally = Arc::new(Mutex::new(Tally::new()));
        let places = Arc::new(Semaphore::new(self.max_in_flight as usize));
        let stop = CancellationToken::new();
        let pace = Pace {
            open_loop: self.clone(),
            requests,
            tally: Arc::clone(&tally),
            places: Arc::clone(&places),
            runtime: Handle::current(),
            stop: stop.clone(),
        };
        // The thread ends soon after nobody waits for it any more.
        let _guard = stop.drop_guard();
        let end = tokio::task::spawn_blocking(move || pace.send(&schedule))
            .await
            .expect("pacing does not panic")
            .map_err(|error| TestbedError::new(format!("no timer for an open loop: {error}")))?;
        // Every request gives its place back when it has its answer.
        drop(places.acquire_many(self.max_in_flight).await);
        let tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(self.describe(&tally, end))
    }

    fn describe(&self, tally: &Tally, end: End) -> Latency {
        let (latency, lateness) = (&tally.latency, &tally.lateness);
        let requests = lateness.len();
        Latency {
            rate: self.rate,
            arrivals: self.arrivals,
            seconds: self.window.as_secs_f64(),
            requests,
            spans: tally.spans,
            p50_us: latency.value_at_quantile(0.5),
            p90_us: latency.value_at_quantile(0.9),
            p99_us: latency.value_at_quantile(0.99),
            p999_us: latency.value_at_quantile(0.999),
            max_us: latency.max(),
            late_share: real(tally.late) / real(requests.max(1)),
            lateness_p99_us: lateness.value_at_quantile(0.99),
            lateness_max_us: lateness.max(),
            failed: tally.failed,
            void: self.verdict(tally, end),
        }
    }

    /// Why the run does not count.
    fn verdict(&self, tally: &Tally, end: End) -> Vec<String> {
        let mut reasons = Vec::new();
        let share = real(tally.late) / real(tally.lateness.len().max(1));
        if share > MOST_LATE {
            reasons.push(format!(
                "the loader sent {:.1} % of the requests more than 1 ms after their time",
                share * 100.0
            ));
        }
        if end == End::Early {
            reasons.push(format!(
                "{} requests were on their way at once: the rate is more than is carried",
                thousands(self.max_in_flight.into())
            ));
        }
        if tally.failed > 0 {
            let last = tally.last_failure.as_deref().unwrap_or_default();
            let failed = thousands(tally.failed);
            reasons.push(format!("{failed} requests were not acknowledged, the last: {last}"));
        }
        if tally.lateness.is_empty() {
            reasons.push("no request was due after the warm-up".to_owned());
        }
        reasons
    }
}

/// Lets requests go at their times, from a thread of its own.
struct Pace {
    open_loop: OpenLoop,
    requests: Arc<[Request]>,
    tally: Arc<Mutex<Tally>>,
    places: Arc<Semaphore>,
    runtime: Handle,
    stop: CancellationToken,
}

impl Pace {
    fn send(&self, schedule: &Schedule) -> Result<End, Errno> {
        let OpenLoop { targets, warm_up, .. } = &self.open_loop;
        let started = shared::clock::now() + HEAD_START;
        for (number, offset) in schedule.times().iter().enumerate() {
            let due = started + *offset;
            sleep_until(due)?;
            let place = Arc::clone(&self.places).try_acquire_owned();
            let (Ok(place), false) = (place, self.stop.is_cancelled()) else {
                return Ok(End::Early);
            };
            let target = Arc::clone(&targets[number % targets.len()]);
            let request = self.requests[number % self.requests.len()].clone();
            let is_counted = *offset >= *warm_up;
            let note = Note { due, is_counted, tally: Arc::clone(&self.tally) };
            self.runtime.spawn(deliver(target, request, note, place));
        }
        Ok(End::Reached)
    }
}

/// Where it is noted what came of a request.
struct Note {
    due: Instant,
    /// Whether it was due after the warm-up.
    is_counted: bool,
    tally: Arc<Mutex<Tally>>,
}

/// Sends one request, and notes what came of it.
async fn deliver(
    target: Arc<dyn Target>,
    request: Request,
    note: Note,
    _place: OwnedSemaphorePermit,
) {
    let Note { due, is_counted, tally } = note;
    let lateness = shared::clock::now().saturating_duration_since(due);
    let outcome = tokio::time::timeout(PATIENCE, target.offer(request.body)).await;
    let latency = shared::clock::now().saturating_duration_since(due);
    let outcome = match outcome {
        Ok(Ok(())) => Ok(request.spans),
        Ok(Err(reason)) => Err(reason),
        Err(_) => Err(format!("no answer within {PATIENCE:?}")),
    };
    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    tally.count(outcome);
    if is_counted {
        tally.note(lateness, latency);
    }
}

impl Tally {
    fn new() -> Self {
        let histogram = || Histogram::new_with_max(600_000_000, 3).expect("the bounds are valid");
        Self {
            latency: histogram(),
            lateness: histogram(),
            late: 0,
            spans: 0,
            failed: 0,
            last_failure: None,
        }
    }

    /// Counts the spans that were acknowledged, or the reason why they were not.
    fn count(&mut self, outcome: Result<u64, String>) {
        match outcome {
            Ok(spans) => self.spans += spans,
            Err(reason) => {
                self.failed += 1;
                self.last_failure = Some(reason);
            }
        }
    }

    /// Times of a request that was due after the warm-up. One that failed has them too: a run
    /// with failures is void, and its figures should not look better for it.
    fn note(&mut self, lateness: Duration, latency: Duration) {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.lateness.saturating_record(micros(lateness));
        self.late += u64::from(lateness > LATE);
        self.latency.saturating_record(micros(latency));
    }
}

#[cfg(test)]
mod tests;
