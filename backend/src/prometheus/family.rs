//! The series of one name and type.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use shared::wire::Temporality;

use super::label_set::LabelSet;
use super::value::{FamilyKind, Point, Reason};

/// Streams that are looked at under one hold of the lock.
const PAGE_STREAMS: usize = 512;

/// About what a stream takes besides its labels and what its value holds: its places in two maps
/// that are three quarters full, and two allocations.
pub(super) const STREAM_BYTES: usize = 352;

/// The series of one name and type.
pub(super) struct Family {
    pub(super) kind: FamilyKind,
    pub(super) help: Arc<str>,
    streams: HashMap<u128, Stream>,
    series: BTreeMap<LabelSet, Series>,
    /// What its streams take.
    bytes: usize,
}

/// What one writer says of a series.
struct Stream {
    labels: LabelSet,
    point: Arc<Point>,
    seen: Instant,
}

/// What streams with the same labels share.
#[derive(Default)]
struct Series {
    /// In the order in which their values are added.
    streams: Vec<u128>,
    /// What ended or restarted streams counted.
    past: Option<Arc<Point>>,
    /// What was counted for it; never less than it takes.
    past_bytes: usize,
}

/// A data point on its way to its stream.
pub(super) struct Sample {
    pub(super) id: u128,
    pub(super) point: Point,
    pub(super) temporality: Temporality,
    pub(super) now: Instant,
}

/// What one stream, or several that are gone, add to a series.
pub(crate) struct Row {
    pub(crate) labels: LabelSet,
    pub(crate) point: Arc<Point>,
}

/// Some of a family's series as they were at one moment.
pub(crate) struct Page {
    /// Those of one series next to each other, always in the same order: sums of doubles depend
    /// on it, and a counter must not fall by a rounding.
    pub(crate) rows: Vec<Row>,
    /// Behind which labels there may be more.
    pub(crate) next: Option<LabelSet>,
}

impl Family {
    pub(super) fn new(kind: FamilyKind, help: String) -> Self {
        let (streams, series) = (HashMap::new(), BTreeMap::new());
        let bytes = help.len();
        Self { kind, help: help.into(), streams, series, bytes }
    }

    pub(super) fn streams(&self) -> usize {
        self.streams.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn has(&self, id: u128) -> bool {
        self.streams.contains_key(&id)
    }

    /// The labels of a stream.
    pub(super) fn labels(&self, id: u128) -> Option<&LabelSet> {
        self.streams.get(&id).map(|stream| &stream.labels)
    }

    /// Adds a stream; whether its series has other ones.
    pub(super) fn begin(&mut self, sample: Sample, labels: LabelSet) -> bool {
        self.bytes += STREAM_BYTES + labels.heap_bytes() + sample.point.heap_bytes();
        let series = self.series.entry(labels.clone()).or_default();
        let merged = !series.streams.is_empty();
        let place = series.streams.partition_point(|id| *id < sample.id);
        series.streams.insert(place, sample.id);
        let stream = Stream { labels, point: Arc::new(sample.point), seen: sample.now };
        self.streams.insert(sample.id, stream);
        merged
    }

    /// Takes a data point of a stream that is there, unless it needs more than `room` bytes.
    pub(super) fn update(&mut self, sample: Sample, room: usize) -> Result<(), Reason> {
        let stream = self.streams.get_mut(&sample.id).expect("the caller looked it up");
        let (last, mut next) = (&stream.point, sample.point);
        let mut keeps_last = false;
        if sample.temporality == Temporality::Delta {
            let from_ns = if next.start_ns == 0 { next.time_ns } else { next.start_ns };
            if from_ns < last.time_ns || next.time_ns == last.time_ns {
                return Err(Reason::OverlappingDelta);
            }
            next = last.joined(&next);
        } else {
            if next.time_ns < last.time_ns {
                return Err(Reason::OutOfOrder);
            }
            next.succeed(last);
            keeps_last = last.start_ns != 0 && next.start_ns > last.start_ns;
        }
        let (before, after) = (last.heap_bytes(), next.heap_bytes());
        if after.saturating_sub(before) > room {
            return Err(Reason::MaxBytes);
        }
        self.bytes = self.bytes + after - before;
        let last = std::mem::replace(&mut stream.point, Arc::new(next));
        stream.seen = sample.now;
        // Alone in its series, a stream shows its restart, which Prometheus knows how to read.
        if keeps_last {
            let series = self.series.get_mut(&stream.labels).expect("every stream has a series");
            if series.streams.len() > 1 || series.past.is_some() {
                self.bytes += series.keep(&last);
            }
        }
        Ok(())
    }

    /// Removes a stream; whether it was there.
    pub(super) fn end(&mut self, id: u128) -> bool {
        let Some(stream) = self.streams.remove(&id) else { return false };
        self.bytes -= STREAM_BYTES + stream.labels.heap_bytes() + stream.point.heap_bytes();
        let series = self.series.get_mut(&stream.labels).expect("every stream has a series");
        series.streams.retain(|other| *other != id);
        if series.streams.is_empty() {
            self.bytes -= series.past_bytes;
            self.series.remove(&stream.labels);
        } else {
            self.bytes += series.keep(&stream.point);
        }
        true
    }

    /// The next series behind `after`, without streams that had no data point for too long: those
    /// are forgotten.
    pub(super) fn page(
        &mut self,
        after: Option<&LabelSet>,
        expiration: Duration,
        now: Instant,
    ) -> Page {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let (mut expired, mut seen) = (Vec::new(), 0);
        let (mut last, mut next): (Option<&LabelSet>, Option<LabelSet>) = (None, None);
        for (labels, series) in self.series.range::<LabelSet, _>((from, Bound::Unbounded)) {
            if seen >= PAGE_STREAMS {
                next = last.cloned();
                break;
            }
            seen += series.streams.len();
            last = Some(labels);
            expired.extend(
                series.streams.iter().filter(|id| {
                    now.saturating_duration_since(self.streams[*id].seen) >= expiration
                }),
            );
        }
        let Some(last) = last.cloned() else { return Page { rows: Vec::new(), next: None } };
        for id in expired {
            self.end(id);
        }
        let mut rows = Vec::with_capacity(seen);
        for (labels, series) in self.series.range::<LabelSet, _>((from, Bound::Included(&last))) {
            let points = series.streams.iter().map(|id| &self.streams[id].point);
            rows.extend(
                series
                    .past
                    .iter()
                    .chain(points)
                    .map(|point| Row { labels: labels.clone(), point: Arc::clone(point) }),
            );
        }
        Page { rows, next }
    }
}

impl Series {
    /// Keeps what a stream counted that will not count on; how many bytes that takes.
    fn keep(&mut self, point: &Arc<Point>) -> usize {
        if !point.value.only_grows() {
            return 0;
        }
        let past = match &self.past {
            Some(past) => Arc::new(past.joined(point)),
            None => Arc::clone(point),
        };
        let grown = past.heap_bytes().saturating_sub(self.past_bytes);
        self.past_bytes += grown;
        self.past = Some(past);
        grown
    }
}
