//! The aggregation: spans in, metrics out. Told the time; no I/O, no clock, no runtime.
//!
//! Resources are spread over [`STRIPES`] tables, each behind a lock that is held for one resource
//! entry of a batch. Every span that is observed is either counted in exactly one series of each
//! family, or reported as skipped.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::Batch;
use crate::wire::{AnyValue, Temporality, export, export::ResourceEntry};
use hashbrown::HashTable;

use super::emit::Emitter;
use super::key::OVERFLOW;
use super::series::{Counter, Resource, Room};
use super::settings::Settings;
use crate::identity::hash_attributes;

/// Number of tables that resources are spread over; a power of two.
const STRIPES: usize = 64;

/// A share of the resources.
type Stripe = HashTable<Resource>;

/// Counts spans by their dimensions.
pub(crate) struct Aggregator {
    settings: Settings,
    stripes: Vec<Mutex<Stripe>>,
    /// Stands for the resources that found no place.
    overflow: Mutex<Resource>,
    resources: AtomicUsize,
    series: AtomicUsize,
    /// Whether a resource found no place since the last flush.
    refused_resource: AtomicBool,
    /// When metrics were last collected, at first when counting began. Deltas start there.
    flushed_ns: AtomicU64,
}

/// What became of the spans of a batch.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Observed {
    /// Spans that were counted, be it in an overflow series.
    pub(crate) counted: u64,
    /// Spans whose resource has no `service.name`.
    pub(crate) no_service: u64,
    /// Observations that went to an overflow series.
    pub(crate) overflowed: u64,
}

/// What a flush hands on.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    /// The metrics, in requests of about a mebibyte.
    pub(crate) batches: Vec<Batch>,
    /// Series that were forgotten.
    pub(crate) expired: u64,
}

impl Aggregator {
    pub(crate) fn new(settings: Settings, now_ns: u64) -> Self {
        let attributes = [(OVERFLOW, AnyValue::Bool(true))].into_iter();
        let overflow = Resource::new(&settings, 0, b"", attributes);
        Self {
            settings,
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            overflow: Mutex::new(overflow),
            resources: AtomicUsize::new(0),
            series: AtomicUsize::new(0),
            refused_resource: AtomicBool::new(false),
            flushed_ns: AtomicU64::new(now_ns),
        }
    }

    /// Counts the spans of `batch`.
    pub(crate) fn observe(&self, batch: &Batch, now_ns: u64) -> Observed {
        let mut observed = Observed::default();
        let mut counter = Counter::new(&self.settings, now_ns);
        for entry in export::resources(batch.bytes()) {
            let spans = entry.scopes().flat_map(export::ScopeEntry::records);
            let Some((id, service)) = self.identify(entry) else {
                observed.no_service += spans.count() as u64;
                continue;
            };
            counter.read_fallbacks(entry.resource());
            let mut stripe = lock(&self.stripes[stripe_of(id)]);
            match self.find_or_insert(&mut stripe, id, service, entry) {
                Some(resource) => {
                    for span in spans {
                        counter.count(resource, span, self);
                        observed.counted += 1;
                    }
                }
                None => {
                    drop(stripe);
                    let mut overflow = lock(&self.overflow);
                    for span in spans {
                        counter.count(&mut overflow, span, &NoRoom);
                        observed.counted += 1;
                    }
                }
            }
        }
        observed.overflowed = counter.overflowed;
        observed
    }

