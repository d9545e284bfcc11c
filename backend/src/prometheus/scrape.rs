//! One answer to a scrape, made piece by piece while it is sent.
//!
//! Each family is copied under a short lock, then written without one; a scraper that reads
//! slowly holds nothing up, and a large answer never stands in memory as a whole.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Body, Frame};

use super::collection::{Collection, Row};
use super::text::{Last, write_header, write_sample};
use super::value::{Point, Value};

/// How much is written at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// Whether samples carry their time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timestamps {
    Written,
    LeftOut,
}

/// The text of all families, in pieces.
pub(crate) struct Scrape {
    collection: Arc<Mutex<Collection>>,
    timestamps: Timestamps,
    now: Instant,
    names: std::vec::IntoIter<Arc<str>>,
    family: Option<(Arc<str>, std::iter::Peekable<std::vec::IntoIter<Row>>)>,
}

impl Scrape {
    pub(crate) fn new(
        collection: Arc<Mutex<Collection>>,
        timestamps: Timestamps,
        now: Instant,
    ) -> Self {
        let names = lock(&collection).names().into_iter();
        Self { collection, timestamps, now, names, family: None }
    }

    /// Begins the next family that has a series; `None` after the last one.
    fn begin_family(&mut self, out: &mut String) -> Option<()> {
        loop {
            let name = self.names.next()?;
            let snapshot = lock(&self.collection).snapshot(&name, self.now);
            let Some(mut snapshot) = snapshot else { continue };
            snapshot.rows.sort_unstable_by(|a, b| (&a.labels, a.id).cmp(&(&b.labels, b.id)));
            write_header(out, &name, snapshot.type_name, &snapshot.help);
            self.family = Some((name, snapshot.rows.into_iter().peekable()));
            return Some(());
        }
    }
}

impl Iterator for Scrape {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut out = String::with_capacity(CHUNK_BYTES + 4096);
        while out.len() < CHUNK_BYTES {
            let Some((name, rows)) = &mut self.family else {
                match self.begin_family(&mut out) {
                    Some(()) => continue,
                    None => break,
                }
            };
            match rows.next() {
                None => self.family = None,
                Some(Row { labels, mut point, .. }) => {
                    while let Some(other) = rows.next_if(|row| row.labels == labels) {
                        point = Arc::new(point.joined(&other.point));
                    }
                    write_point(&mut out, name, &labels, &point, self.timestamps);
                }
            }
        }
        (!out.is_empty()).then_some(out)
    }
}

impl Body for Scrape {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.next().map(|chunk| Ok(Frame::data(chunk.into()))))
    }
}

fn write_point(out: &mut String, name: &str, labels: &str, point: &Point, timestamps: Timestamps) {
    let time_ns =
        (timestamps == Timestamps::Written && point.time_ns != 0).then_some(point.time_ns);
    let mut sample = |suffix, last, value| {
        write_sample(out, (name, suffix), labels, last, value, time_ns);
    };
    match &point.value {
        Value::Counter(value) | Value::UpDown(value) | Value::Gauge(value) => {
            sample("", Last::None, *value);
        }
        Value::Histogram(histogram) => {
            for (bound, count) in &histogram.buckets {
                sample("_bucket", Last::Bound(*bound), as_f64(*count));
            }
            sample("_bucket", Last::Bound(f64::INFINITY), as_f64(histogram.count));
            sample("_sum", Last::None, histogram.sum);
            sample("_count", Last::None, as_f64(histogram.count));
        }
        Value::Summary(summary) => {
            for (quantile, value) in &summary.quantiles {
                sample("", Last::Quantile(*quantile), *value);
            }
            sample("_sum", Last::None, summary.sum);
            sample("_count", Last::None, as_f64(summary.count));
        }
    }
}

/// Series that a panic left behind are still the best there are.
pub(crate) fn lock(collection: &Mutex<Collection>) -> std::sync::MutexGuard<'_, Collection> {
    collection.lock().unwrap_or_else(PoisonError::into_inner)
}

#[allow(clippy::cast_precision_loss, reason = "Prometheus has doubles only")]
fn as_f64(count: u64) -> f64 {
    count as f64
}
