//! The series that are exposed, by family. Told the time; no I/O, no clock, no lock.
//!
//! A *stream* is what one writer says of one series: resource, scope, metric and attributes
//! together. Prometheus sees less of that than there is, so several streams may share all their
//! labels. They are not left to overwrite each other, which would look like a counter that jumps
//! back and forth, but are added up by their type; and when one of them ends or starts anew, what
//! it counted stays in the sum, so that the sum never falls while a writer is left.
//!
//! Source: contrib exporter/prometheusexporter/accumulator.go, where the last writer wins.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::wire::export::ResourceEntry;
use shared::wire::{Attributes, DataKind, Metric, Temporality};
use xxhash_rust::xxh3::xxh3_128;

use super::attribute_text::lossy;
use super::config::PrometheusConfig;
use super::labels::{LabelRules, Labels, ResourceLabels, ScopeLabels};
use super::names::NameKind;
use super::text::write_label;
use super::value::{Point, Read, Reason, Value, read};
use shared::identity::hash_attributes;

/// The series that are exposed.
pub(crate) struct Collection {
    config: Arc<PrometheusConfig>,
    rules: Arc<LabelRules>,
    families: BTreeMap<Arc<str>, Family>,
    streams: usize,
}

/// The series of one name.
struct Family {
    type_name: &'static str,
    help: Arc<str>,
    streams: HashMap<u128, Stream>,
    series: HashMap<Arc<str>, Series>,
}

/// What one writer says of a series.
struct Stream {
    labels: Arc<str>,
    point: Arc<Point>,
    seen: Instant,
}

/// What streams with the same labels share.
#[derive(Default)]
struct Series {
    streams: usize,
    /// What ended or restarted streams counted.
    past: Option<Arc<Point>>,
}

/// What became of the data points of a batch.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Observed {
    /// By the position of their reason in [`Reason::ALL`].
    pub(crate) dropped: [u64; Reason::ALL.len()],
    /// Streams that joined a series which has other streams.
    pub(crate) merged: u64,
}

/// A family as it was at one moment, to be written without holding anything up.
pub(crate) struct Snapshot {
    pub(crate) type_name: &'static str,
    pub(crate) help: Arc<str>,
    pub(crate) rows: Vec<Row>,
}

/// What one stream, or several that are gone, add to a series.
pub(crate) struct Row {
    pub(crate) labels: Arc<str>,
    /// Makes the order of rows, and so of additions, the same each time: sums of doubles depend
    /// on it, and a counter must not fall by a rounding.
    pub(crate) id: u128,
    pub(crate) point: Arc<Point>,
}

impl Collection {
    pub(crate) fn new(config: Arc<PrometheusConfig>) -> Self {
        let rules = Arc::new(config.rules());
        Self { config, rules, families: BTreeMap::new(), streams: 0 }
    }

    /// Takes the data points of a resource entry.
    pub(crate) fn observe(&mut self, entry: ResourceEntry<'_>, now: Instant) -> Observed {
        let mut observed = Observed::default();
        let resource = ResourceLabels::new(entry);
        self.observe_target(&resource, now, &mut observed);
        for scope_entry in entry.scopes() {
            let scope = ScopeLabels::new(scope_entry);
            for raw in scope_entry.records() {
                self.observe_metric(&resource, &scope, &Metric::read(raw), now, &mut observed);
            }
        }
        observed
    }

    /// Families in the order in which they are exposed.
    pub(crate) fn names(&self) -> Vec<Arc<str>> {
        self.families.keys().map(Arc::clone).collect()
    }

    /// Forgets what expired of a family, and copies the rest; `None` if nothing is left.
    pub(crate) fn snapshot(&mut self, name: &str, now: Instant) -> Option<Snapshot> {
        let family = self.families.get_mut(name)?;
        self.streams -= family.expire(self.config.metric_expiration, now);
        if family.streams.is_empty() {
            self.families.remove(name);
            return None;
        }
        let streams =
            family.streams.iter().map(|(id, stream)| (&stream.labels, *id, &stream.point));
        let past = family
            .series
            .iter()
            .filter_map(|(labels, series)| Some((labels, 0, series.past.as_ref()?)));
        let rows = streams.chain(past).map(|(labels, id, point)| Row {
            labels: Arc::clone(labels),
            id,
            point: Arc::clone(point),
        });
        let rows = rows.collect();
        Some(Snapshot { type_name: family.type_name, help: Arc::clone(&family.help), rows })
    }