    /// The hash and the service of an entry's resource; `None` without a service.
    fn identify<'a>(&self, entry: ResourceEntry<'a>) -> Option<(u128, &'a [u8])> {
        let attributes = entry.resource().attributes();
        let service = attributes.clone().find(|(key, _)| *key == b"service.name")?.1;
        let service = service.as_string().unwrap_or_default();
        let key = &self.settings.resource_key;
        let id = match key.is_empty() {
            true => hash_attributes(attributes),
            // The service is always part of the identity: it is the same for all series below.
            false => hash_attributes(attributes.filter(|(name, _)| {
                *name == b"service.name" || key.iter().any(|wanted| **wanted == **name)
            })),
        };
        Some((id, service))
    }

    fn find_or_insert<'t>(
        &self,
        stripe: &'t mut Stripe,
        id: u128,
        service: &[u8],
        entry: ResourceEntry<'_>,
    ) -> Option<&'t mut Resource> {
        let found = stripe.entry(
            table_hash(id),
            |resource| resource.id == id,
            |resource| table_hash(resource.id),
        );
        match found {
            hashbrown::hash_table::Entry::Occupied(resource) => Some(resource.into_mut()),
            hashbrown::hash_table::Entry::Vacant(place) => {
                if !take_one(&self.resources, self.settings.max_resources) {
                    self.refused_resource.store(true, Relaxed);
                    return None;
                }
                let attributes = entry.resource().attributes();
                let resource = Resource::new(&self.settings, id, service, attributes);
                Some(place.insert(resource).into_mut())
            }
        }
    }

    /// Writes what was counted, and forgets what is to be forgotten: in delta mode everything,
    /// else what expired. Nothing is forgotten before it was written once.
    pub(crate) fn collect(&self, now_ns: u64) -> Collected {
        let flushed_ns = self.flushed_ns.swap(now_ns, Relaxed);
        let mut collected = Collected::default();
        let mut emitter = Emitter::new(&self.settings, flushed_ns, now_ns);
        match self.settings.temporality {
            Temporality::Delta => self.collect_delta(&mut emitter),
            _ => collected.expired = self.collect_cumulative(&mut emitter, now_ns),
        }
        collected.batches = emitter.finish();
        collected
    }

    fn collect_delta(&self, emitter: &mut Emitter<'_>) {
        for stripe in &self.stripes {
            let resources = std::mem::take(&mut *lock(stripe));
            self.resources.fetch_sub(resources.len(), Relaxed);
            self.series.fetch_sub(resources.iter().map(Resource::series).sum(), Relaxed);
            for resource in &resources {
                emitter.resource(resource);
            }
        }
        let mut overflow = lock(&self.overflow);
        emitter.resource(&overflow);
        for table in &mut overflow.tables {
            table.overflow = None;
        }
    }

    fn collect_cumulative(&self, emitter: &mut Emitter<'_>, now_ns: u64) -> u64 {
        let idle_limit_ns = self.settings.resource_expiration_ns;
        let evicted_ns = self.make_room();
        let mut expired = 0;
        for stripe in &self.stripes {
            lock(stripe).retain(|resource| {
                let idle_ns = now_ns.saturating_sub(resource.seen_ns);
                let forget = idle_ns >= idle_limit_ns || resource.seen_ns <= evicted_ns;
                if forget && !resource.fresh {
                    self.resources.fetch_sub(1, Relaxed);
                    expired += resource.series();
                    return false;
                }
                expired += self.expire_series(resource, now_ns);
                emitter.resource(resource);
                mark_written(resource);
                true
            });
        }
        self.series.fetch_sub(expired, Relaxed);
        emitter.resource(&lock(&self.overflow));
        expired as u64
    }

    /// The time up to which resources must have been seen last to be forgotten: when one found no
    /// place, those longest without spans go, an eighth of all. 0 when nothing must go.
    fn make_room(&self) -> u64 {
        if !self.refused_resource.swap(false, Relaxed) {
            return 0;
        }
        let mut idle: Vec<u64> = Vec::new();
        for stripe in &self.stripes {
            let stripe = lock(stripe);
            idle.extend(stripe.iter().filter(|resource| !resource.fresh).map(|r| r.seen_ns));
        }
        idle.sort_unstable();
        let last = (self.settings.max_resources / 8).max(1).min(idle.len());
        last.checked_sub(1).map_or(0, |last| idle[last])
    }

    fn expire_series(&self, resource: &mut Resource, now_ns: u64) -> usize {
        let limit_ns = self.settings.series_expiration_ns;
        if limit_ns == u64::MAX {
            return 0;
        }
        let before = resource.series();
        for table in &mut resource.tables {
            table
                .series
                .retain(|series| series.fresh || now_ns.saturating_sub(series.seen_ns) < limit_ns);
        }
        before - resource.series()
    }

    /// How many series there are; overflow series do not count.
    pub(crate) fn series(&self) -> usize {
        self.series.load(Relaxed)
    }

    /// How many resources there are.
    pub(crate) fn resources(&self) -> usize {
        self.resources.load(Relaxed)
    }
}

impl Room for Aggregator {
    fn take(&self, present: usize) -> bool {
        present < self.settings.series_per_resource
            && take_one(&self.series, self.settings.max_series)
    }
}

/// For the resource that stands for many: all its spans count in its overflow series.
struct NoRoom;

impl Room for NoRoom {
    fn take(&self, _present: usize) -> bool {
        false
    }
}

fn mark_written(resource: &mut Resource) {
    resource.fresh = false;
    for table in &mut resource.tables {
        for series in &mut table.series {
            series.fresh = false;
        }
    }
}

/// Adds one to `count` unless it has reached `limit`.
fn take_one(count: &AtomicUsize, limit: usize) -> bool {
    count.fetch_update(Relaxed, Relaxed, |count| (count < limit).then_some(count + 1)).is_ok()
}

/// Counts that a panic left behind are still the best there is.
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
