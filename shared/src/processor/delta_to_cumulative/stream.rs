//! One stream: its total so far, and whether a point may be added to it.

use xxhash_rust::xxh3::xxh3_64;

use crate::exponential_histogram::{DEFAULT_MAX_SIZE, ExponentialHistogram};
use crate::wire::metric::{
    DataKind, ExponentialHistogramDataPoint, HistogramDataPoint, Number, NumberDataPoint,
};
use crate::wire::{Attributes, Fields, Writer};

/// Why a point is not added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DropReason {
    /// It is of a new stream, and there are enough.
    Limit,
    /// It begins before its stream does.
    OlderStart,
    /// It ends before the last point of its stream.
    OutOfOrder,
    /// It was added before.
    Duplicate,
    /// It has no value, or not as many buckets as its bounds make.
    Malformed,
    /// It says that its writer's series ended, but the stream has others.
    WriterEnded,
}

impl DropReason {
    pub(super) const ALL: [Self; 6] = [
        Self::Limit,
        Self::OlderStart,
        Self::OutOfOrder,
        Self::Duplicate,
        Self::Malformed,
        Self::WriterEnded,
    ];

    /// As the Collector's metric has it, which names its error types; the last three are ours.
    pub(super) const fn name(self) -> &'static str {
        match self {
            DropReason::Limit => "limit",
            DropReason::OlderStart => "delta.ErrOlderStart",
            DropReason::OutOfOrder => "delta.ErrOutOfOrder",
            DropReason::Duplicate => "duplicate",
            DropReason::Malformed => "malformed",
            DropReason::WriterEnded => "writer_ended",
        }
    }
}

/// A point that holds a delta.
#[derive(Debug, Clone, Copy)]
pub(super) enum Point<'a> {
    Number(NumberDataPoint<'a>),
    Histogram(HistogramDataPoint<'a>),
    Exponential(ExponentialHistogramDataPoint<'a>),
}

impl<'a> Point<'a> {
    /// Reads a point of data that has deltas; `None` for other kinds.
    pub(super) fn read(kind: DataKind, raw: &'a [u8]) -> Option<Self> {
        Some(match kind {
            DataKind::Sum => Self::Number(NumberDataPoint::read(raw)),
            DataKind::Histogram => Self::Histogram(HistogramDataPoint::read(raw)),
            DataKind::ExponentialHistogram => {
                Self::Exponential(ExponentialHistogramDataPoint::read(raw))
            }
            DataKind::Gauge | DataKind::Summary => return None,
        })
    }

    pub(super) fn attributes(&self) -> Attributes<'a> {
        match self {
            Point::Number(point) => point.attributes(),
            Point::Histogram(point) => point.attributes(),
            Point::Exponential(point) => point.attributes(),
        }
    }

    /// Whether it says that its stream ended.
    pub(super) fn ends_stream(&self) -> bool {
        match self {
            Point::Number(point) => point.no_recorded_value,
            Point::Histogram(point) => point.no_recorded_value,
            Point::Exponential(point) => point.no_recorded_value,
        }
    }

    /// When the interval that it tells of began and ended.
    fn interval_ns(&self) -> (u64, u64) {
        match self {
            Point::Number(point) => (point.start_ns, point.time_ns),
            Point::Histogram(point) => (point.start_ns, point.time_ns),
            Point::Exponential(point) => (point.start_ns, point.time_ns),
        }
    }
}

/// How points of a stream follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// A stream has one writer, whose points come in order.
    OneWriter,
    /// Points of several writers come as they like, and this many are remembered.
    ManyWriters { duplicate_window: usize },
}

/// By how much points of a stream that several write are apart at least: time series databases
/// keep milliseconds, and refuse a second value for one.
const STEP_NS: u64 = 1_000_000;

/// What adding a point did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Added {
    /// The total grew.
    Grew,
    /// The total begins anew with the point: they could not be added.
    Reset,
}

/// The total of a stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u128,
    /// When it last had a point, in nanoseconds on the clock of the processor.
    pub(super) seen_ns: u64,
    start_ns: u64,
    time_ns: u64,
    /// Hashes of the points that were added last, where several write.
    recent: Vec<u64>,
    /// The place in `recent` that is overwritten next.
    oldest: usize,
    total: Total,
}

