//! Counts spans into the series of their resource.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::atomic::AtomicUsize;

use xxhash_rust::xxh3::xxh3_64;

use crate::semconv;
use crate::wire::{self, Span, Writer, export::ScopeEntry};

use super::exemplars::Exemplar;
use super::key::{OVERFLOW_KEY, Subject, write_dimensions, write_subject};
use super::random::Random;
use super::reader::{Reader, Said};
use super::self_time::SelfTime;
use super::series::{Resource, Series};
use super::settings::{Settings, Shape, Source};
use super::units::in_unit;
use super::weight::Weights;

/// Why a new series found no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Its resource has as many as it may have.
    Cardinality,
    /// All resources of its service together have as many as they may have.
    Service,
    /// There are as many as there may be.
    Series,
    /// They take as many bytes as they may.
    Bytes,
    /// Its resource found no place.
    Resources,
}

impl Limit {
    pub(crate) const ALL: [Limit; 5] =
        [Limit::Cardinality, Limit::Service, Limit::Series, Limit::Bytes, Limit::Resources];

    /// The key of the limit.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Limit::Cardinality => "aggregation_cardinality_limit",
            Limit::Service => "max_series_per_service",
            Limit::Series => "max_series",
            Limit::Bytes => "max_series_bytes",
            Limit::Resources => "resource_metrics_cache_size",
        }
    }
}

/// Whether a new series may come into being.
pub(crate) trait Room {
    /// Takes room for one more series of `bytes` beside `present` ones of its resource and family,
    /// and `of_service` ones of all resources of its service.
    fn take(&self, present: usize, of_service: &AtomicUsize, bytes: usize) -> Result<(), Limit>;
}

/// What came of the counting.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Observations that went to an overflow series, in the order of [`Limit::ALL`].
    pub(crate) overflowed: [u64; Limit::ALL.len()],
    /// Spans without a self time because their trace is not complete in its batch.
    pub(crate) incomplete: u64,
    /// Spans without a self time because they have no ids or end before they start.
    pub(crate) unusable: u64,
    /// Bytes of new series.
    pub(crate) bytes: usize,
}

/// Counts spans. Keeps buffers from span to span.
pub(crate) struct Counter<'a, 's> {
    reader: Reader<'a, 's>,
    weights: Weights<'a>,
    sink: Sink<'s>,
    scope_name: &'a [u8],
    scope_version: &'a [u8],
}

/// Where observations go.
struct Sink<'s> {
    settings: &'s Settings,
    random: Random,
    tally: Tally,
    /// The coming flush.
    flush: u32,
    now_ns: u64,
    /// Observations of one resource that are yet to be counted, and their keys one behind the other.
    pending: Vec<Pending>,
    keys: Writer,
}

/// An observation on its way to its series.
struct Pending {
    /// Index of its family.
    family: usize,
    hash: u64,
    key: Range<usize>,
    /// Where its series stands in the table, most likely.
    guess: Option<usize>,
    nanos: u64,
    weight: u64,
    exemplar: Option<Exemplar>,
}

/// Observations whose series are looked for together: enough that what memory takes for one is used
/// for the others.
const TOGETHER: usize = 32;

impl<'a, 's> Counter<'a, 's> {
    pub(crate) fn new(settings: &'s Settings, random: Random, flush: u32, now_ns: u64) -> Self {
        Self {
            reader: Reader::new(settings),
            weights: Weights::new(),
            sink: Sink {
                settings,
                random,
                tally: Tally::default(),
                flush,
                now_ns,
                pending: Vec::with_capacity(TOGETHER),
                keys: Writer::with_capacity(TOGETHER * 128),
            },
            scope_name: &[],
            scope_version: &[],
        }
    }

    /// What came of the counting so far.
    pub(crate) fn tally(&self) -> Tally {
        self.sink.tally
    }

    /// Turns to spans of another resource.
    pub(crate) fn enter_resource(&mut self, resource: wire::Resource<'a>) {
        self.reader.read_resource(resource);
    }

    /// Turns to spans of another scope.
    pub(crate) fn enter_scope(&mut self, scope: ScopeEntry<'a>) {
        let told = &self.sink.settings.scopes;
        if told.is_empty() {
            return;
        }
        let name = scope.name();
        let is_told = told.iter().any(|told| **told == *name);
        (self.scope_name, self.scope_version) =
            if is_told { (name, scope.version()) } else { (&[][..], &[][..]) };
    }

    /// Counts what is on its way into the series of `resource`. To be called when its spans are
    /// over.
    pub(crate) fn settle(&mut self, resource: &mut Resource, room: &impl Room) {
        self.sink.settle(resource, room);
    }

