//! What the configuration says, in the form the aggregation needs.

use std::sync::Arc;
use std::time::Duration;

use crate::wire::{Names, Temporality};

use super::config::{
    AggregationTemporality, DimensionConfig, ResourceIdentity, SpanMetricsConfig, SpanName,
    StatusAttribute, Unit, default_dimension,
};
use super::exemplars::KeptOnly;
use super::glob::Glob;

/// What the configuration says, in the form the aggregation needs.
pub(crate) struct Settings {
    /// Names of attributes that dimensions are read from.
    pub(crate) names: Names,
    /// Patterns of further ones; the bit of a pattern is that of its index.
    pub(crate) globs: Vec<Glob>,
    /// One for each set of series.
    pub(crate) families: Vec<Family>,
    /// What is written at a flush, in this order.
    pub(crate) metrics: Vec<MetricSettings>,
    /// Which default dimensions are in use.
    pub(crate) defaults: Defaults,
    /// Scopes whose name and version are dimensions.
    pub(crate) scopes: Vec<Box<[u8]>>,
    /// The value of `collector.instance.id`.
    pub(crate) instance: Arc<str>,
    /// Upper bounds of all buckets but the last.
    pub(crate) bounds_ns: Vec<u64>,
    /// Unit of durations as they are written.
    pub(crate) unit: Unit,
    /// What values count from.
    pub(crate) temporality: Temporality,
    /// What tells resources apart.
    pub(crate) identity: Identity,
    /// Whether a series' first point is 0.
    pub(crate) initial_zero: bool,
    /// Flushes after which a series is written that counted nothing meanwhile; 1 or more.
    pub(crate) unchanged_flushes: u32,
    /// Exemplars of each data point; 0 for none.
    pub(crate) exemplars: usize,
    /// Which of them are written, if not all.
    pub(crate) kept_only: Option<KeptOnly>,
    /// What there may be of everything.
    pub(crate) limits: Limits,
}

/// What there may be of everything; the greatest number stands for no limit.
#[derive(Debug)]
pub(crate) struct Limits {
    /// Idle time after which a resource is forgotten, in nanoseconds.
    pub(crate) resource_idle_ns: u64,
    /// Idle time after which a series is forgotten, in nanoseconds.
    pub(crate) series_idle_ns: u64,
    /// Series that a resource may have in each family.
    pub(crate) series_per_resource: usize,
    /// Series that all resources of a service may have, in all families.
    pub(crate) series_per_service: usize,
    /// Series over all resources.
    pub(crate) series: usize,
    /// Bytes of all series and resources.
    pub(crate) bytes: usize,
    /// Number of resources.
    pub(crate) resources: usize,
}

/// What tells resources apart, and what is handed on of them.
#[derive(Debug)]
pub(crate) struct Identity {
    /// Attributes that tell them apart besides `service.name`; none means all.
    pub(crate) keys: Vec<Box<[u8]>>,
    /// Whether attributes that change with each start of a process count.
    pub(crate) passing: bool,
    /// Whether only `service.name` counts, and nothing is handed on.
    pub(crate) service_only: bool,
}

/// A configured dimension.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Dimension {
    /// Its number in [`Settings::names`].
    pub(crate) slot: usize,
    /// Name of the attribute.
    pub(crate) name: Box<[u8]>,
    /// Value where neither the span nor its resource has it.
    pub(crate) default: Option<Box<[u8]>>,
}

/// A set of series that share their dimensions.
///
/// `calls` and `duration` have the same dimensions unless one has its own, so mostly one set
/// serves both.
#[derive(Debug)]
pub(crate) struct Family {
    /// What its series count.
    pub(crate) source: Source,
    /// Named dimensions, each name once.
    pub(crate) dimensions: Vec<Dimension>,
    /// Bits of [`Settings::globs`].
    pub(crate) globs: u64,
    /// How durations are counted, if they are.
    pub(crate) shape: Shape,
    /// Counts of each of its series: explicit buckets, else 1.
    pub(crate) slots: u16,
}

/// How durations are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Not at all.
    Sum,
    /// In buckets with the bounds of the settings.
    Explicit,
    /// In buckets of exponential width.
    Exponential {
        /// How many there may be.
        max_size: i32,
    },
}

