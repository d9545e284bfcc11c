//! Data points of OTLP as samples of series.
//!
//! Source: contrib pkg/translator/prometheusremotewrite.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use shared::wire::export::{self, ResourceEntry};
use shared::wire::{AnyValue, Attributes, DataKind, Metric, Temporality};
use xxhash_rust::xxh3::Xxh3;

use super::config::RemoteWriteConfig;
use super::labels;
use super::points::{self, Samples};
use super::reason::Reason;
use super::series::{Family, Label, MetricType, Point, Series, Value};
use crate::prometheus::attribute_text::lossy;
use crate::prometheus::labels::{LabelRules, ResourceLabels, ScopeInfo, ScopeLabels};
use crate::prometheus::names::{NameKind, Naming, Underscores};
use crate::prometheus::resource_attributes::ResourceAttributes;

/// How data points become samples.
pub(super) struct Settings {
    pub(super) rules: LabelRules,
    /// Of the labels of `target_info`: there, as in the Collector, underscores stay.
    pub(super) target_naming: Naming,
    /// With their final names.
    pub(super) external_labels: BTreeMap<String, String>,
    pub(super) histograms: Histograms,
    target_info: bool,
}

/// How histograms with explicit bounds are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Histograms {
    /// A series for each bucket.
    Classic,
    /// As native ones that have their own bounds.
    Native,
    /// Both.
    Both,
}

/// A batch as samples.
#[derive(Default)]
pub(super) struct Translation {
    /// By time.
    pub(super) points: Vec<Point>,
    /// Each once.
    pub(super) families: Vec<Arc<Family>>,
    /// By the position of their reason in [`Reason::ALL`].
    pub(super) dropped: [usize; Reason::ALL.len()],
    pub(super) series: usize,
}

impl Settings {
    pub(super) fn new(config: &RemoteWriteConfig) -> Self {
        let strategy = config.strategy();
        let naming = Naming {
            namespace: config.namespace.clone(),
            suffixes: strategy.suffixes(),
            charset: strategy.charset(),
            underscores: Underscores::Collapsed,
        };
        let target_naming = Naming { underscores: Underscores::Kept, ..naming.clone() };
        let external = config.external_labels.iter();
        let external_labels =
            external.map(|(name, value)| (external_name(&naming, name), value.clone())).collect();
        let native = config.convert_explicit_histograms_to_nhcb;
        Self {
            external_labels,
            histograms: match (native, config.keep_classic_histograms) {
                (false, _) => Histograms::Classic,
                (true, false) => Histograms::Native,
                (true, true) => Histograms::Both,
            },
            target_info: config.target_info.enabled,
            rules: LabelRules {
                naming,
                constant: BTreeMap::new(),
                scope: match config.disable_scope_info {
                    true => ScopeInfo::LeftOut,
                    false => ScopeInfo::Written,
                },
                resource: ResourceAttributes::new(
                    &config.resource_to_telemetry_conversion,
                    &config.resource_constant_labels,
                ),
            },
            target_naming,
        }
    }

    /// Translates a request of metrics.
    pub(super) fn translate(&self, request: &[u8]) -> Translation {
        let mut translator = Translator {
            settings: self,
            families: HashMap::new(),
            seen: HashSet::new(),
            translation: Translation::default(),
        };
        export::resources(request).for_each(|entry| translator.entry(entry));
        let mut translation = translator.translation;
        translation.points.sort_by_key(|point| point.time_ms);
        translation
    }
}

/// Labels that begin and end with `__` may be given outside: receivers look for some.
fn external_name(naming: &Naming, name: &str) -> String {
    let inner = name.strip_prefix("__").and_then(|name| name.strip_suffix("__"));
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    match inner {
        Some(inner) if !inner.is_empty() && inner.chars().all(is_plain) && inner != "name" => {
            name.to_owned()
        }
        _ => naming.label(name).into_owned(),
    }
}

struct Translator<'s> {
    settings: &'s Settings,
    families: HashMap<String, Arc<Family>>,
    /// Series and times.
    seen: HashSet<(u128, i64)>,
    translation: Translation,
}