#[derive(Debug)]
enum Total {
    Number(Number),
    Histogram(Box<Histogram>),
    Exponential(Box<ExponentialHistogram>),
}

#[derive(Debug)]
struct Histogram {
    count: u64,
    sum: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    counts: Box<[u64]>,
    /// Hash of the bounds. The bounds themselves come with every point.
    bounds: u64,
}

impl Stream {
    /// A stream that begins with a point.
    pub(super) fn new(
        id: u128,
        point: &Point<'_>,
        raw: &[u8],
        order: Order,
    ) -> Result<Self, DropReason> {
        let (start_ns, time_ns) = point.interval_ns();
        let total = Total::new(point)?;
        let (recent, oldest) = (Vec::new(), 0);
        let mut stream = Self { id, seen_ns: 0, start_ns, time_ns, recent, oldest, total };
        if let Order::ManyWriters { duplicate_window } = order {
            stream.remember(xxh3_64(raw), duplicate_window);
        }
        Ok(stream)
    }

    /// Adds a point.
    pub(super) fn add(
        &mut self,
        point: &Point<'_>,
        raw: &[u8],
        order: Order,
    ) -> Result<Added, DropReason> {
        let (start_ns, time_ns) = point.interval_ns();
        let added = match order {
            Order::OneWriter => {
                self.check_follows(start_ns, time_ns)?;
                let added = self.total.add(point)?;
                self.time_ns = time_ns;
                added
            }
            Order::ManyWriters { duplicate_window } => {
                let hash = xxh3_64(raw);
                if self.recent.contains(&hash) {
                    return Err(DropReason::Duplicate);
                }
                let added = self.total.add(point)?;
                self.remember(hash, duplicate_window);
                self.time_ns = time_ns.max(self.time_ns.saturating_add(STEP_NS));
                added
            }
        };
        if added == Added::Reset {
            self.start_ns = start_ns;
        }
        Ok(added)
    }

    /// Source: contrib deltatocumulativeprocessor/internal/delta. A start that is not known says
    /// nothing here, though.
    fn check_follows(&self, start_ns: u64, time_ns: u64) -> Result<(), DropReason> {
        if start_ns != 0 && start_ns < self.start_ns {
            return Err(DropReason::OlderStart);
        }
        if time_ns <= self.time_ns {
            return Err(DropReason::OutOfOrder);
        }
        Ok(())
    }

    fn remember(&mut self, hash: u64, window: usize) {
        if self.recent.len() < window {
            self.recent.reserve_exact(if self.recent.is_empty() { 1 } else { window - 1 });
            self.recent.push(hash);
        } else if window > 0 {
            self.recent[self.oldest] = hash;
            self.oldest = (self.oldest + 1) % window;
        }
    }

    /// Writes the total as a data point, with all that the total does not replace from the point
    /// that was added last: attributes, exemplars, flags.
    pub(super) fn write(&self, last: &[u8], point: &mut Writer) {
        point.fixed64(2, self.start_ns);
        point.fixed64(3, self.time_ns);
        let replaced = self.total.write(point);
        for field in Fields::new(last).filter(|field| !replaced.contains(&field.number)) {
            point.raw(field.raw);
        }
    }

    /// What it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.recent.capacity() * size_of::<u64>() + self.total.heap_bytes()
    }
}

impl Total {
    fn new(point: &Point<'_>) -> Result<Self, DropReason> {
        Ok(match point {
            Point::Number(point) => Self::Number(point.value.ok_or(DropReason::Malformed)?),
            Point::Histogram(point) => Self::Histogram(Box::new(Histogram::new(point)?)),
            Point::Exponential(point) => Self::Exponential(Box::new(read(point))),
        })
    }

