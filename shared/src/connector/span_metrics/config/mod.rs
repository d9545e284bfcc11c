//! `connectors::span_metrics`, with the Collector's keys.
//!
//! Source: contrib connector/spanmetricsconnector/config.go.

mod check;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::config::Section;
use crate::service::{ConnectorConfig, Gate, Kind, Turned};
use crate::{config_enum, config_struct};

pub(crate) use self::check::lasts;

config_struct! {
    /// Turns spans into metrics.
    pub struct SpanMetricsConfig {
        /// The metrics are `<namespace>.calls` and so on; without it, the bare names.
        pub namespace: String = "traces.span.metrics".to_owned(),
        /// Attributes to tell series apart by, besides the default ones.
        pub dimensions: Vec<DimensionConfig> = Vec::new(),
        /// Further ones for `calls` only.
        pub calls_dimensions: Vec<DimensionConfig> = Vec::new(),
        /// Default dimensions to leave out.
        pub exclude_dimensions: Vec<String> = Vec::new(),
        /// The `duration` metric.
        pub histogram: HistogramConfig = HistogramConfig::default(),
        /// Whether values count from the series' start or from the last flush.
        pub aggregation_temporality: AggregationTemporality = AggregationTemporality::Cumulative,
        /// How often metrics are handed on.
        pub metrics_flush_interval: Duration = Duration::from_secs(60),
        /// Forgets a resource after this time without spans; 0 never does.
        pub metrics_expiration: Duration = Duration::ZERO,
        /// Forgets a series after this time without spans; 0 never does.
        pub series_expiration: Duration = Duration::ZERO,
        /// Series that a resource may have for each metric; further spans count in one series
        /// with the attribute `otel.metric.overflow`. 0 is no limit. The Collector's default is
        /// 0; ours keeps one service from filling `max_series`.
        pub aggregation_cardinality_limit: usize = 10_000,
        /// Ours: series over all resources; further spans count in their resource's overflow
        /// series. 0 is no limit.
        pub max_series: usize = 100_000,
        /// Ours: series over all resources of a service, so that a service of many processes does
        /// not fill `max_series`; beyond, as with that. 0 is no limit.
        pub max_series_per_service: usize = 50_000,
        /// Ours: bytes of all series and resources; beyond, as with `max_series`. 0 is no limit.
        pub max_series_bytes: usize = 128 << 20,
        /// How many resources are kept; spans of further ones count in one overflow series.
        pub resource_metrics_cache_size: usize = 1000,
        /// Resource attributes that tell resources apart; none means all.
        pub resource_metrics_key_attributes: Vec<String> = Vec::new(),
        /// Ours: whether attributes that change with each start of a process tell resources apart
        /// and are handed on.
        pub resource_identity: ResourceIdentity = ResourceIdentity::All,
        /// Spans' ids beside the values.
        pub exemplars: ExemplarsConfig = ExemplarsConfig::default(),
        /// A metric that counts span events.
        pub events: EventsConfig = EventsConfig::default(),
        /// A metric of the time a span spends outside its children.
        pub self_time: SwitchConfig = SwitchConfig::default(),
        /// Scopes whose name and version become dimensions.
        pub include_instrumentation_scope: Vec<String> = Vec::new(),
        /// Adds the dimension `sampling.method`.
        pub enable_metrics_sampling_method: bool = false,
        /// Hands on resource attributes in spite of `exclude_resource_attributes`.
        pub add_resource_attributes: bool = false,
        /// Ours: hands on no resource attributes, and tells resources apart by their service only.
        /// The Collector does the former behind a feature gate.
        pub exclude_resource_attributes: bool = false,
        /// Ours: whether there is the dimension `collector.instance.id`. The Collector has a
        /// feature gate.
        pub include_collector_instance_id: bool = true,
        /// Ours: the dimension that tells a span's status. The Collector has a feature gate.
        pub status_attribute: StatusAttribute = StatusAttribute::StatusCode,
        /// Ours: where `span.name` comes from.
        pub span_name: SpanName = SpanName::Raw,
        /// Ours: whether a new cumulative series begins with a point of value 0.
        pub initial_zero: bool = true,
        /// Ours: how often a cumulative series is handed on that counted nothing meanwhile; 0 does
        /// so with every flush.
        pub unchanged_interval: Duration = Duration::ZERO,
        /// Ours: bytes of deltas that are kept to be handed on again after the next consumer did
        /// not take them.
        pub max_undelivered_bytes: usize = 16 << 20,
        /// Superseded in the Collector; no such cache exists here.
        pub dimensions_cache_size: Option<usize> = None,
        /// Superseded here: the start of a delta is the time of the last flush.
        pub metric_timestamp_cache_size: Option<usize> = None,
    }
}

