//! The aggregation: spans in, metrics out. Told the time; no I/O, no clock, no runtime.
//!
//! Resources are spread over [`STRIPES`] tables, each behind a lock that is held for one resource
//! entry of a batch. Every span that is observed is either counted in exactly one series of each
//! family that counts spans, or reported as skipped. What is taken out again, and when, is said in
//! [`super::collect`].

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::hash_map::EntryRef;
use hashbrown::{HashMap, HashTable};
use xxhash_rust::xxh3::xxh3_128;

use crate::Batch;
use crate::identity::hash_attributes;
use crate::wire::{AnyValue, export, export::ResourceEntry, export::ScopeEntry};

use super::config::lasts;
use super::counter::{Counter, Limit, Room, Tally};
use super::key::OVERFLOW;
use super::random::Random;
use super::self_time::{SelfTime, self_times};
use super::series::Resource;
use super::settings::{Settings, Source};

/// The attribute that every resource must have.
const SERVICE: &[u8] = b"service.name";

/// Number of tables that resources are spread over; a power of two.
const STRIPES: usize = 64;

/// Number of resources whose identity is remembered; a power of two.
const REMEMBERED: usize = 1024;

/// A share of the resources.
#[derive(Default)]
pub(super) struct Stripe {
    pub(super) resources: HashTable<Resource>,
    /// What they take, as it was reckoned at the last flush and with new series since.
    pub(super) bytes: usize,
}

/// What resource a message means. A client sends the same message again and again, and to hash it as
/// a whole takes a tenth of what its attributes take one by one.
#[derive(Default, Clone, Copy)]
struct Identified {
    /// Hash of the message.
    message: u128,
    id: u128,
}

/// Counts spans by their dimensions.
pub(crate) struct Aggregator {
    pub(super) settings: Settings,
    /// The last one of those whose messages' hashes end alike.
    identified: Vec<Mutex<Identified>>,
    pub(super) stripes: Vec<Mutex<Stripe>>,
    /// How many series each service has that has resources. Locked when a resource comes into
    /// being, and at flushes.
    pub(super) services: Mutex<HashMap<Box<[u8]>, Arc<AtomicUsize>>>,
    /// Stands for the resources that found no place.
    pub(super) overflow: Mutex<Resource>,
    pub(super) resources: AtomicUsize,
    pub(super) series: AtomicUsize,
    pub(super) bytes: AtomicUsize,
    /// Whether a resource found no place since the last flush.
    pub(super) refused_resource: AtomicBool,
    /// When metrics were last collected, at first when counting began. Deltas start there.
    pub(super) flushed_ns: AtomicU64,
    /// The number of the coming flush; the first is 1.
    pub(super) flush: AtomicU32,
    /// The last flush that the next consumer took as a whole.
    pub(super) delivered: AtomicU32,
    batches: AtomicU64,
}

/// What became of the spans of a batch.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Observed {
    /// Spans that were counted, be it in an overflow series.
    pub(crate) counted: u64,
    /// Spans whose resource has no `service.name`.
    pub(crate) no_service: u64,
    /// What came of counting the others.
    pub(crate) tally: Tally,
}

impl Aggregator {
    pub(crate) fn new(settings: Settings, now_ns: u64) -> Self {
        let attributes = [(OVERFLOW, AnyValue::Bool(true))].into_iter();
        let overflow = Resource::new(&settings, 0, (b"", Arc::default()), attributes);
        Self {
            settings,
            identified: (0..REMEMBERED).map(|_| Mutex::default()).collect(),
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            services: Mutex::default(),
            overflow: Mutex::new(overflow),
            resources: AtomicUsize::new(0),
            series: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            refused_resource: AtomicBool::new(false),
            flushed_ns: AtomicU64::new(now_ns),
            flush: AtomicU32::new(1),
            delivered: AtomicU32::new(0),
            batches: AtomicU64::new(0),
        }
    }

