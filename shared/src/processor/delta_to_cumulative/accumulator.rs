//! All streams: deltas in, totals out. Told the time; no I/O, no clock, no runtime.
//!
//! Streams are spread over [`STRIPES`] tables by their identity, each behind a lock that is held
//! for one point. Every point of a batch that holds a delta is either added to exactly one stream,
//! or counted as dropped with a reason; what holds none is handed on as it came.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use xxhash_rust::xxh3::xxh3_128;

use super::metrics::Tally;
use super::stream::{Added, DropReason, Order, Point, Stream};
use crate::Batch;
use crate::identity::hash_attributes;
use crate::wire::rewrite::{Change, Editor, Empties, Visit, rewrite};
use crate::wire::{DataKind, Metric, ResourceEntry, ScopeEntry, Temporality, Writer};

/// Number of tables that streams are spread over; a power of two.
const STRIPES: usize = 64;

/// What the accumulator keeps to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) streams: usize,
    pub(super) bytes: usize,
    pub(super) order: Order,
}

/// The totals of all streams.
pub(super) struct Accumulator {
    limits: Limits,
    stripes: Vec<Mutex<HashTable<Stream>>>,
    streams: AtomicUsize,
    bytes: AtomicUsize,
}

impl Accumulator {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            streams: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
        }
    }

    /// Adds up the deltas of `batch`: the same with totals in their place, `None` when nothing is
    /// left of it, and what became of the points.
    pub(super) fn accumulate(&self, batch: Batch, now_ns: u64) -> (Option<Batch>, Tally) {
        let mut edit = Edit::new(self, now_ns);
        let Some(request) = rewrite(batch.bytes(), Empties::Drop, &mut edit) else {
            return (Some(batch), edit.tally);
        };
        let dropped = usize::try_from(edit.tally.all_dropped()).unwrap_or(usize::MAX);
        let items = batch.items().saturating_sub(dropped);
        let left = (!request.is_empty()).then(|| batch.part(request.into(), items));
        (left, edit.tally)
    }

    /// Forgets the streams that had no point for `max_stale_ns`, and tells how many.
    pub(super) fn expire(&self, now_ns: u64, max_stale_ns: u64) -> u64 {
        let mut expired = 0;
        for stripe in &self.stripes {
            lock(stripe).retain(|stream| {
                let stale = now_ns.saturating_sub(stream.seen_ns) >= max_stale_ns;
                if stale {
                    self.forget(stream);
                    expired += 1;
                }
                !stale
            });
        }
        expired
    }

    /// How many streams there are.
    pub(super) fn streams(&self) -> usize {
        self.streams.load(Relaxed)
    }

    /// Bytes that they take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// Adds a point to its stream and writes the total.
    fn add(
        &self,
        id: u128,
        point: &Point<'_>,
        raw: &[u8],
        now_ns: u64,
        total: &mut Writer,
    ) -> Result<Added, DropReason> {
        let order = self.limits.order;
        let mut stripe = lock(&self.stripes[stripe_of(id)]);
        let found =
            stripe.entry(table_hash(id), |stream| stream.id == id, |stream| table_hash(stream.id));
        match found {
            Entry::Occupied(mut stream) => {
                let stream = stream.get_mut();
                let before = stream.bytes();
                // A point that is dropped shows, too, that its stream is alive.
                stream.seen_ns = now_ns;
                let added = stream.add(point, raw, order)?;
                self.resize(before, stream.bytes());
                stream.write(raw, total);
                Ok(added)
            }
            Entry::Vacant(place) => {
                let mut stream = Stream::new(id, point, raw, order)?;
                stream.seen_ns = now_ns;
                self.take_room(&stream)?;
                stream.write(raw, total);
                place.insert(stream);
                Ok(Added::Grew)
            }
        }
    }

    /// Takes room for a new stream.
    fn take_room(&self, stream: &Stream) -> Result<(), DropReason> {
        if !take(&self.streams, 1, self.limits.streams) {
            return Err(DropReason::Limit);
        }
        if !take(&self.bytes, stream.bytes(), self.limits.bytes) {
            self.streams.fetch_sub(1, Relaxed);
            return Err(DropReason::Limit);
        }
        Ok(())
    }

    fn resize(&self, before: usize, after: usize) {
        if after > before {
            self.bytes.fetch_add(after - before, Relaxed);
        } else {
            self.bytes.fetch_sub(before - after, Relaxed);
        }
    }

    /// Ends a stream, if there is one.
    fn end(&self, id: u128) {
        let mut stripe = lock(&self.stripes[stripe_of(id)]);
        if let Ok(stream) = stripe.find_entry(table_hash(id), |stream| stream.id == id) {
            self.forget(&stream.remove().0);
        }
    }

    fn forget(&self, stream: &Stream) {
        self.streams.fetch_sub(1, Relaxed);
        self.bytes.fetch_sub(stream.bytes(), Relaxed);
    }
}