    /// Counts a span of this resource and scope, as soon as some have come together.
    #[inline]
    pub(crate) fn count(
        &mut self,
        resource: &mut Resource,
        raw: &'a [u8],
        self_time: Option<SelfTime>,
        room: &impl Room,
    ) {
        let span = self.reader.read_span(raw);
        let weight = self.weights.weigh(span.trace_state, &mut self.sink.random);
        let name = match self.sink.settings.defaults.semantic_name {
            true => semconv::span_name(&span),
            false => Cow::Borrowed(span.name),
        };
        let subject = Subject {
            name: &name,
            kind: span.kind,
            status: span.status_code(),
            scope_name: self.scope_name,
            scope_version: self.scope_version,
            extrapolated: weight.extrapolated,
        };
        let (duration_ns, weight) = (span.duration_ns(), weight.count);
        let settings = self.sink.settings;
        let noted = self.sink.pending.len();
        let beginning = self.sink.begin_keys(&subject);
        let said = self.reader.of_span();
        for (index, family) in settings.families.iter().enumerate() {
            let nanos = match family.source {
                Source::Spans => duration_ns,
                Source::SelfTimes => match self_time {
                    Some(SelfTime::Known(nanos)) => nanos,
                    Some(SelfTime::Incomplete) => {
                        self.sink.tally.incomplete += 1;
                        continue;
                    }
                    Some(SelfTime::Unusable) | None => {
                        self.sink.tally.unusable += 1;
                        continue;
                    }
                },
                Source::Events => continue,
            };
            self.sink.note(index, &beginning, &said, Measured { span: &span, nanos, weight });
        }
        if self.sink.pending.len() == noted {
            self.sink.keys.truncate(beginning.start);
        }
        let events = settings.families.iter().position(|family| family.source == Source::Events);
        if let Some(index) = events {
            for event in span.events() {
                // What was noted before may be counted meanwhile, and its keys forgotten.
                let beginning = self.sink.begin_keys(&subject);
                let said = self.reader.read_event(event);
                let measured = Measured { span: &span, nanos: duration_ns, weight };
                self.sink.note(index, &beginning, &said, measured);
                if self.sink.pending.len() >= TOGETHER {
                    self.sink.settle(resource, room);
                }
            }
        }
        if self.sink.pending.len() >= TOGETHER {
            self.sink.settle(resource, room);
        }
        resource.seen_ns = self.sink.now_ns;
        resource.fresh = true;
    }
}

/// What was measured of a span.
#[derive(Clone, Copy)]
struct Measured<'t> {
    span: &'t Span<'t>,
    nanos: u64,
    weight: u64,
}

impl Sink<'_> {
    /// Writes what the keys of a subject begin with, in all families; tells where.
    #[inline]
    fn begin_keys(&mut self, subject: &Subject<'_>) -> Range<usize> {
        let start = self.keys.len();
        write_subject(self.settings, subject, &mut self.keys);
        start..self.keys.len()
    }

    /// Notes an observation for the series of a family whose key begins like this.
    #[inline]
    fn note(
        &mut self,
        index: usize,
        beginning: &Range<usize>,
        said: &Said<'_, '_>,
        measured: Measured<'_>,
    ) {
        let Measured { span, nanos, weight } = measured;
        // The first family goes on where the beginning ends; the others repeat it.
        let start = match self.keys.len() == beginning.end {
            true => beginning.start,
            false => {
                let start = self.keys.len();
                self.keys.repeat(beginning.clone());
                start
            }
        };
        write_dimensions(&self.settings.families[index], said, &mut self.keys);
        let exemplar = match self.settings.exemplars {
            0 => None,
            _ => Exemplar::of(span, nanos),
        };
        let key = start..self.keys.len();
        let hash = xxh3_64(&self.keys.as_slice()[key.clone()]);
        self.pending.push(Pending {
            family: index,
            hash,
            key,
            guess: None,
            nanos,
            weight,
            exemplar,
        });
    }

    /// Counts what was noted.
    fn settle(&mut self, resource: &mut Resource, room: &impl Room) {
        let (mut pending, mut keys) =
            (std::mem::take(&mut self.pending), std::mem::take(&mut self.keys));
        // Each of these steps waits for memory, and the steps for one series do not depend on those
        // for another; so each is taken for all of them, and they wait together.
        for Pending { family, hash, guess, .. } in &mut pending {
            *guess = resource.tables[*family].guess(*hash);
        }
        let touched = pending.iter().fold(0, |touched, Pending { family, guess, .. }| {
            let series = guess.and_then(|guess| resource.tables[*family].series.get_bucket(guess));
            touched ^ series.map_or(0, |series| series.body.touch())
        });
        std::hint::black_box(touched);
        for observation in &pending {
            self.add(resource, &keys.as_slice()[observation.key.clone()], observation, room);
        }
        pending.clear();
        keys.clear();
        (self.pending, self.keys) = (pending, keys);
    }

    #[inline]
    fn add(
        &mut self,
        resource: &mut Resource,
        key: &[u8],
        observation: &Pending,
        room: &impl Room,
    ) {
        let Pending { family, hash, guess, nanos, weight, exemplar, .. } = *observation;
        let table = &mut resource.tables[family];
        let family = &self.settings.families[family];
        let present = table.series.len();
        let series = match table.find_mut(guess, hash, key) {
            Some(series) => series,
            None => {
                let bytes = Series::bytes_of(key, family);
                match room.take(present, &resource.of_service, bytes) {
                    Ok(()) => {
                        self.tally.bytes += bytes;
                        table.insert(hash, Series::new(key, family, self.flush, self.now_ns))
                    }
                    Err(limit) => {
                        self.tally.overflowed[limit as usize] += 1;
                        resource.overflowed += 1;
                        let (flush, now_ns) = (self.flush, self.now_ns);
                        let new = || Series::new(OVERFLOW_KEY, family, flush, now_ns);
                        table.overflow.get_or_insert_with(new)
                    }
                }
            }
        };
        let slot = match family.shape {
            Shape::Sum | Shape::Exponential { .. } => 0,
            // Upper bounds belong to their bucket.
            Shape::Explicit => self.settings.bounds_ns.partition_point(|bound| *bound < nanos),
        };
        series.observe(nanos, slot, weight, self.now_ns);
        if let Some(histogram) = series.exponential_mut() {
            histogram.observe(in_unit(nanos.into(), self.settings.unit), weight);
        }
        if let Some(exemplar) = exemplar
            && !series.is_overflow()
        {
            series.offer(exemplar, self.settings.exemplars, &mut self.random);
        }
    }
}