    /// Counts the spans of `batch`.
    pub(crate) fn observe(&self, batch: &Batch, now_ns: u64) -> Observed {
        let mut observed = Observed::default();
        let random = Random::new(now_ns ^ self.batches.fetch_add(1, Relaxed).rotate_left(32));
        let mut counter = Counter::new(&self.settings, random, self.flush.load(Relaxed), now_ns);
        let mut self_times = self.self_times(batch).into_iter();
        for entry in export::resources(batch.bytes()) {
            let Some(id) = self.identify(entry) else {
                let spans = entry.scopes().flat_map(ScopeEntry::records).count();
                self_times.by_ref().take(spans).for_each(drop);
                observed.no_service += spans as u64;
                continue;
            };
            counter.enter_resource(entry.resource());
            let mut spans = Spans { entry, self_times: &mut self_times };
            let mut stripe = lock(&self.stripes[stripe_of(id)]);
            let Stripe { resources, bytes } = &mut *stripe;
            let before = counter.tally().bytes;
            match self.find_or_insert(resources, bytes, id, entry) {
                Ok(resource) => {
                    observed.counted += spans.count(&mut counter, resource, self);
                    *bytes += counter.tally().bytes - before;
                }
                Err(limit) => {
                    drop(stripe);
                    let mut overflow = lock(&self.overflow);
                    observed.counted += spans.count(&mut counter, &mut overflow, &NoRoom(limit));
                }
            }
        }
        observed.tally = counter.tally();
        observed
    }

    /// The self times of all spans, if they are measured.
    fn self_times(&self, batch: &Batch) -> Vec<SelfTime> {
        let is_measured = |source| source == Source::SelfTimes;
        if !self.settings.families.iter().any(|family| is_measured(family.source)) {
            return Vec::new();
        }
        let scopes = export::resources(batch.bytes()).flat_map(ResourceEntry::scopes);
        self_times(scopes.flat_map(ScopeEntry::records))
    }

    /// The hash of what identifies an entry's resource; `None` without a service.
    fn identify(&self, entry: ResourceEntry<'_>) -> Option<u128> {
        let mut messages = entry.resource().messages();
        let message = xxh3_128(messages.next()?);
        if messages.next().is_some() {
            return self.identify_anew(entry);
        }
        let identified = &self.identified[low_bits(message) % REMEMBERED];
        let last = *lock(identified);
        if last.message == message {
            return Some(last.id);
        }
        let id = self.identify_anew(entry)?;
        *lock(identified) = Identified { message, id };
        Some(id)
    }

    fn identify_anew(&self, entry: ResourceEntry<'_>) -> Option<u128> {
        let attributes = entry.resource().attributes();
        attributes.clone().find(|(key, _)| *key == SERVICE)?;
        let identity = &self.settings.identity;
        Some(hash_attributes(attributes.filter(|(name, _)| {
            // The service is always part of the identity: it is the same for all series below.
            *name == SERVICE
                || !identity.service_only
                    && (identity.keys.is_empty() || identity.keys.iter().any(|key| **key == **name))
                    && (identity.passing || lasts(name))
        })))
    }