    /// Forgets what expired, though nobody scrapes.
    pub(crate) fn expire(&mut self, now: Instant) {
        let expiration = self.config.metric_expiration;
        for family in self.families.values_mut() {
            self.streams -= family.expire(expiration, now);
        }
        self.families.retain(|_, family| !family.streams.is_empty());
    }

    /// How many streams there are.
    pub(crate) fn streams(&self) -> usize {
        self.streams
    }

    fn observe_target(
        &mut self,
        resource: &ResourceLabels<'_>,
        now: Instant,
        observed: &mut Observed,
    ) {
        let Some(labels) = self.rules.target_info(resource) else { return };
        let labels = written(&labels);
        let name = self.name("target_info", "", NameKind::Other).unwrap_or_default();
        let id = resource.target_id();
        if let Some(family) = self.families.get_mut(name.as_str())
            && family.streams.get(&id).is_some_and(|stream| *stream.labels != *labels)
        {
            // The target changed its attributes; it is described once.
            family.end(id);
            self.streams -= 1;
        }
        // Without a time, so that none is ever written.
        let point = Point { value: Value::Gauge(1.0), start_ns: 0, time_ns: 0 };
        let sample = Sample { id, point, temporality: Temporality::Cumulative, now };
        self.take(&name, b"Target metadata", sample, observed, || labels);
    }

    fn observe_metric(
        &mut self,
        resource: &ResourceLabels<'_>,
        scope: &ScopeLabels<'_>,
        metric: &Metric<'_>,
        now: Instant,
        observed: &mut Observed,
    ) {
        let Some(kind) = metric.kind else { return };
        let name_kind = match kind {
            DataKind::Sum if metric.monotonic => NameKind::Counter,
            DataKind::Gauge => NameKind::Gauge,
            _ => NameKind::Other,
        };
        let name = self.name(&lossy(metric.name), &lossy(metric.unit), name_kind);
        let writer = writer_id(resource, scope, metric, kind);
        for raw in metric.points() {
            let Some(name) = &name else {
                observed.note(Reason::Invalid);
                continue;
            };
            let attributes = attributes(kind, raw);
            let id = writer.wrapping_add(hash_attributes(attributes.clone()));
            match read(metric, kind, raw) {
                Read::Dropped(reason) => observed.note(reason),
                Read::Ended => {
                    if let Some(family) = self.families.get_mut(name.as_str()) {
                        self.streams -= usize::from(family.end(id));
                    }
                }
                Read::Point(point, temporality) => {
                    let rules = Arc::clone(&self.rules);
                    let last = point.value.last_label();
                    let sample = Sample { id, point, temporality, now };
                    self.take(name, metric.description, sample, observed, || {
                        written(&rules.series(resource, scope, attributes, last))
                    });
                }
            }
        }
    }

    /// Takes a data point of the family `name`.
    fn take(
        &mut self,
        name: &str,
        help: &[u8],
        sample: Sample,
        observed: &mut Observed,
        labels: impl FnOnce() -> String,
    ) {
        let type_name = sample.point.value.type_name();
        if let Some(family) = self.families.get_mut(name) {
            if family.type_name != type_name {
                return observed.note(Reason::TypeConflict);
            }
            if family.streams.contains_key(&sample.id) {
                if let Err(reason) = family.update(sample) {
                    observed.note(reason);
                }
                return;
            }
        }
        if self.streams >= self.config.max_series {
            return observed.note(Reason::MaxSeries);
        }
        let family = self.families.entry(name.into()).or_insert_with(|| Family {
            type_name,
            help: lossy(help).into(),
            streams: HashMap::new(),
            series: HashMap::new(),
        });
        observed.merged += u64::from(family.begin(sample, labels().into()));
        self.streams += 1;
    }

    fn name(&self, name: &str, unit: &str, kind: NameKind) -> Option<String> {
        self.rules.naming.metric(name, unit, kind)
    }
}