config_struct! {
    /// An attribute to tell series apart by: the span's, else the resource's, else the default.
    /// Has either a name or a pattern.
    pub struct DimensionConfig {
        /// Name of the attribute.
        pub name: String = String::new(),
        /// Value where neither has it; without one, the dimension is left out there.
        pub default: Option<String> = None,
        /// A pattern of names, as in `glob.rs`.
        pub glob: String = String::new(),
    }
}

config_struct! {
    /// `histogram`: the `duration` metric.
    pub struct HistogramConfig {
        /// Leaves the metric out.
        pub disable: bool = false,
        /// Unit of its values and bounds.
        pub unit: Unit = Unit::Milliseconds,
        /// Buckets with explicit bounds.
        pub explicit: Section<ExplicitConfig> = Section::none(),
        /// Buckets of exponential width, instead of those.
        pub exponential: Section<ExponentialConfig> = Section::none(),
        /// Further dimensions for `duration` and `self_time` only.
        pub dimensions: Vec<DimensionConfig> = Vec::new(),
    }
}

config_struct! {
    /// `histogram::explicit`.
    pub struct ExplicitConfig {
        /// Upper bounds of all buckets but the last, in ascending order.
        pub buckets: Vec<Duration> = default_buckets(),
    }
}

config_struct! {
    /// `histogram::exponential`.
    pub struct ExponentialConfig {
        /// How many buckets there may be: 2 to 16384. 0 means 160.
        pub max_size: i32 = 160,
    }
}

config_struct! {
    /// `exemplars`.
    pub struct ExemplarsConfig {
        /// Whether to add any.
        pub enabled: bool = false,
        /// How many for each data point and flush, at most.
        pub max_per_data_point: usize = 5,
        /// Ours: only spans of traces that `tail_sampling` in this process keeps, so that every
        /// exemplar leads to a trace.
        pub sampled_only: bool = false,
        /// Ours: how long such a span waits for that to be decided, from its end.
        pub sampled_wait: Duration = Duration::from_secs(120),
    }
}

config_struct! {
    /// `events`.
    pub struct EventsConfig {
        /// Whether to count them.
        pub enabled: bool = false,
        /// Further dimensions for `events` only. Attributes of the event count before those of the
        /// resource.
        pub dimensions: Vec<DimensionConfig> = Vec::new(),
    }
}

config_struct! {
    /// A feature to turn on.
    pub struct SwitchConfig {
        /// Whether it is on.
        pub enabled: bool = false,
    }
}

/// All keys of the section, in their order.
pub(crate) const KEYS: &[&str] = &[
    "namespace",
    "dimensions",
    "calls_dimensions",
    "exclude_dimensions",
    "histogram",
    "aggregation_temporality",
    "metrics_flush_interval",
    "metrics_expiration",
    "series_expiration",
    "aggregation_cardinality_limit",
    "max_series",
    "max_series_per_service",
    "max_series_bytes",
    "resource_metrics_cache_size",
    "resource_metrics_key_attributes",
    "resource_identity",
    "exemplars",
    "events",
    "self_time",
    "include_instrumentation_scope",
    "enable_metrics_sampling_method",
    "add_resource_attributes",
    "exclude_resource_attributes",
    "include_collector_instance_id",
    "status_attribute",
    "span_name",
    "initial_zero",
    "unchanged_interval",
    "max_undelivered_bytes",
    "dimensions_cache_size",
    "metric_timestamp_cache_size",
];

