//! The series that are exposed, by family. Told the time; no I/O, no clock, no lock.
//!
//! A *stream* is what one writer says of one series: resource, scope, metric and attributes
//! together. Prometheus sees less of that than there is, so several streams may share all their
//! labels. They are not left to overwrite each other, which would look like a counter that jumps
//! back and forth, but are added up by their type; and when one of them ends or starts anew, what
//! it counted stays in the sum, so that the sum never falls while a writer is left.
//!
//! Source: contrib exporter/prometheusexporter/accumulator.go, where the last writer wins.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use shared::identity::hash_attributes;
use shared::wire::export::ResourceEntry;
use shared::wire::{Attributes, DataKind, Metric, Temporality};
use xxhash_rust::xxh3::xxh3_128;

use super::attribute_text::lossy;
use super::config::PrometheusConfig;
use super::exemplar::Exemplars;
use super::family::{Family, Page, STREAM_BYTES, Sample};
use super::label_set::LabelSet;
use super::labels::{LabelRules, Labels, ResourceLabels, ScopeLabels};
use super::names::{Charset, NameKind};
use super::plan::Plan;
use super::value::{FamilyKind, Point, Read, Reason, Value, read};

/// The series that are exposed.
pub(crate) struct Collection {
    config: Arc<PrometheusConfig>,
    rules: Arc<LabelRules>,
    exemplars: Exemplars,
    /// By their names; several where metrics of different types share one.
    families: BTreeMap<Arc<str>, Vec<Family>>,
    streams: usize,
    bytes: usize,
}

/// What became of the data points of a batch.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Observed {
    /// By the position of their reason in [`Reason::ALL`].
    pub(crate) dropped: [u64; Reason::ALL.len()],
    /// Streams that joined a series which has other streams.
    pub(crate) merged: u64,
}

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    /// What writers say of series.
    pub(crate) streams: usize,
    pub(crate) bytes: usize,
}

