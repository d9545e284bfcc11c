//! The flush: writes what was counted and forgets what is to be forgotten.
//!
//! - Deltas are taken out whole.
//! - A cumulative series is written when it counted something, and else as often as
//!   `unchanged_interval` says. Its first value comes with a zero at its start, until a flush was
//!   delivered that had both.
//! - What was idle for long enough is forgotten before anything is written, and ends with a point
//!   that says so. Nothing is forgotten before its last value was delivered.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use xxhash_rust::xxh3::xxh3_64;

use crate::Batch;
use crate::wire::Temporality;

use super::aggregate::{Aggregator, Stripe, lock};
use super::emit::{Emitter, Point};
use super::series::{Resource, Series, Table};

/// What a flush hands on.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    /// The number of the flush, for [`Aggregator::mark_delivered`].
    pub(crate) flush: u32,
    /// The metrics, in requests of about a mebibyte.
    pub(crate) batches: Vec<Batch>,
    /// Series that were forgotten.
    pub(crate) expired: u64,
    /// Services, and how many observations of each found no place since the last flush. Empty
    /// where nobody knows the service.
    pub(crate) overflowed: Vec<(Box<[u8]>, u64)>,
}

/// The flush under way.
#[derive(Debug, Clone, Copy)]
struct Flush {
    number: u32,
    /// The last that was delivered.
    delivered: u32,
    /// Resources that were seen last by then make room.
    evicted_ns: u64,
    now_ns: u64,
}

impl Aggregator {
    /// Writes what was counted, and forgets what is to be forgotten: in delta mode everything,
    /// else what expired.
    pub(crate) fn collect(&self, now_ns: u64) -> Collected {
        let flushed_ns = self.flushed_ns.swap(now_ns, Relaxed);
        let number = self.flush.fetch_add(1, Relaxed);
        let mut collected = Collected { flush: number, ..Collected::default() };
        let mut emitter = Emitter::new(&self.settings, flushed_ns, now_ns);
        match self.settings.temporality {
            Temporality::Delta => self.collect_delta(now_ns, &mut emitter, &mut collected),
            _ => {
                let delivered = self.delivered.load(Relaxed);
                let evicted_ns = self.make_room(delivered);
                let flush = Flush { number, delivered, evicted_ns, now_ns };
                self.collect_cumulative(flush, &mut emitter, &mut collected);
            }
        }
        collected.batches = emitter.finish();
        // Without resources nobody else holds a service's number.
        lock(&self.services).retain(|_, of_service| Arc::strong_count(of_service) > 1);
        collected
    }

    /// Notes that the next consumer took all that a flush handed on.
    pub(crate) fn mark_delivered(&self, flush: u32) {
        self.delivered.store(flush, Relaxed);
    }

    fn collect_delta(&self, now_ns: u64, emitter: &mut Emitter<'_>, collected: &mut Collected) {
        for stripe in &self.stripes {
            let Stripe { resources, bytes } = std::mem::take(&mut *lock(stripe));
            self.resources.fetch_sub(resources.len(), Relaxed);
            self.bytes.fetch_sub(bytes, Relaxed);
            for mut resource in resources {
                self.settle_exemplars(&mut resource, now_ns);
                let resource = &resource;
                self.forget_series(resource, resource.series());
                collected.note_overflowed(resource);
                emitter.resource(resource, &points(resource, |_| Due::Value));
            }
        }
        let mut overflow = lock(&self.overflow);
        collected.note_overflowed(&overflow);
        emitter.resource(&overflow, &points(&overflow, |_| Due::Value));
        overflow.overflowed = 0;
        for table in &mut overflow.tables {
            table.overflow = None;
        }
    }

    fn collect_cumulative(
        &self,
        flush: Flush,
        emitter: &mut Emitter<'_>,
        collected: &mut Collected,
    ) {
        for stripe in &self.stripes {
            let mut stripe = lock(stripe);
            let mut bytes = 0;
            let (mut resources, mut expired) = (0, 0);
            stripe.resources.retain(|resource| {
                collected.note_overflowed(resource);
                if self.is_over(flush, resource) {
                    emitter.resource(resource, &points(resource, |_| Due::End));
                    resources += 1;
                    expired += resource.series();
                    self.forget_series(resource, resource.series());
                    return false;
                }
                expired += self.write(flush, resource, emitter);
                bytes += resource.bytes();
                true
            });
            let before = std::mem::replace(&mut stripe.bytes, bytes);
            self.bytes.fetch_add(bytes, Relaxed);
            self.bytes.fetch_sub(before, Relaxed);
            self.resources.fetch_sub(resources, Relaxed);
            collected.expired += expired as u64;
        }
        let mut overflow = lock(&self.overflow);
        collected.note_overflowed(&overflow);
        self.write(flush, &mut overflow, emitter);
    }

    /// Whether a resource is to be forgotten.
    fn is_over(&self, flush: Flush, resource: &Resource) -> bool {
        let idle_ns = flush.now_ns.saturating_sub(resource.seen_ns);
        let is_idle = idle_ns >= self.settings.limits.resource_idle_ns
            || resource.seen_ns <= flush.evicted_ns;
        is_idle && is_done(resource, flush.delivered)
    }