config_enum! {
    /// What values count from.
    pub enum AggregationTemporality {
        /// The series' start.
        Cumulative = "AGGREGATION_TEMPORALITY_CUMULATIVE",
        /// The last flush.
        Delta = "AGGREGATION_TEMPORALITY_DELTA",
    }
}

config_enum! {
    /// A unit of time.
    pub enum Unit {
        /// Milliseconds.
        Milliseconds = "ms",
        /// Seconds.
        Seconds = "s",
    }
}

config_enum! {
    /// Which resource attributes tell resources apart.
    pub enum ResourceIdentity {
        /// All, or those of `resource_metrics_key_attributes`.
        All = "all",
        /// Of these, only the ones that outlive a process.
        Lasting = "lasting",
    }
}

config_enum! {
    /// How a span's status is told.
    pub enum StatusAttribute {
        /// As `STATUS_CODE_UNSET`, `STATUS_CODE_OK` or `STATUS_CODE_ERROR`.
        StatusCode = "status.code",
        /// As `OK` or `ERROR`, if at all.
        OtelStatusCode = "otel.status_code",
    }
}

config_enum! {
    /// Where the dimension `span.name` comes from.
    pub enum SpanName {
        /// The span.
        Raw = "raw",
        /// Its attributes, as semantic conventions say, where they do.
        SemanticConventions = "semconv",
    }
}

/// The names of the default dimensions.
pub(crate) mod default_dimension {
    pub(crate) const SERVICE_NAME: &str = "service.name";
    pub(crate) const SPAN_NAME: &str = "span.name";
    pub(crate) const SPAN_KIND: &str = "span.kind";
    pub(crate) const STATUS_CODE: &str = "status.code";
    pub(crate) const OTEL_STATUS_CODE: &str = "otel.status_code";
    pub(crate) const INSTANCE_ID: &str = "collector.instance.id";
    /// Those that can be left out by name.
    pub(crate) const ALL: [&str; 6] =
        [SERVICE_NAME, SPAN_NAME, SPAN_KIND, STATUS_CODE, OTEL_STATUS_CODE, INSTANCE_ID];
    pub(crate) const SCOPE_NAME: &str = "span.instrumentation.scope.name";
    pub(crate) const SCOPE_VERSION: &str = "span.instrumentation.scope.version";
    pub(crate) const SAMPLING_METHOD: &str = "sampling.method";
}

fn default_buckets() -> Vec<Duration> {
    [2, 4, 6, 8, 10, 50, 100, 200, 400, 800, 1000, 1400, 2000, 5000, 10_000, 15_000]
        .map(Duration::from_millis)
        .into()
}

impl HistogramConfig {
    /// Upper bounds of all buckets but the last, if the buckets have explicit bounds. A section
    /// without any means the default ones, as no section does.
    pub(crate) fn bounds(&self) -> Vec<Duration> {
        match self.explicit.as_ref() {
            Some(explicit) if !explicit.buckets.is_empty() => explicit.buckets.clone(),
            _ => default_buckets(),
        }
    }
}

/// The Collector's feature gates that are keys here. All are off there, but
/// `connector.spanmetrics.includeCollectorInstanceID`.
pub const GATES: [Gate; 5] = [
    gate("connector.spanmetrics.legacyMetricNames", Turned::On, "namespace", "\"\""),
    gate(
        "connector.spanmetrics.includeCollectorInstanceID",
        Turned::Off,
        "include_collector_instance_id",
        "false",
    ),
    gate(
        "connector.spanmetrics.excludeResourceMetrics",
        Turned::On,
        "exclude_resource_attributes",
        "true",
    ),
    gate("connector.spanmetrics.useSecondAsDefaultMetricsUnit", Turned::On, "histogram::unit", "s"),
    gate(
        "spanmetrics.statusCodeConvention.useOtelPrefix",
        Turned::On,
        "status_attribute",
        default_dimension::OTEL_STATUS_CODE,
    ),
];

const fn gate(name: &'static str, turned: Turned, key: &'static str, value: &'static str) -> Gate {
    const TYPES: &[&str] = &[SpanMetricsConfig::TYPE, "spanmetrics"];
    Gate { name, turned, kind: Kind::Connector, type_names: TYPES, key, value }
}