/// What a series counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// Spans, with their durations.
    Spans,
    /// Spans whose self time is known, with that.
    SelfTimes,
    /// Events of spans.
    Events,
}

/// A metric to be written.
#[derive(Debug)]
pub(crate) struct MetricSettings {
    /// What it measures.
    pub(crate) measure: Measure,
    /// Its full name.
    pub(crate) name: String,
    /// Index of [`Settings::families`].
    pub(crate) family: usize,
}

/// What a metric measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Number of spans.
    Calls,
    /// Their durations.
    Duration,
    /// Number of events.
    Events,
    /// Durations without those of children.
    SelfTime,
}

/// Which default dimensions are in use.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "switches of the configuration")]
pub(crate) struct Defaults {
    pub(crate) service_name: bool,
    pub(crate) span_name: bool,
    /// Whether names are made of attributes.
    pub(crate) semantic_name: bool,
    pub(crate) span_kind: bool,
    pub(crate) status: Option<StatusAttribute>,
    pub(crate) instance_id: bool,
    pub(crate) sampling_method: bool,
}

impl Measure {
    /// The last part of its name.
    const fn name(self) -> &'static str {
        match self {
            Measure::Calls => "calls",
            Measure::Duration => "duration",
            Measure::Events => "events",
            Measure::SelfTime => "self_time",
        }
    }

    /// What the metric says of itself. The Collector's says nothing, which linters complain of.
    pub(crate) const fn description(self) -> &'static str {
        match self {
            Measure::Calls => "Number of spans.",
            Measure::Duration => "Durations of spans.",
            Measure::Events => "Number of span events.",
            Measure::SelfTime => "Durations of spans, without the time covered by their children.",
        }
    }

    /// Whether it is a histogram; the others are sums.
    pub(crate) const fn is_histogram(self) -> bool {
        matches!(self, Measure::Duration | Measure::SelfTime)
    }
}

impl Settings {
    pub(crate) fn new(config: &SpanMetricsConfig, instance: Arc<str>) -> Self {
        let bounds_ns: Vec<u64> = config.histogram.bounds().iter().map(nanos).collect();
        let mut layout = Layout::new(config, bounds_ns.len() + 1);
        layout.add_metrics(config);
        Self {
            names: layout.names,
            globs: layout.globs,
            families: layout.families,
            metrics: layout.metrics,
            defaults: Defaults::new(config),
            scopes: boxed(&config.include_instrumentation_scope),
            instance,
            bounds_ns,
            unit: config.histogram.unit,
            temporality: match config.aggregation_temporality {
                AggregationTemporality::Cumulative => Temporality::Cumulative,
                AggregationTemporality::Delta => Temporality::Delta,
            },
            identity: Identity {
                keys: boxed(&config.resource_metrics_key_attributes),
                passing: config.resource_identity == ResourceIdentity::All,
                service_only: config.exclude_resource_attributes && !config.add_resource_attributes,
            },
            initial_zero: config.initial_zero,
            unchanged_flushes: unchanged_flushes(config),
            exemplars: match config.exemplars.enabled {
                true => config.exemplars.max_per_data_point,
                false => 0,
            },
            kept_only: None,
            limits: Limits {
                resource_idle_ns: nanos_or_never(&config.metrics_expiration),
                series_idle_ns: nanos_or_never(&config.series_expiration),
                series_per_resource: limit(config.aggregation_cardinality_limit),
                series_per_service: limit(config.max_series_per_service),
                series: limit(config.max_series),
                bytes: limit(config.max_series_bytes),
                resources: config.resource_metrics_cache_size,
            },
        }
    }
}

impl Defaults {
    fn new(config: &SpanMetricsConfig) -> Self {
        let used = |name: &str| !config.exclude_dimensions.iter().any(|excluded| excluded == name);
        let status = config.status_attribute;
        Self {
            service_name: used(default_dimension::SERVICE_NAME),
            span_name: used(default_dimension::SPAN_NAME),
            semantic_name: config.span_name == SpanName::SemanticConventions,
            span_kind: used(default_dimension::SPAN_KIND),
            status: used(status.name()).then_some(status),
            instance_id: config.include_collector_instance_id
                && used(default_dimension::INSTANCE_ID),
            sampling_method: config.enable_metrics_sampling_method,
        }
    }
}