/// A data point on its way to its stream.
struct Sample {
    id: u128,
    point: Point,
    temporality: Temporality,
    now: Instant,
}

impl Family {
    /// Adds a stream; whether its series has other ones.
    fn begin(&mut self, sample: Sample, labels: Arc<str>) -> bool {
        let series = self.series.entry(Arc::clone(&labels)).or_default();
        series.streams += 1;
        let merged = series.streams > 1;
        let stream = Stream { labels, point: Arc::new(sample.point), seen: sample.now };
        self.streams.insert(sample.id, stream);
        merged
    }

    /// Takes a data point of a stream that is there.
    fn update(&mut self, sample: Sample) -> Result<(), Reason> {
        let stream = self.streams.get_mut(&sample.id).expect("the caller looked it up");
        let (last, next) = (&stream.point, &sample.point);
        if sample.temporality == Temporality::Delta {
            let from_ns = if next.start_ns == 0 { next.time_ns } else { next.start_ns };
            if from_ns < last.time_ns || next.time_ns == last.time_ns {
                return Err(Reason::OverlappingDelta);
            }
            stream.point = Arc::new(last.joined(next));
        } else {
            if next.time_ns < last.time_ns {
                return Err(Reason::OutOfOrder);
            }
            let restarted = last.start_ns != 0 && next.start_ns > last.start_ns;
            let series = self.series.get_mut(&stream.labels).expect("every stream has a series");
            // Alone in its series, a stream shows its restart, which Prometheus knows how to read.
            if restarted && (series.streams > 1 || series.past.is_some()) {
                series.keep(last);
            }
            stream.point = Arc::new(sample.point);
        }
        stream.seen = sample.now;
        Ok(())
    }

    /// Removes a stream; whether it was there.
    fn end(&mut self, id: u128) -> bool {
        let Some(stream) = self.streams.remove(&id) else { return false };
        let series = self.series.get_mut(&stream.labels).expect("every stream has a series");
        series.streams -= 1;
        match series.streams {
            0 => drop(self.series.remove(&stream.labels)),
            _ => series.keep(&stream.point),
        }
        true
    }

    /// Removes streams without a data point for too long; how many they were.
    fn expire(&mut self, expiration: Duration, now: Instant) -> usize {
        let expired: Vec<u128> = self
            .streams
            .iter()
            .filter(|(_, stream)| now.saturating_duration_since(stream.seen) >= expiration)
            .map(|(id, _)| *id)
            .collect();
        for id in &expired {
            self.end(*id);
        }
        expired.len()
    }
}

impl Series {
    /// Keeps what a stream counted that will not count on.
    fn keep(&mut self, point: &Arc<Point>) {
        if point.value.only_grows() {
            self.past = Some(match &self.past {
                Some(past) => Arc::new(past.joined(point)),
                None => Arc::clone(point),
            });
        }
    }
}

impl Observed {
    fn note(&mut self, reason: Reason) {
        self.dropped[reason as usize] += 1;
    }

    /// Adds what became of another entry.
    pub(crate) fn add(&mut self, other: &Observed) {
        self.merged += other.merged;
        for (sum, count) in self.dropped.iter_mut().zip(other.dropped) {
            *sum += count;
        }
    }
}

/// Tells apart what one resource and scope say by one metric.
fn writer_id(
    resource: &ResourceLabels<'_>,
    scope: &ScopeLabels<'_>,
    metric: &Metric<'_>,
    kind: DataKind,
) -> u128 {
    let mut content = Vec::with_capacity(64 + metric.name.len());
    content.extend(resource.id.to_le_bytes());
    content.extend(scope.id.to_le_bytes());
    content.extend(kind.field().to_le_bytes());
    content.extend(metric.name);
    xxh3_128(&content)
}

fn attributes(kind: DataKind, raw: &[u8]) -> Attributes<'_> {
    Attributes::new(raw, kind.attributes_field())
}

/// Labels as they stand in a sample.
fn written(labels: &Labels) -> String {
    let mut out = String::new();
    for (name, value) in labels {
        write_label(&mut out, name, value);
    }
    out
}