/// The walk over a batch.
struct Edit<'s> {
    accumulator: &'s Accumulator,
    now_ns: u64,
    tally: Tally,
    /// Hash of the resource that the walk is in.
    resource: u128,
    /// Hash of the scope that it is in, and of that resource.
    scope: u128,
    /// A point before it is known whether it is written.
    total: Writer,
}

impl<'s> Edit<'s> {
    fn new(accumulator: &'s Accumulator, now_ns: u64) -> Self {
        let total = Writer::with_capacity(512);
        let tally = Tally::default();
        Self { accumulator, now_ns, tally, resource: 0, scope: 0, total }
    }

    /// Writes the total of a point's stream to `self.total`; tells whether there is one.
    fn total(&mut self, metric: u128, point: &Point<'_>, raw: &[u8]) -> bool {
        let attributes = hash_attributes(point.attributes());
        let id = Identity::of(metric).number(attributes).hash();
        self.total.clear();
        let added = match (point.ends_stream(), self.accumulator.limits.order) {
            (false, _) => self.accumulator.add(id, point, raw, self.now_ns, &mut self.total),
            (true, Order::ManyWriters { .. }) => Err(DropReason::WriterEnded),
            (true, Order::OneWriter) => {
                self.accumulator.end(id);
                self.total.raw(raw);
                Ok(Added::Grew)
            }
        };
        match added {
            Ok(added) => {
                self.tally.added += 1;
                self.tally.resets += u64::from(added == Added::Reset);
                true
            }
            Err(reason) => {
                self.tally.drop(reason);
                false
            }
        }
    }
}

impl<'a> Editor<'a> for Edit<'_> {
    fn enter_resource(&mut self, entry: ResourceEntry<'a>) -> Visit {
        self.resource = hash_attributes(entry.resource().attributes());
        Visit::Into
    }

    fn enter_scope(&mut self, scope: ScopeEntry<'a>) -> Visit {
        self.scope = Identity::of(self.resource)
            .text(scope.name())
            .text(scope.version())
            .number(hash_attributes(scope.attributes()))
            .hash();
        Visit::Into
    }

    fn record(&mut self, record: &'a [u8], new: &mut Writer) -> Change {
        let metric = Metric::read(record);
        let (Temporality::Delta, Some(kind)) = (metric.temporality, metric.kind) else {
            return Change::Keep;
        };
        let identity = Identity::of(self.scope)
            .text(metric.name)
            .text(metric.unit)
            .text(&[kind_number(kind), u8::from(metric.monotonic)])
            .hash();
        for field in metric.header_fields() {
            new.raw(field.raw);
        }
        let mut left = 0;
        new.message(kind.field(), |data| {
            for field in metric.data_fields() {
                match (field.number, field.value.bytes()) {
                    (1, Some(raw)) => {
                        if let Some(point) = Point::read(kind, raw)
                            && self.total(identity, &point, raw)
                        {
                            data.bytes(1, self.total.as_slice());
                            left += 1;
                        }
                    }
                    (2, None) => {}
                    _ => data.raw(field.raw),
                }
            }
            data.varint(2, Temporality::Cumulative.number());
        });
        if left == 0 { Change::Drop } else { Change::Replace }
    }
}

/// What tells one thing from others, to be hashed.
struct Identity(Vec<u8>);

impl Identity {
    /// Below a parent, which is told by its hash.
    fn of(parent: u128) -> Self {
        Self(Vec::with_capacity(128)).number(parent)
    }

    fn number(mut self, number: u128) -> Self {
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }

    fn text(mut self, text: &[u8]) -> Self {
        self.0.extend_from_slice(&(text.len() as u64).to_le_bytes());
        self.0.extend_from_slice(text);
        self
    }

    fn hash(&self) -> u128 {
        xxh3_128(&self.0)
    }
}

const fn kind_number(kind: DataKind) -> u8 {
    match kind {
        DataKind::Gauge => 0,
        DataKind::Sum => 1,
        DataKind::Histogram => 2,
        DataKind::ExponentialHistogram => 3,
        DataKind::Summary => 4,
    }
}

/// Adds to `count` unless that would be more than `limit`.
fn take(count: &AtomicUsize, more: usize, limit: usize) -> bool {
    let added = |count: usize| count.checked_add(more).filter(|sum| *sum <= limit);
    count.fetch_update(Relaxed, Relaxed, added).is_ok()
}

/// Totals that a panic left behind are still the best there is.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[allow(clippy::cast_possible_truncation, reason = "the low bits are what is wanted")]
fn stripe_of(id: u128) -> usize {
    id as usize % STRIPES
}

/// Other bits than the stripe's, since those are all equal within a table.
#[allow(clippy::cast_possible_truncation, reason = "64 of 128 bits are wanted")]
fn table_hash(id: u128) -> u64 {
    (id >> 64) as u64
}
