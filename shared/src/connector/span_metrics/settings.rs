//! What the configuration says, in the form the aggregation needs.

use std::sync::Arc;

use crate::wire::Temporality;

use super::config::{
    AggregationTemporality, DimensionConfig, SpanMetricsConfig, Unit, default_dimension,
};

/// What the configuration says, in the form the aggregation needs.
pub(crate) struct Settings {
    /// Configured dimensions: those of both metrics, then of `calls`, then of `duration`.
    pub(crate) dimensions: Vec<Dimension>,
    /// One for each set of dimensions in use.
    pub(crate) families: Vec<Family>,
    /// What is written at a flush, in this order.
    pub(crate) metrics: Vec<MetricSettings>,
    /// Which default dimensions are in use.
    pub(crate) defaults: Defaults,
    /// The value of `collector.instance.id`.
    pub(crate) instance: Arc<str>,
    /// Upper bounds of all buckets but the last.
    pub(crate) bounds_ns: Vec<u64>,
    /// Unit of durations as they are written.
    pub(crate) unit: Unit,
    /// What values count from.
    pub(crate) temporality: Temporality,
    /// Idle time after which a resource is forgotten; `u64::MAX` for never.
    pub(crate) resource_expiration_ns: u64,
    /// Idle time after which a series is forgotten; `u64::MAX` for never.
    pub(crate) series_expiration_ns: u64,
    /// Series that a resource may have in each family.
    pub(crate) series_per_resource: usize,
    /// Series over all resources.
    pub(crate) max_series: usize,
    /// Number of resources.
    pub(crate) max_resources: usize,
    /// Attributes that tell resources apart; empty means all.
    pub(crate) resource_key: Vec<Box<[u8]>>,
}

/// A configured dimension.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Dimension {
    /// Name of the attribute.
    pub(crate) name: Box<[u8]>,
    /// Value where neither the span nor its resource has it.
    pub(crate) default: Option<Box<[u8]>>,
}

/// A set of series that share their dimensions.
///
/// Both metrics have the same dimensions unless one has its own, so mostly one set serves both.
#[derive(Debug)]
pub(crate) struct Family {
    /// Indices of [`Settings::dimensions`].
    pub(crate) dimensions: Vec<usize>,
    /// Buckets of its series; 0 when only calls are counted.
    pub(crate) buckets: usize,
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
}

/// Which default dimensions are in use.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "five switches of the configuration")]
pub(crate) struct Defaults {
    pub(crate) service_name: bool,
    pub(crate) span_name: bool,
    pub(crate) span_kind: bool,
    pub(crate) status_code: bool,
    pub(crate) instance_id: bool,
}

impl Measure {
    /// What the metric says of itself. The Collector's says nothing, which linters complain of.
    pub(crate) const fn description(self) -> &'static str {
        match self {
            Measure::Calls => "Number of spans.",
            Measure::Duration => "Durations of spans.",
        }
    }
}

impl Settings {
    pub(crate) fn new(config: &SpanMetricsConfig, instance: Arc<str>) -> Self {
        let bounds_ns: Vec<u64> = config.histogram.explicit.buckets.iter().map(nanos).collect();
        let (dimensions, families) = families(config, bounds_ns.len() + 1);
        let metric = |measure, name: &str, family| MetricSettings {
            measure,
            name: match config.namespace.as_str() {
                "" => name.to_owned(),
                namespace => format!("{namespace}.{name}"),
            },
            family,
        };
        let mut metrics = vec![metric(Measure::Calls, "calls", 0)];
        if !config.histogram.disable {
            metrics.push(metric(Measure::Duration, "duration", families.len() - 1));
        }
        let used = |name: &str| !config.exclude_dimensions.iter().any(|excluded| excluded == name);
        let key_attributes = &config.resource_metrics_key_attributes;
        Self {
            dimensions,
            families,
            metrics,
            defaults: Defaults {
                service_name: used(default_dimension::SERVICE_NAME),
                span_name: used(default_dimension::SPAN_NAME),
                span_kind: used(default_dimension::SPAN_KIND),
                status_code: used(default_dimension::STATUS_CODE),
                instance_id: used(default_dimension::INSTANCE_ID),
            },
            instance,
            bounds_ns,
            unit: config.histogram.unit,
            temporality: match config.aggregation_temporality {
                AggregationTemporality::Cumulative => Temporality::Cumulative,
                AggregationTemporality::Delta => Temporality::Delta,
            },
            resource_expiration_ns: nanos_or_never(&config.metrics_expiration),
            series_expiration_ns: nanos_or_never(&config.series_expiration),
            series_per_resource: limit(config.aggregation_cardinality_limit),
            max_series: limit(config.max_series),
            max_resources: config.resource_metrics_cache_size,
            resource_key: key_attributes.iter().map(|name| name.as_bytes().into()).collect(),
        }
    }
}

/// The dimensions of all metrics, and the sets of series that they need.
fn families(config: &SpanMetricsConfig, buckets: usize) -> (Vec<Dimension>, Vec<Family>) {
    let (common, calls) = (&config.dimensions, &config.calls_dimensions);
    let duration = &config.histogram.dimensions;
    let all = common.iter().chain(calls).chain(duration);
    let dimensions: Vec<Dimension> = all.map(Dimension::new).collect();
    let calls_end = common.len() + calls.len();
    let calls_only = Family { dimensions: (0..calls_end).collect(), buckets: 0 };
    let families = if config.histogram.disable {
        vec![calls_only]
    } else if calls.is_empty() && duration.is_empty() {
        vec![Family { buckets, ..calls_only }]
    } else {
        let of_duration = (0..common.len()).chain(calls_end..dimensions.len()).collect();
        vec![calls_only, Family { dimensions: of_duration, buckets }]
    };
    (dimensions, families)
}

impl Dimension {
    fn new(config: &DimensionConfig) -> Self {
        Self {
            name: config.name.as_bytes().into(),
            default: config.default.as_ref().map(|text| text.as_bytes().into()),
        }
    }
}

fn nanos(duration: &std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn nanos_or_never(duration: &std::time::Duration) -> u64 {
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
