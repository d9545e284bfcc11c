//! Resources, their series, and the values in them. Nothing here locks.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use crate::exponential_histogram::ExponentialHistogram;
use crate::wire::{AnyValue, Writer};

use super::body::Body;
use super::exemplars::{Exemplar, KeptOnly, Reservoir};
use super::key::{OVERFLOW_KEY, valid_utf8, write_value};
use super::random::Random;
use super::settings::{Family, Settings, Shape};

/// The counts of one series.
#[derive(Debug)]
pub(crate) struct Series {
    /// See [`super::key`]; and how many spans or events, by duration if that is asked for.
    pub(crate) body: Body,
    extra: Option<Box<Extra>>,
    /// When it came into being.
    pub(crate) start_ns: u64,
    /// When it last counted something.
    pub(crate) seen_ns: u64,
    /// Sum of the durations. Exact, so the order of spans does not matter.
    sum_ns: Sum,
    /// The flush that wrote it first.
    pub(crate) born: u32,
    /// The flush that last wrote it.
    pub(crate) written: u32,
    /// Whether it counted something since it was last written.
    pub(crate) fresh: bool,
    /// Of its key's hash; nearly always tells series apart without a look at their keys.
    pub(crate) tag: u16,
}

/// See [`Series::tag`]. A table goes by other bits of the hash.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "16 of 64 bits are wanted")]
pub(crate) fn tag_of(hash: u64) -> u16 {
    (hash >> 32) as u16
}

/// What few series have.
#[derive(Debug, Default)]
struct Extra {
    exponential: Option<ExponentialHistogram>,
    /// Spans that a value came from and that were not written yet.
    exemplars: Reservoir,
}

/// A number of 96 bits, which stops at the greatest there is: 64 are too few for the nanoseconds
/// of busy series, and 128 would take more memory. The parts of 32 bits are the least first.
#[derive(Debug, Clone, Copy, Default)]
struct Sum([u32; 3]);

impl Sum {
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "each part takes its 32 bits")]
    fn add(&mut self, more: u128) {
        let sum = self.get().saturating_add(more).min((1 << 96) - 1);
        self.0 = [sum as u32, (sum >> 32) as u32, (sum >> 64) as u32];
    }

    #[inline]
    fn get(self) -> u128 {
        let [low, middle, high] = self.0.map(u128::from);
        low | middle << 32 | high << 64
    }
}

impl Series {
    /// A series of `family` that `flush` will be the first to write.
    pub(crate) fn new(key: &[u8], family: &Family, flush: u32, now_ns: u64) -> Self {
        Self {
            body: Body::new(key, family.slots),
            extra: match family.shape {
                Shape::Sum | Shape::Explicit => None,
                Shape::Exponential { max_size } => Some(Box::new(Extra {
                    exponential: Some(ExponentialHistogram::new(max_size)),
                    exemplars: Reservoir::default(),
                })),
            },
            start_ns: now_ns,
            seen_ns: now_ns,
            sum_ns: Sum::default(),
            born: flush,
            written: 0,
            fresh: true,
            tag: 0,
        }
    }

    /// Bytes that a series with this key takes at first, a table's room for it included.
    pub(crate) fn bytes_of(key: &[u8], family: &Family) -> usize {
        // A table is from less than half to seven eighths full.
        let extra = match family.shape {
            Shape::Sum | Shape::Explicit => 0,
            Shape::Exponential { .. } => size_of::<Extra>(),
        };
        2 * size_of::<Series>() + Body::heap_bytes_of(key, family.slots) + extra
    }

    /// The same for what it has become.
    pub(crate) fn bytes(&self) -> usize {
        let extra = self.extra.as_ref();
        let extra = extra.map_or(0, |extra| {
            let exponential = extra.exponential.as_ref();
            let exponential = exponential.map_or(0, ExponentialHistogram::heap_bytes);
            size_of::<Extra>() + extra.exemplars.heap_bytes() + exponential
        });
        2 * size_of::<Series>() + self.body.heap_bytes() + extra
    }

    /// Whether it stands for all that found no place.
    pub(crate) fn is_overflow(&self) -> bool {
        self.body.key() == OVERFLOW_KEY
    }

    /// Number of spans or events.
    pub(crate) fn count(&self) -> u64 {
        self.body.counts().fold(0, u64::saturating_add)
    }

    /// Sum of the durations.
    pub(crate) fn sum_ns(&self) -> u128 {
        self.sum_ns.get()
    }

    /// Counts a duration as often as `weight` says, in the count `slot`.
    #[inline]
    pub(crate) fn observe(&mut self, nanos: u64, slot: usize, weight: u64, now_ns: u64) {
        self.body.add(slot, weight);
        self.sum_ns.add(u128::from(nanos) * u128::from(weight));
        self.seen_ns = now_ns;
        self.fresh = true;
    }

    /// The durations by buckets of exponential width, if they are counted so.
    pub(crate) fn exponential(&self) -> Option<&ExponentialHistogram> {
        self.extra.as_ref()?.exponential.as_ref()
    }

    /// The same, to be changed.
    pub(crate) fn exponential_mut(&mut self) -> Option<&mut ExponentialHistogram> {
        self.extra.as_mut()?.exponential.as_mut()
    }

    /// Spans that a value came from, as far as the flush under way writes them.
    pub(crate) fn exemplars(&self) -> &[Exemplar] {
        self.extra.as_ref().map_or(&[], |extra| extra.exemplars.ready())
    }