    fn find_or_insert<'t>(
        &self,
        resources: &'t mut HashTable<Resource>,
        bytes: &mut usize,
        id: u128,
        entry: ResourceEntry<'_>,
    ) -> Result<&'t mut Resource, Limit> {
        let found = resources.entry(
            table_hash(id),
            |resource| resource.id == id,
            |resource| table_hash(resource.id),
        );
        match found {
            hashbrown::hash_table::Entry::Occupied(resource) => Ok(resource.into_mut()),
            hashbrown::hash_table::Entry::Vacant(place) => {
                let limits = &self.settings.limits;
                if !take(&self.resources, 1, limits.resources) {
                    self.refused_resource.store(true, Relaxed);
                    return Err(Limit::Resources);
                }
                let resource = self.resource(id, entry);
                let own_bytes = resource.own_bytes();
                if !take(&self.bytes, own_bytes, limits.bytes) {
                    self.resources.fetch_sub(1, Relaxed);
                    return Err(Limit::Bytes);
                }
                *bytes += own_bytes;
                Ok(place.insert(resource).into_mut())
            }
        }
    }

    fn resource(&self, id: u128, entry: ResourceEntry<'_>) -> Resource {
        let identity = &self.settings.identity;
        let service = entry.resource().attribute(SERVICE).and_then(AnyValue::as_string);
        let service = service.unwrap_or_default();
        let attributes = entry
            .resource()
            .attributes()
            .filter(|(name, _)| !identity.service_only && (identity.passing || lasts(name)));
        let of_service = match lock(&self.services).entry_ref(service) {
            EntryRef::Occupied(entry) => Arc::clone(entry.get()),
            EntryRef::Vacant(entry) => Arc::clone(entry.insert(Arc::default())),
        };
        Resource::new(&self.settings, id, (service, of_service), attributes)
    }

    /// How many series there are; overflow series do not count.
    pub(crate) fn series(&self) -> usize {
        self.series.load(Relaxed)
    }

    /// How many resources there are.
    pub(crate) fn resources(&self) -> usize {
        self.resources.load(Relaxed)
    }

    /// Bytes that series and resources take, as they were reckoned at the last flush, with what
    /// is new since.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }
}

/// The spans of an entry, and the self times of these and all later ones, if they are measured.
struct Spans<'a, 't> {
    entry: ResourceEntry<'a>,
    self_times: &'t mut std::vec::IntoIter<SelfTime>,
}

impl<'a> Spans<'a, '_> {
    /// Counts them in `resource`, and says how many they are.
    fn count(
        &mut self,
        counter: &mut Counter<'a, '_>,
        resource: &mut Resource,
        room: &impl Room,
    ) -> u64 {
        let mut count = 0;
        for scope in self.entry.scopes() {
            counter.enter_scope(scope);
            for span in scope.records() {
                counter.count(resource, span, self.self_times.next(), room);
                count += 1;
            }
        }
        counter.settle(resource, room);
        count
    }
}

impl Room for Aggregator {
    fn take(&self, present: usize, of_service: &AtomicUsize, bytes: usize) -> Result<(), Limit> {
        let limits = &self.settings.limits;
        if present >= limits.series_per_resource {
            return Err(Limit::Cardinality);
        }
        if !take(of_service, 1, limits.series_per_service) {
            return Err(Limit::Service);
        }
        if !take(&self.series, 1, limits.series) {
            of_service.fetch_sub(1, Relaxed);
            return Err(Limit::Series);
        }
        if !take(&self.bytes, bytes, limits.bytes) {
            of_service.fetch_sub(1, Relaxed);
            self.series.fetch_sub(1, Relaxed);
            return Err(Limit::Bytes);
        }
        Ok(())
    }
}

/// For the resource that stands for many: all its spans count in its overflow series.
struct NoRoom(Limit);

impl Room for NoRoom {
    fn take(&self, _present: usize, _: &AtomicUsize, _bytes: usize) -> Result<(), Limit> {
        Err(self.0)
    }
}

/// Adds to `sum` unless that would exceed `limit`.
fn take(sum: &AtomicUsize, more: usize, limit: usize) -> bool {
    let sum_within = |sum: usize| sum.checked_add(more).filter(|sum| *sum <= limit);
    sum.fetch_update(Relaxed, Relaxed, sum_within).is_ok()
}

/// Counts that a panic left behind are still the best there is.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stripe_of(id: u128) -> usize {
    low_bits(id) % STRIPES
}

#[allow(clippy::cast_possible_truncation, reason = "the low bits are what is wanted")]
fn low_bits(hash: u128) -> usize {
    hash as usize
}

/// Other bits than the stripe's, since those are all equal within a table.
#[allow(clippy::cast_possible_truncation, reason = "64 of 128 bits are wanted")]
fn table_hash(id: u128) -> u64 {
    (id >> 64) as u64
}
