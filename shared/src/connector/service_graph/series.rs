//! The series of the graph and the values in them.
//!
//! Series are spread over [`STRIPES`] tables by their key, each behind a lock that is held for one
//! request. A key is the series' attributes as they are written, so nothing else is kept of them.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use crate::exponential_histogram::ExponentialHistogram;
use crate::wire::Writer;

/// Number of tables that series are spread over; a power of two.
const STRIPES: usize = 16;

/// The field of a key that holds an attribute.
pub(super) const ATTRIBUTE: u32 = 1;

/// How latencies are counted.
#[derive(Debug, Clone)]
pub(super) enum Buckets {
    /// By these upper bounds.
    Explicit { bounds_ns: Vec<u64> },
    /// In so many buckets at most.
    Exponential { max_size: i32 },
}

/// All series.
pub(super) struct Table {
    buckets: Buckets,
    max_series: usize,
    stripes: Vec<Mutex<HashTable<Series>>>,
    count: AtomicUsize,
    /// What found no place.
    overflow: Mutex<Option<Series>>,
}

/// The values of one series.
#[derive(Debug, Clone)]
pub(super) struct Series {
    /// Its attributes.
    pub(super) key: Box<[u8]>,
    /// When it came into being.
    pub(super) start_ns: u64,
    /// When it last counted a request.
    seen_ns: u64,
    /// Whether it counted a request since it was last written.
    fresh: bool,
    /// Number of requests.
    pub(super) requests: u64,
    /// Number of those that failed.
    pub(super) failed: u64,
    /// Latencies as the server saw them.
    pub(super) server: Latencies,
    /// Latencies as the client saw them.
    pub(super) client: Latencies,
}

/// Latencies that were counted.
#[derive(Debug, Clone)]
pub(super) enum Latencies {
    /// The sum is exact, so that the order of requests does not matter.
    Explicit {
        counts: Box<[u64]>,
        sum_ns: u128,
    },
    Exponential(Box<ExponentialHistogram>),
}

/// A request to be counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    pub(super) failed: bool,
    pub(super) server_ns: u64,
    pub(super) client_ns: u64,
}

/// Where a request was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    Own,
    Overflow,
}

impl Table {
    pub(super) fn new(buckets: Buckets, max_series: usize) -> Self {
        Self {
            buckets,
            max_series,
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            count: AtomicUsize::new(0),
            overflow: Mutex::new(None),
        }
    }

    /// Counts a request in the series with these attributes.
    pub(super) fn count(&self, key: &[u8], request: Request, now_ns: u64) -> Counted {
        let hash = xxh3_64(key);
        let mut stripe = lock(&self.stripes[stripe_of(hash)]);
        if let Some(series) = stripe.find_mut(hash, |series| *series.key == *key) {
            series.count(&self.buckets, request, now_ns);
            return Counted::Own;
        }
        let more = |count: usize| (count < self.max_series).then_some(count + 1);
        if self.count.fetch_update(Relaxed, Relaxed, more).is_ok() {
            let mut series = Series::new(key, &self.buckets, now_ns);
            series.count(&self.buckets, request, now_ns);
            stripe.insert_unique(hash, series, |series| xxh3_64(&series.key));
            return Counted::Own;
        }
        drop(stripe);
        let mut overflow = lock(&self.overflow);
        let series = overflow.get_or_insert_with(|| {
            let mut key = Writer::new();
            key.bool_attribute(ATTRIBUTE, b"otel.metric.overflow", true);
            Series::new(key.as_slice(), &self.buckets, now_ns)
        });
        series.count(&self.buckets, request, now_ns);
        Counted::Overflow
    }

    /// All series, as they are now.
    pub(super) fn collect(&self) -> Vec<Series> {
        let mut all = Vec::with_capacity(self.len() + 1);
        for stripe in &self.stripes {
            for series in &mut *lock(stripe) {
                series.fresh = false;
                all.push(series.clone());
            }
        }
        all.extend(lock(&self.overflow).clone());
        all
    }

    /// Forgets the series that were written and had no request for `idle_ns`; tells how many.
    pub(super) fn expire(&self, now_ns: u64, idle_ns: u64) -> u64 {
        let mut expired = 0;
        for stripe in &self.stripes {
            lock(stripe).retain(|series| {
                let keep = series.fresh || now_ns.saturating_sub(series.seen_ns) < idle_ns;
                expired += usize::from(!keep);
                keep
            });
        }
        self.count.fetch_sub(expired, Relaxed);
        expired as u64
    }

    /// How many series there are; the overflow series does not count.
    pub(super) fn len(&self) -> usize {
        self.count.load(Relaxed)
    }
}

impl Series {
    fn new(key: &[u8], buckets: &Buckets, now_ns: u64) -> Self {
        Self {
            key: key.into(),
            start_ns: now_ns,
            seen_ns: now_ns,
            fresh: true,
            requests: 0,
            failed: 0,
            server: Latencies::new(buckets),
            client: Latencies::new(buckets),
        }
    }

    fn count(&mut self, buckets: &Buckets, request: Request, now_ns: u64) {
        self.seen_ns = now_ns;
        self.fresh = true;
        self.requests += 1;
        self.failed += u64::from(request.failed);
        self.server.count(buckets, request.server_ns);
        self.client.count(buckets, request.client_ns);
    }
}

impl Latencies {
    fn new(buckets: &Buckets) -> Self {
        match buckets {
            Buckets::Explicit { bounds_ns } => {
                Self::Explicit { counts: vec![0; bounds_ns.len() + 1].into(), sum_ns: 0 }
            }
            Buckets::Exponential { max_size } => {
                Self::Exponential(Box::new(ExponentialHistogram::new(*max_size)))
            }
        }
    }

    fn count(&mut self, buckets: &Buckets, latency_ns: u64) {
        match (self, buckets) {
            (Latencies::Explicit { counts, sum_ns }, Buckets::Explicit { bounds_ns }) => {
                // Upper bounds belong to their bucket.
                counts[bounds_ns.partition_point(|bound| *bound < latency_ns)] += 1;
                *sum_ns += u128::from(latency_ns);
            }
            (Latencies::Exponential(histogram), _) => {
                histogram.observe(seconds(latency_ns.into()), 1);
            }
            (Latencies::Explicit { .. }, Buckets::Exponential { .. }) => {
                unreachable!("all series are made for the buckets of their table")
            }
        }
    }
}

/// Nanoseconds as the metrics have them.
#[allow(clippy::cast_precision_loss, reason = "OTLP has doubles here")]
pub(super) fn seconds(nanos: u128) -> f64 {
    nanos as f64 / 1e9
}

#[allow(clippy::cast_possible_truncation, reason = "the high bits are as good as any others")]
fn stripe_of(hash: u64) -> usize {
    (hash >> 32) as usize % STRIPES
}

/// Counts that a panic left behind are still the best there is.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