    /// Settles which these are.
    pub(crate) fn settle_exemplars(&mut self, only: Option<&KeptOnly>, now_ns: u64) {
        if let Some(extra) = &mut self.extra {
            extra.exemplars.settle(only, now_ns);
        }
    }

    /// Keeps `exemplar`, or not; at most `limit` since the last flush.
    pub(crate) fn offer(&mut self, exemplar: Exemplar, limit: usize, random: &mut Random) {
        self.extra.get_or_insert_default().exemplars.offer(exemplar, limit, random);
    }

    /// Notes that `flush` wrote it.
    pub(crate) fn mark_written(&mut self, flush: u32) {
        // It may have come into being while that flush was under way.
        self.born = self.born.min(flush);
        self.written = flush;
        self.fresh = false;
        if let Some(extra) = &mut self.extra
            && extra.exemplars.forget_written()
        {
            extra.exemplars = Reservoir::default();
            self.extra.take_if(|extra| extra.exponential.is_none());
        }
    }
}

/// The series of one family and resource.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) series: HashTable<Series>,
    /// What found no place among them.
    pub(crate) overflow: Option<Series>,
}

impl Table {
    /// All its series, the overflow last.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Series> {
        self.series.iter().chain(&self.overflow)
    }

    /// The same, to be changed.
    pub(crate) fn all_mut(&mut self) -> impl Iterator<Item = &mut Series> {
        self.series.iter_mut().chain(&mut self.overflow)
    }

    /// Where the series of a key stands, most likely. Does not look at its key.
    #[inline]
    pub(crate) fn guess(&self, hash: u64) -> Option<usize> {
        self.series.find_bucket_index(hash, |series| series.tag == tag_of(hash))
    }

    /// The series of a key, which most likely stands at `guess`.
    #[inline]
    pub(crate) fn find_mut(
        &mut self,
        guess: Option<usize>,
        hash: u64,
        key: &[u8],
    ) -> Option<&mut Series> {
        let is_there = |series: &Series| *series.body.key() == *key;
        match guess.filter(|guess| self.series.get_bucket(*guess).is_some_and(is_there)) {
            Some(guess) => self.series.get_bucket_mut(guess),
            None => self.series.find_mut(hash, is_there),
        }
    }

    /// Adds a series, which is not there yet.
    pub(crate) fn insert(&mut self, hash: u64, mut series: Series) -> &mut Series {
        series.tag = tag_of(hash);
        self.series.insert_unique(hash, series, |series| xxh3_64(series.body.key())).into_mut()
    }
}

/// A resource and its series.
#[derive(Debug)]
pub(crate) struct Resource {
    /// Hash of the attributes that identify it.
    pub(crate) id: u128,
    /// The `Resource` message, as it is written.
    pub(crate) message: Box<[u8]>,
    /// Its `service.name`.
    pub(crate) service: Box<[u8]>,
    /// How many series all resources of its service have.
    pub(crate) of_service: Arc<AtomicUsize>,
    /// When it last had a span.
    pub(crate) seen_ns: u64,
    /// The flush that last wrote it.
    pub(crate) written: u32,
    /// Whether it had a span since then.
    pub(crate) fresh: bool,
    /// Observations that found no place since then.
    pub(crate) overflowed: u64,
    /// One for each of [`Settings::families`].
    pub(crate) tables: Vec<Table>,
}

impl Resource {
    pub(crate) fn new<'a>(
        settings: &Settings,
        id: u128,
        (service, of_service): (&[u8], Arc<AtomicUsize>),
        attributes: impl Iterator<Item = (&'a [u8], AnyValue<'a>)>,
    ) -> Self {
        let mut message = Writer::new();
        for (key, value) in attributes {
            message.attribute(1, &valid_utf8(key), |message| write_value(message, value));
        }
        Self {
            id,
            message: message.into_vec().into(),
            service: valid_utf8(service).into(),
            of_service,
            seen_ns: 0,
            written: 0,
            fresh: false,
            overflowed: 0,
            tables: settings.families.iter().map(|_| Table::default()).collect(),
        }
    }

    /// Bytes that it takes without its series, a table's room for it and its overflow series
    /// included.
    pub(crate) fn own_bytes(&self) -> usize {
        let tables = self.tables.len() * size_of::<Table>();
        2 * size_of::<Resource>() + self.message.len() + self.service.len() + tables
    }

    /// Bytes that it takes with its series.
    pub(crate) fn bytes(&self) -> usize {
        let series = self.tables.iter().flat_map(Table::all).map(Series::bytes);
        self.own_bytes() + series.sum::<usize>()
    }

    /// How many series it has; overflow series do not count.
    pub(crate) fn series(&self) -> usize {
        self.tables.iter().map(|table| table.series.len()).sum()
    }

    /// Notes that `flush` wrote all that had changed.
    pub(crate) fn mark_written(&mut self, flush: u32) {
        if self.fresh {
            self.written = flush;
        }
        (self.fresh, self.overflowed) = (false, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_takes_a_cache_line_beside_its_counts_and_key() {
        assert_eq!(size_of::<Series>(), 64);
    }

    #[test]
    fn sums_are_exact_until_they_stop() {
        let mut sum = Sum::default();
        sum.add(u128::from(u64::MAX));
        sum.add(2);
        assert_eq!(sum.get(), (1 << 64) + 1);
        sum.add(u128::MAX);
        assert_eq!(sum.get(), (1 << 96) - 1);
    }
}