impl Translator<'_> {
    fn entry(&mut self, entry: ResourceEntry<'_>) {
        let target = ResourceLabels::new(entry);
        let mut latest_ms = 0;
        for scope_entry in entry.scopes() {
            let scope = ScopeLabels::new(scope_entry);
            for raw in scope_entry.records() {
                let metric = Metric::read(raw);
                latest_ms = latest_ms.max(self.metric(&target, &scope, &metric));
            }
        }
        if self.settings.target_info && latest_ms > 0 {
            self.target_info(entry, &target, latest_ms);
        }
    }

    /// Translates a metric; the time of its latest data point.
    fn metric(
        &mut self,
        target: &ResourceLabels<'_>,
        scope: &ScopeLabels<'_>,
        metric: &Metric<'_>,
    ) -> i64 {
        let Some(kind) = metric.kind else { return 0 };
        let family = match is_cumulative(metric, kind) {
            true => self.family(metric, kind).ok_or(Reason::Invalid),
            false => Err(Reason::Temporality),
        };
        let mut latest_ms = 0;
        for raw in metric.points() {
            let samples = family.as_ref().map_err(|reason| *reason).and_then(|family| {
                points::read(self.settings, kind, raw).map(|samples| (family, samples))
            });
            match samples {
                Err(reason) => self.translation.dropped[reason as usize] += 1,
                Ok((family, samples)) => {
                    latest_ms = latest_ms.max(samples.time_ms);
                    let attributes = Attributes::new(raw, kind.attributes_field());
                    let last = last_label(kind);
                    let labels = labels::of_point(self.settings, target, scope, attributes, last);
                    self.point(family, &labels, samples, 1);
                }
            }
        }
        latest_ms
    }

    fn point(
        &mut self,
        family: &Arc<Family>,
        labels: &Arc<[Label]>,
        samples: Samples,
        items: usize,
    ) {
        let id = series_id(&family.name, labels);
        let time_ms = samples.time_ms;
        if !self.seen.insert((id, time_ms)) {
            self.translation.dropped[Reason::Duplicate as usize] += items;
            return;
        }
        let start_ms = samples.start_ms;
        let series = samples.samples.into_iter().map(|sample| Series {
            labels: Arc::clone(labels),
            name: format!("{}{}", family.name, sample.suffix).into(),
            extra: sample.extra,
            family: Arc::clone(family),
            value: sample.value,
            time_ms,
            start_ms,
            exemplars: sample.exemplars,
        });
        let series: Vec<_> = series.collect();
        let size_bytes = series.iter().map(Series::size_bytes).sum();
        self.translation.series += series.len();
        self.translation.points.push(Point { series, id, time_ms, items, size_bytes });
    }

    fn target_info(&mut self, entry: ResourceEntry<'_>, target: &ResourceLabels<'_>, time_ms: i64) {
        let Some(labels) = labels::of_target(self.settings, entry, target) else { return };
        let Some(name) = self.settings.rules.naming.metric("target_info", "", NameKind::Other)
        else {
            return;
        };
        let family = self.family_of(Family {
            name,
            kind: MetricType::Gauge,
            help: "Target metadata".to_owned(),
            unit: String::new(),
        });
        let samples = Samples::one(Value::Float(1.0), time_ms);
        self.point(&family, &labels, samples, 0);
    }

    fn family(&mut self, metric: &Metric<'_>, kind: DataKind) -> Option<Arc<Family>> {
        let (name, unit) = (lossy(metric.name), lossy(metric.unit));
        let name_kind = match kind {
            DataKind::Sum if metric.monotonic => NameKind::Counter,
            DataKind::Gauge => NameKind::Gauge,
            _ => NameKind::Other,
        };
        let naming = &self.settings.rules.naming;
        let name = naming.metric(&name, &unit, name_kind)?;
        let unit = naming.unit(&unit);
        Some(self.family_of(Family {
            name,
            kind: metric_type(metric, kind),
            help: lossy(metric.description),
            unit,
        }))
    }

    /// The first of its name in the batch counts.
    fn family_of(&mut self, family: Family) -> Arc<Family> {
        if let Some(known) = self.families.get(&family.name) {
            return Arc::clone(known);
        }
        let family = Arc::new(family);
        self.families.insert(family.name.clone(), Arc::clone(&family));
        self.translation.families.push(Arc::clone(&family));
        family
    }
}

fn is_cumulative(metric: &Metric<'_>, kind: DataKind) -> bool {
    match kind {
        DataKind::Gauge | DataKind::Summary => true,
        DataKind::Sum | DataKind::Histogram | DataKind::ExponentialHistogram => {
            metric.temporality == Temporality::Cumulative
        }
    }
}

/// The label that a kind of data adds to its series.
fn last_label(kind: DataKind) -> Option<&'static str> {
    match kind {
        DataKind::Histogram => Some("le"),
        DataKind::Summary => Some("quantile"),
        DataKind::Gauge | DataKind::Sum | DataKind::ExponentialHistogram => None,
    }
}

/// A metric that came from Prometheus may say that it was of a type that OTLP does not have.
fn metric_type(metric: &Metric<'_>, kind: DataKind) -> MetricType {
    let original = || Attributes::new(metric.raw, 12).get(b"prometheus.type");
    let original = || original().and_then(AnyValue::as_string);
    match kind {
        DataKind::Gauge if original() == Some(b"unknown") => MetricType::Unknown,
        DataKind::Sum if metric.monotonic => MetricType::Counter,
        DataKind::Sum if original() == Some(b"info") => MetricType::Info,
        DataKind::Sum if original() == Some(b"stateset") => MetricType::StateSet,
        DataKind::Gauge | DataKind::Sum => MetricType::Gauge,
        DataKind::Histogram | DataKind::ExponentialHistogram => MetricType::Histogram,
        DataKind::Summary => MetricType::Summary,
    }
}

/// Tells the series of a data point from those of others.
fn series_id(name: &str, labels: &[Label]) -> u128 {
    let mut hasher = Xxh3::new();
    hasher.update(name.as_bytes());
    for (name, value) in labels {
        // No text of UTF-8 has this byte.
        hasher.update(&[0xff]);
        hasher.update(name.as_bytes());
        hasher.update(&[0xff]);
        hasher.update(value.as_bytes());
    }
    hasher.digest128()
}