    fn add(&mut self, point: &Point<'_>) -> Result<Added, DropReason> {
        match (&mut *self, point) {
            (Total::Number(total), Point::Number(point)) => {
                *total = sum(*total, point.value.ok_or(DropReason::Malformed)?);
                Ok(Added::Grew)
            }
            (Total::Histogram(total), Point::Histogram(point)) => total.add(point),
            (Total::Exponential(total), Point::Exponential(point)) => {
                total.merge(&read(point));
                Ok(Added::Grew)
            }
            // The kind is part of a stream's identity, so this cannot be; still, no total of
            // another kind is better than the point alone.
            (total, point) => {
                *total = Self::new(point)?;
                Ok(Added::Reset)
            }
        }
    }

    /// Writes the fields of the value, and tells which fields of a point it replaces.
    fn write(&self, point: &mut Writer) -> &'static [u32] {
        match self {
            Total::Number(Number::Int(total)) => point.fixed64(6, total.cast_unsigned()),
            Total::Number(Number::Double(total)) => point.double(4, *total),
            Total::Histogram(total) => total.write(point),
            Total::Exponential(total) => total.write(point),
        }
        match self {
            Total::Number(_) => &[2, 3, 4, 6],
            Total::Histogram(_) => &[2, 3, 4, 5, 6, 11, 12],
            Total::Exponential(_) => &[2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14],
        }
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Total::Number(_) => 0,
            Total::Histogram(total) => {
                size_of::<Histogram>() + total.counts.len() * size_of::<u64>()
            }
            Total::Exponential(total) => size_of::<ExponentialHistogram>() + total.heap_bytes(),
        }
    }
}

fn read(point: &ExponentialHistogramDataPoint<'_>) -> ExponentialHistogram {
    ExponentialHistogram::from_point(point, DEFAULT_MAX_SIZE.cast_signed())
}

/// Integers stay integers; they stop at the largest instead of starting anew.
fn sum(one: Number, other: Number) -> Number {
    match (one, other) {
        (Number::Int(one), Number::Int(other)) => Number::Int(one.saturating_add(other)),
        _ => Number::Double(one.as_f64() + other.as_f64()),
    }
}

impl Histogram {
    fn new(point: &HistogramDataPoint<'_>) -> Result<Self, DropReason> {
        let counts: Box<[u64]> = point.bucket_counts().collect();
        let mut bounds = Vec::with_capacity(counts.len() * 8);
        for bound in point.explicit_bounds() {
            bounds.extend_from_slice(&bound.to_bits().to_le_bytes());
        }
        let has_none = counts.is_empty() && bounds.is_empty();
        if !has_none && counts.len() != bounds.len() / 8 + 1 {
            return Err(DropReason::Malformed);
        }
        let (sum, min, max) = (point.sum, point.min, point.max);
        Ok(Self { count: point.count, sum, min, max, counts, bounds: xxh3_64(&bounds) })
    }

    fn add(&mut self, point: &HistogramDataPoint<'_>) -> Result<Added, DropReason> {
        let delta = Self::new(point)?;
        if (delta.bounds, delta.counts.len()) != (self.bounds, self.counts.len()) {
            *self = delta;
            return Ok(Added::Reset);
        }
        let both = |one: Option<f64>, other: Option<f64>, add: fn(f64, f64) -> f64| {
            Some(add(one?, other?))
        };
        self.sum = both(self.sum, delta.sum, |one, other| one + other);
        // Of nothing there is no least and no greatest value, which is not the same as not
        // knowing it.
        if self.count == 0 {
            (self.min, self.max) = (delta.min, delta.max);
        } else if delta.count > 0 {
            self.min = both(self.min, delta.min, f64::min);
            self.max = both(self.max, delta.max, f64::max);
        }
        self.count = self.count.saturating_add(delta.count);
        for (total, delta) in self.counts.iter_mut().zip(&delta.counts) {
            *total = total.saturating_add(*delta);
        }
        Ok(Added::Grew)
    }

    fn write(&self, point: &mut Writer) {
        point.fixed64(4, self.count);
        if !self.counts.is_empty() {
            point.packed_fixed64(6, self.counts.iter().copied());
        }
        for (number, value) in [(5, self.sum), (11, self.min), (12, self.max)] {
            if let Some(value) = value {
                point.double(number, value);
            }
        }
    }
}