impl Collection {
    pub(crate) fn new(config: Arc<PrometheusConfig>) -> Self {
        let rules = Arc::new(config.rules());
        let exemplars = match config.enable_open_metrics {
            true => Exemplars::Kept,
            false => Exemplars::LeftOut,
        };
        Self { config, rules, exemplars, families: BTreeMap::new(), streams: 0, bytes: 0 }
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

    /// What there is to scrape for a scraper that takes these characters.
    pub(crate) fn plan(&self, charset: Charset) -> Plan {
        let families: Vec<_> = self
            .families
            .iter()
            .flat_map(|(name, families)| {
                families.iter().map(move |family| (name, family.kind, &family.help))
            })
            .collect();
        Plan::new(&families, charset)
    }

    /// The next series of a family, behind the labels `after`. Forgets what expired on the way.
    pub(crate) fn page(
        &mut self,
        name: &str,
        kind: FamilyKind,
        after: Option<&LabelSet>,
        now: Instant,
    ) -> Page {
        let expiration = self.config.metric_expiration;
        let page = self.change(name, kind, |family| family.page(after, expiration, now));
        page.unwrap_or(Page { rows: Vec::new(), next: None })
    }

    /// All families, for who wants to see all their pages.
    pub(crate) fn families(&self) -> Vec<(Arc<str>, FamilyKind)> {
        let kinds = |(name, families): (&Arc<str>, &Vec<Family>)| {
            families.iter().map(|family| (Arc::clone(name), family.kind)).collect::<Vec<_>>()
        };
        self.families.iter().flat_map(kinds).collect()
    }

    pub(crate) fn size(&self) -> Size {
        Size { streams: self.streams, bytes: self.bytes }
    }

    fn observe_target(
        &mut self,
        resource: &ResourceLabels<'_>,
        now: Instant,
        observed: &mut Observed,
    ) {
        let Some(labels) = self.rules.target_info(resource) else { return };
        let name = self.rules.naming.metric("target_info", "", NameKind::Other);
        let name = name.unwrap_or_default();
        let id = resource.target_id();
        let kept = LabelSet::new(&labels);
        self.change(&name, FamilyKind::Gauge, |family| {
            // The target changed its attributes; it is described once.
            if family.labels(id).is_some_and(|old| *old != kept) {
                family.end(id);
            }
        });
        // Without a time, so that none is ever written.
        let point = Point::new(Value::Gauge(1.0), 0, 0);
        let sample = Sample { id, point, temporality: Temporality::Cumulative, now };
        let target = (name.as_str(), FamilyKind::Gauge, &b"Target metadata"[..]);
        self.take(target, sample, observed, || labels);
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
        let rules = Arc::clone(&self.rules);
        let name = rules.naming.metric(&lossy(metric.name), &lossy(metric.unit), name_kind);
        let family = FamilyKind::of(metric, kind);
        let writer = writer_id(resource, scope, metric, kind);
        for raw in metric.points() {
            let Some(name) = &name else {
                observed.note(Reason::Invalid);
                continue;
            };
            let attributes = Attributes::new(raw, kind.attributes_field());
            let id = writer.wrapping_add(hash_attributes(attributes.clone()));
            match read(metric, kind, raw, self.exemplars) {
                Read::Dropped(reason) => observed.note(reason),
                Read::Ended => {
                    self.change(name, family, |family| family.end(id));
                }
                Read::Point(point, temporality) => {
                    let sample = Sample { id, point, temporality, now };
                    self.take((name, family, metric.description), sample, observed, || {
                        rules.series(resource, scope, attributes, family.last_label())
                    });
                }
            }
        }
    }

    /// Takes a data point of a family, which is made if it is not there.
    fn take(
        &mut self,
        (name, kind, help): (&str, FamilyKind, &[u8]),
        sample: Sample,
        observed: &mut Observed,
        labels: impl FnOnce() -> Labels,
    ) {
        let room = self.config.max_bytes.saturating_sub(self.bytes);
        let mut sample = Some(sample);
        let updated = self.change(name, kind, |family| {
            let sample = sample.take_if(|sample| family.has(sample.id))?;
            Some(family.update(sample, room))
        });
        match updated.flatten() {
            Some(Ok(())) => return,
            Some(Err(reason)) => return observed.note(reason),
            None => {}
        }
        let sample = sample.expect("only a stream that is there takes it");
        if self.streams >= self.config.max_series {
            return observed.note(Reason::MaxSeries);
        }
        let labels = LabelSet::new(&labels());
        if STREAM_BYTES + labels.heap_bytes() + sample.point.heap_bytes() > room {
            return observed.note(Reason::MaxBytes);
        }
        self.make(name, kind, help);
        let merged = self.change(name, kind, |family| family.begin(sample, labels));
        observed.merged += u64::from(merged == Some(true));
    }

    /// Makes a family, unless it is there.
    fn make(&mut self, name: &str, kind: FamilyKind, help: &[u8]) {
        if !self.families.contains_key(name) {
            self.families.insert(name.into(), Vec::new());
        }
        let families = self.families.get_mut(name).expect("it was just made");
        if let Err(place) = families.binary_search_by_key(&kind, |family| family.kind) {
            let family = Family::new(kind, lossy(help));
            self.bytes += family.bytes();
            families.insert(place, family);
        }
    }

    /// Changes a family if it is there, keeps the sums of all families, and removes it when it
    /// has no stream left.
    fn change<T>(
        &mut self,
        name: &str,
        kind: FamilyKind,
        change: impl FnOnce(&mut Family) -> T,
    ) -> Option<T> {
        let families = self.families.get_mut(name)?;
        let place = families.binary_search_by_key(&kind, |family| family.kind).ok()?;
        let family = &mut families[place];
        let (streams, bytes) = (family.streams(), family.bytes());
        let result = change(family);
        self.streams = self.streams - streams + family.streams();
        self.bytes = self.bytes - bytes + family.bytes();
        if family.streams() == 0 {
            self.bytes -= family.bytes();
            families.remove(place);
            if families.is_empty() {
                self.families.remove(name);
            }
        }
        Some(result)
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