/// Families and metrics, as they come into being.
struct Layout {
    names: Names,
    globs: Vec<Glob>,
    families: Vec<Family>,
    metrics: Vec<MetricSettings>,
    namespace: String,
    histogram: Shape,
    /// Explicit buckets.
    buckets: u16,
}

impl Layout {
    fn new(config: &SpanMetricsConfig, buckets: usize) -> Self {
        Self {
            names: Names::default(),
            globs: Vec::new(),
            families: Vec::new(),
            metrics: Vec::new(),
            namespace: match config.namespace.as_str() {
                "" => String::new(),
                namespace => format!("{namespace}."),
            },
            histogram: match config.histogram.exponential.as_ref() {
                Some(exponential) => Shape::Exponential { max_size: exponential.max_size },
                None => Shape::Explicit,
            },
            buckets: u16::try_from(buckets).expect("bounds are counted by validation"),
        }
    }

    /// In the order in which the Collector writes them.
    fn add_metrics(&mut self, config: &SpanMetricsConfig) {
        let (common, calls) = (&config.dimensions, &config.calls_dimensions);
        let (histogram, events) = (&config.histogram.dimensions, &config.events.dimensions);
        let has_duration = !config.histogram.disable;
        let is_shared = calls.is_empty() && histogram.is_empty();
        let shape = if has_duration && is_shared { self.histogram } else { Shape::Sum };
        let family = self.add_family(Source::Spans, [common, calls], shape);
        self.add_metric(Measure::Calls, family);
        if has_duration {
            let family = match is_shared {
                true => family,
                false => self.add_family(Source::Spans, [common, histogram], self.histogram),
            };
            self.add_metric(Measure::Duration, family);
        }
        if config.events.enabled {
            let family = self.add_family(Source::Events, [common, events], Shape::Sum);
            self.add_metric(Measure::Events, family);
        }
        if config.self_time.enabled {
            let family = self.add_family(Source::SelfTimes, [common, histogram], self.histogram);
            self.add_metric(Measure::SelfTime, family);
        }
    }

    fn add_family(
        &mut self,
        source: Source,
        lists: [&Vec<DimensionConfig>; 2],
        shape: Shape,
    ) -> usize {
        let slots = if shape == Shape::Explicit { self.buckets } else { 1 };
        let mut family = Family { source, dimensions: Vec::new(), globs: 0, shape, slots };
        for dimension in lists.into_iter().flatten() {
            if dimension.name.is_empty() {
                let glob = Glob::new(&dimension.glob).expect("patterns are validated");
                family.globs |= 1 << self.globs.len();
                self.globs.push(glob);
                continue;
            }
            let slot = self.names.add(dimension.name.as_bytes());
            if family.dimensions.iter().all(|other| other.slot != slot) {
                family.dimensions.push(Dimension {
                    slot,
                    name: dimension.name.as_bytes().into(),
                    default: dimension.default.as_ref().map(|text| text.as_bytes().into()),
                });
            }
        }
        self.families.push(family);
        self.families.len() - 1
    }

    fn add_metric(&mut self, measure: Measure, family: usize) {
        let name = format!("{}{}", self.namespace, measure.name());
        self.metrics.push(MetricSettings { measure, name, family });
    }
}

fn boxed(names: &[String]) -> Vec<Box<[u8]>> {
    names.iter().map(|name| name.as_bytes().into()).collect()
}

fn unchanged_flushes(config: &SpanMetricsConfig) -> u32 {
    let interval_ns = config.metrics_flush_interval.as_nanos().max(1);
    let flushes = config.unchanged_interval.as_nanos() / interval_ns;
    u32::try_from(flushes).unwrap_or(u32::MAX).max(1)
}

pub(crate) fn nanos(duration: &Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn nanos_or_never(duration: &Duration) -> u64 {
    match duration.is_zero() {
        true => u64::MAX,
        false => nanos(duration),
    }
}

fn limit(setting: usize) -> usize {
    match setting {
        0 => usize::MAX,
        limit => limit,
    }
}