    /// Writes a resource's series and forgets those that expired. How many these were; overflow
    /// series do not count.
    fn write(&self, flush: Flush, resource: &mut Resource, emitter: &mut Emitter<'_>) -> usize {
        let limit_ns = self.settings.limits.series_idle_ns;
        let is_over = |series: &Series| {
            let idle_ns = flush.now_ns.saturating_sub(series.seen_ns);
            idle_ns >= limit_ns && !series.fresh && series.written <= flush.delivered
        };
        let mut expired = 0;
        let ended: Vec<Vec<Series>> = resource
            .tables
            .iter_mut()
            .map(|table| {
                let before = table.series.len();
                let ended = take_out(table, is_over);
                expired += before - table.series.len();
                ended
            })
            .collect();
        self.forget_series(resource, expired);
        self.settle_exemplars(resource, flush.now_ns);
        let mut lists = points(resource, |series| self.due(flush, series));
        for (list, ended) in lists.iter_mut().zip(&ended) {
            list.extend(ended.iter().map(|series| (Point::End, series)));
        }
        emitter.resource(resource, &lists);
        for series in resource.tables.iter_mut().flat_map(Table::all_mut) {
            if self.due(flush, series) != Due::Nothing {
                series.mark_written(flush.number);
            }
        }
        resource.mark_written(flush.number);
        expired
    }

    /// Settles which exemplars of a resource's series are written.
    fn settle_exemplars(&self, resource: &mut Resource, now_ns: u64) {
        if self.settings.exemplars == 0 {
            return;
        }
        for series in resource.tables.iter_mut().flat_map(Table::all_mut) {
            series.settle_exemplars(self.settings.kept_only.as_ref(), now_ns);
        }
    }

    /// Makes room for others after `series` of a resource's went.
    fn forget_series(&self, resource: &Resource, series: usize) {
        resource.of_service.fetch_sub(series, Relaxed);
        self.series.fetch_sub(series, Relaxed);
    }

    fn due(&self, flush: Flush, series: &Series) -> Due {
        let is_new = series.born > flush.delivered;
        let has_changed =
            series.fresh || series.written > flush.delivered || !series.exemplars().is_empty();
        let unchanged_flushes = flush.number.saturating_sub(series.written);
        if !has_changed && unchanged_flushes < self.settings.unchanged_flushes {
            return Due::Nothing;
        }
        // Some receivers know milliseconds only, and one value for each.
        let has_lasted = flush.now_ns / 1_000_000 > series.start_ns / 1_000_000;
        match self.settings.initial_zero && is_new && has_lasted {
            true => Due::ZeroAndValue,
            false => Due::Value,
        }
    }

    /// The time up to which resources must have been seen last to be forgotten: when one found no
    /// place, those longest without spans go, an eighth of all. 0 when nothing must go.
    fn make_room(&self, delivered: u32) -> u64 {
        if !self.refused_resource.swap(false, Relaxed) {
            return 0;
        }
        let mut idle: Vec<u64> = Vec::new();
        for stripe in &self.stripes {
            let stripe = lock(stripe);
            let done = stripe.resources.iter().filter(|resource| is_done(resource, delivered));
            idle.extend(done.map(|resource| resource.seen_ns));
        }
        idle.sort_unstable();
        let last = (self.settings.limits.resources / 8).max(1).min(idle.len());
        last.checked_sub(1).map_or(0, |last| idle[last])
    }
}

/// Whether all that a resource's series counted was delivered.
fn is_done(resource: &Resource, delivered: u32) -> bool {
    !resource.fresh && resource.written <= delivered
}

/// What is to be written of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Nothing,
    Value,
    ZeroAndValue,
    End,
}

/// What is to be written of each of a resource's tables.
fn points(resource: &Resource, due: impl Fn(&Series) -> Due) -> Vec<Vec<(Point, &Series)>> {
    let list = |table| {
        let mut list = Vec::new();
        for series in Table::all(table) {
            match due(series) {
                Due::Nothing => {}
                Due::Value => list.push((Point::Value, series)),
                Due::ZeroAndValue => {
                    list.extend([(Point::Zero, series), (Point::Value, series)]);
                }
                Due::End => list.push((Point::End, series)),
            }
        }
        list
    };
    resource.tables.iter().map(list).collect()
}

/// Takes the series out of a table that are over; the table's memory too when most of it is free.
fn take_out(table: &mut Table, is_over: impl Fn(&Series) -> bool) -> Vec<Series> {
    let mut ended: Vec<Series> = table.series.extract_if(|series| is_over(series)).collect();
    if !ended.is_empty() && table.series.len() < table.series.capacity() / 4 {
        table.series.shrink_to_fit(|series| xxh3_64(series.body.key()));
    }
    ended.extend(table.overflow.take_if(|series| is_over(series)));
    ended
}

impl Collected {
    fn note_overflowed(&mut self, resource: &Resource) {
        if resource.overflowed > 0 {
            self.overflowed.push((resource.service.clone(), resource.overflowed));
        }
    }
}
