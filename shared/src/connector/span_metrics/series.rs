//! Resources, their series, and the values in them. Nothing here locks.

use crate::wire::{self, AnyValue, Attributes, Span, Writer};
use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use super::key::{OVERFLOW_KEY, valid_utf8, write_key, write_value};
use super::settings::Settings;

/// The counts of one series.
#[derive(Debug)]
pub(crate) struct Series {
    /// Values of its dimensions. See [`super::key`].
    pub(crate) key: Box<[u8]>,
    /// When it came into being.
    pub(crate) start_ns: u64,
    /// When it last counted a span.
    pub(crate) seen_ns: u64,
    /// Whether it counted a span since it was last written.
    pub(crate) fresh: bool,
    /// Number of spans.
    pub(crate) count: u64,
    /// Sum of their durations. Exact, so the order of spans does not matter.
    pub(crate) sum_ns: u128,
    /// Spans by duration; none when only calls are counted.
    pub(crate) buckets: Box<[u64]>,
}

impl Series {
    pub(crate) fn new(key: &[u8], buckets: usize, now_ns: u64) -> Self {
        Self {
            key: key.into(),
            start_ns: now_ns,
            seen_ns: now_ns,
            fresh: true,
            count: 0,
            sum_ns: 0,
            buckets: vec![0; buckets].into(),
        }
    }

    fn count(&mut self, duration_ns: u64, bucket: usize, now_ns: u64) {
        self.count += 1;
        self.sum_ns += u128::from(duration_ns);
        if let Some(bucket) = self.buckets.get_mut(bucket) {
            *bucket += 1;
        }
        self.seen_ns = now_ns;
        self.fresh = true;
    }
}

/// The series of one family and resource.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) series: HashTable<Series>,
    /// What found no place among them.
    pub(crate) overflow: Option<Series>,
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
    /// When it last had a span.
    pub(crate) seen_ns: u64,
    /// Whether it had a span since it was last written.
    pub(crate) fresh: bool,
    /// One for each of [`Settings::families`].
    pub(crate) tables: Vec<Table>,
}

impl Resource {
    pub(crate) fn new<'a>(
        settings: &Settings,
        id: u128,
        service: &[u8],
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
            seen_ns: 0,
            fresh: false,
            tables: settings.families.iter().map(|_| Table::default()).collect(),
        }
    }

    /// How many series it has; overflow series do not count.
    pub(crate) fn series(&self) -> usize {
        self.tables.iter().map(|table| table.series.len()).sum()
    }
}

/// Whether a new series may come into being.
pub(crate) trait Room {
    /// Takes room for one more series beside `present` ones of its resource and family.
    fn take(&self, present: usize) -> bool;
}

/// Counts spans into a resource's series. Keeps buffers from span to span.
pub(crate) struct Counter<'a, 's> {
    settings: &'s Settings,
    /// For each dimension, what the resource or the default has.
    fallback: Vec<Option<AnyValue<'a>>>,
    values: Vec<Option<AnyValue<'a>>>,
    key: Writer,
    now_ns: u64,
    /// Observations that went to an overflow series so far.
    pub(crate) overflowed: u64,
}

impl<'a, 's: 'a> Counter<'a, 's> {
    pub(crate) fn new(settings: &'s Settings, now_ns: u64) -> Self {
        let dimensions = settings.dimensions.len();
        Self {
            settings,
            fallback: vec![None; dimensions],
            values: vec![None; dimensions],
            key: Writer::with_capacity(256),
            now_ns,
            overflowed: 0,
        }
    }

    /// Reads what spans without an attribute of their own take from their resource.
    pub(crate) fn read_fallbacks(&mut self, resource: wire::Resource<'a>) {
        if self.fallback.is_empty() {
            return;
        }
        self.fallback.fill(None);
        let attributes =
            resource.messages().flat_map(|message| Attributes::new(message, 1).unread());
        note_values(self.settings, attributes, &mut self.fallback);
        for (value, dimension) in self.fallback.iter_mut().zip(&self.settings.dimensions) {
            *value = value.or(dimension.default.as_deref().map(AnyValue::String));
        }
    }

    /// Counts a span of the resource that [`Counter::read_fallbacks`] was last called for.
    #[inline]
    pub(crate) fn count(&mut self, resource: &mut Resource, raw: &'a [u8], room: &impl Room) {
        let span = Span::read(raw);
        if !self.values.is_empty() {
            self.values.fill(None);
            note_values(self.settings, span.attributes().unread(), &mut self.values);
            for (value, fallback) in self.values.iter_mut().zip(&self.fallback) {
                *value = value.or(*fallback);
            }
        }
        let duration_ns = span.duration_ns();
        // Upper bounds belong to their bucket.
        let bucket = self.settings.bounds_ns.partition_point(|bound| *bound < duration_ns);
        for (family, table) in self.settings.families.iter().zip(&mut resource.tables) {
            write_key(self.settings, family, &span, &self.values, &mut self.key);
            let key = self.key.as_slice();
            let hash = xxh3_64(key);
            let present = table.series.len();
            let series = match table.series.find_mut(hash, |series| *series.key == *key) {
                Some(series) => series,
                None if room.take(present) => table
                    .series
                    .insert_unique(hash, Series::new(key, family.buckets, self.now_ns), |series| {
                        xxh3_64(&series.key)
                    })
                    .into_mut(),
                None => {
                    self.overflowed += 1;
                    let new = || Series::new(OVERFLOW_KEY, family.buckets, self.now_ns);
                    table.overflow.get_or_insert_with(new)
                }
            };
            series.count(duration_ns, bucket, self.now_ns);
        }
        resource.seen_ns = self.now_ns;
        resource.fresh = true;
    }
}

/// Notes the first value of each dimension among `attributes`.
#[inline]
fn note_values<'a>(
    settings: &Settings,
    attributes: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    values: &mut [Option<AnyValue<'a>>],
) {
    for (name, value) in attributes {
        for (dimension, slot) in settings.dimensions.iter().zip(values.iter_mut()) {
            if *dimension.name == *name && slot.is_none() {
                *slot = Some(AnyValue::read(value));
            }
        }
    }
}
