//! `connectors::span_metrics`, with the Collector's keys.
//!
//! Source: contrib connector/spanmetricsconnector/config.go.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::config::{NotSupported, Path, Problems};
use crate::{config_enum, config_struct};

config_struct! {
    /// Turns spans into metrics.
    pub struct SpanMetricsConfig {
        /// The metrics are `<namespace>.calls` and `<namespace>.duration`; without it, the bare
        /// names.
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
        /// How many resources are kept; spans of further ones count in one overflow series.
        pub resource_metrics_cache_size: usize = 1000,
        /// Resource attributes that tell resources apart; none means all.
        pub resource_metrics_key_attributes: Vec<String> = Vec::new(),
        /// Copies of spans' ids beside the values.
        pub exemplars: ExemplarsConfig = ExemplarsConfig::default(),
        /// A metric that counts span events.
        pub events: EventsConfig = EventsConfig::default(),
        /// A metric of the time a span spends outside its children.
        pub self_time: SwitchConfig = SwitchConfig::default(),
        /// Scopes whose name and version become dimensions.
        pub include_instrumentation_scope: Vec<String> = Vec::new(),
        /// Adds the dimension `sampling.method`.
        pub enable_metrics_sampling_method: bool = false,
        /// Copies resource attributes; the Collector heeds it only behind a feature gate.
        pub add_resource_attributes: bool = false,
        /// Superseded in the Collector; no such cache exists here.
        pub dimensions_cache_size: Option<usize> = None,
        /// Superseded here: the start of a delta is the time of the last flush.
        pub metric_timestamp_cache_size: Option<usize> = None,
    }
}

config_struct! {
    /// An attribute to tell series apart by: the span's, else the resource's, else the default.
    pub struct DimensionConfig {
        /// Name of the attribute.
        pub name: String = String::new(),
        /// Value where neither has it; without one, the dimension is left out there.
        pub default: Option<String> = None,
        /// Names by pattern.
        pub glob: NotSupported = NotSupported,
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
        pub explicit: ExplicitConfig = ExplicitConfig::default(),
        /// Buckets of exponential width.
        pub exponential: NotSupported = NotSupported,
        /// Further dimensions for `duration` only.
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
    /// `exemplars`.
    pub struct ExemplarsConfig {
        /// Whether to add any.
        pub enabled: bool = false,
        /// How many for each data point.
        pub max_per_data_point: usize = 5,
    }
}

config_struct! {
    /// `events`.
    pub struct EventsConfig {
        /// Whether to count them.
        pub enabled: bool = false,
        /// Attributes of events to tell series apart by.
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

/// The names of the default dimensions.
pub(crate) mod default_dimension {
    pub(crate) const SERVICE_NAME: &str = "service.name";
    pub(crate) const SPAN_NAME: &str = "span.name";
    pub(crate) const SPAN_KIND: &str = "span.kind";
    pub(crate) const STATUS_CODE: &str = "status.code";
    pub(crate) const INSTANCE_ID: &str = "collector.instance.id";
    pub(crate) const ALL: [&str; 5] =
        [SERVICE_NAME, SPAN_NAME, SPAN_KIND, STATUS_CODE, INSTANCE_ID];
}

fn default_buckets() -> Vec<Duration> {
    [2, 4, 6, 8, 10, 50, 100, 200, 400, 800, 1000, 1400, 2000, 5000, 10_000, 15_000]
        .map(Duration::from_millis)
        .into()
}

impl SpanMetricsConfig {
    /// Reports everything that is wrong.
    pub(crate) fn check(&self, at: &Path<'_>, problems: &mut Problems) {
        if self.metrics_flush_interval.is_zero() {
            problems.report(&at.key("metrics_flush_interval"), "must be greater than 0");
        }
        if self.resource_metrics_cache_size == 0 {
            problems.report(&at.key("resource_metrics_cache_size"), "must be greater than 0");
        }
        self.check_dimensions(at, problems);
        self.check_buckets(at, problems);
        self.check_unsupported(at, problems);
        for (index, name) in self.exclude_dimensions.iter().enumerate() {
            if !default_dimension::ALL.contains(&name.as_str()) {
                let list = at.key("exclude_dimensions");
                let known = default_dimension::ALL.join(", ");
                problems.warn(
                    &list.index(index),
                    format!(
                        "\"{name}\" is no default dimension and has no effect (they are {known})"
                    ),
                );
            }
        }
        for (key, is_set) in [
            ("dimensions_cache_size", self.dimensions_cache_size.is_some()),
            ("metric_timestamp_cache_size", self.metric_timestamp_cache_size.is_some()),
            ("add_resource_attributes", self.add_resource_attributes),
        ] {
            if is_set {
                problems.warn(&at.key(key), "has no effect and can be removed");
            }
        }
    }

    /// A name may stand once in all the lists that meet in one metric, and not be a default one.
    fn check_dimensions(&self, at: &Path<'_>, problems: &mut Problems) {
        let mut common: BTreeSet<&str> = default_dimension::ALL.into();
        check_names(&self.dimensions, &mut common, &at.key("dimensions"), problems);
        let calls = at.key("calls_dimensions");
        check_names(&self.calls_dimensions, &mut common.clone(), &calls, problems);
        let histogram = at.key("histogram");
        let histogram = histogram.key("dimensions");
        check_names(&self.histogram.dimensions, &mut common.clone(), &histogram, problems);
    }

    fn check_buckets(&self, at: &Path<'_>, problems: &mut Problems) {
        let (histogram, buckets) = (at.key("histogram"), &self.histogram.explicit.buckets);
        let explicit = histogram.key("explicit");
        let list = explicit.key("buckets");
        if buckets.is_empty() {
            problems.report(&list, "must not be empty; leave the key out for the default bounds");
        }
        for (index, pair) in buckets.windows(2).enumerate() {
            if pair[0] >= pair[1] {
                problems.report(
                    &list.index(index + 1),
                    format!("bounds must ascend, but {:?} follows {:?}", pair[1], pair[0]),
                );
            }
        }
    }

    fn check_unsupported(&self, at: &Path<'_>, problems: &mut Problems) {
        for (key, enabled) in [
            ("exemplars", self.exemplars.enabled),
            ("events", self.events.enabled),
            ("self_time", self.self_time.enabled),
        ] {
            if enabled {
                problems.report(&at.key(key).key("enabled"), "not supported yet");
            }
        }
        if !self.include_instrumentation_scope.is_empty() {
            problems.report(&at.key("include_instrumentation_scope"), "not supported yet");
        }
        if self.enable_metrics_sampling_method {
            problems.report(&at.key("enable_metrics_sampling_method"), "not supported yet");
        }
    }
}

fn check_names<'a>(
    dimensions: &'a [DimensionConfig],
    seen: &mut BTreeSet<&'a str>,
    at: &Path<'_>,
    problems: &mut Problems,
) {
    for (index, dimension) in dimensions.iter().enumerate() {
        let at = at.index(index);
        let name = dimension.name.as_str();
        if name.is_empty() {
            problems.report(&at.key("name"), "must not be empty");
        } else if default_dimension::ALL.contains(&name) {
            problems.report(&at.key("name"), format!("\"{name}\" is a default dimension"));
        } else if !seen.insert(name) {
            problems.report(&at.key("name"), format!("duplicate dimension \"{name}\""));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dimension(name: &str) -> DimensionConfig {
        DimensionConfig { name: name.to_owned(), ..DimensionConfig::default() }
    }

    #[track_caller]
    fn check(config: &SpanMetricsConfig, errors: &[&str]) {
        let mut problems = Problems::default();
        config.check(&Path::ROOT, &mut problems);
        let found: Vec<_> = problems.errors().iter().map(ToString::to_string).collect();
        assert_eq!(found, errors);
    }

    #[test]
    fn the_defaults_are_valid() {
        check(&SpanMetricsConfig::default(), &[]);
    }

    #[test]
    fn a_dimension_stands_once_in_a_metric() {
        let config = SpanMetricsConfig {
            dimensions: vec![dimension("a"), dimension("span.name"), dimension("a")],
            calls_dimensions: vec![dimension("b"), dimension("a"), dimension("")],
            histogram: HistogramConfig {
                dimensions: vec![dimension("b")],
                ..HistogramConfig::default()
            },
            ..SpanMetricsConfig::default()
        };
        check(
            &config,
            &[
                "dimensions::1::name: \"span.name\" is a default dimension",
                "dimensions::2::name: duplicate dimension \"a\"",
                "calls_dimensions::1::name: duplicate dimension \"a\"",
                "calls_dimensions::2::name: must not be empty",
            ],
        );
    }

    #[test]
    fn bounds_must_ascend() {
        let buckets = [1, 5, 5, 3].map(Duration::from_millis).to_vec();
        let config = SpanMetricsConfig {
            histogram: HistogramConfig {
                explicit: ExplicitConfig { buckets },
                ..HistogramConfig::default()
            },
            ..SpanMetricsConfig::default()
        };
        check(
            &config,
            &[
                "histogram::explicit::buckets::2: bounds must ascend, but 5ms follows 5ms",
                "histogram::explicit::buckets::3: bounds must ascend, but 3ms follows 5ms",
            ],
        );
    }

    #[test]
    fn what_is_not_supported_is_an_error_and_not_ignored() {
        let config = SpanMetricsConfig {
            metrics_flush_interval: Duration::ZERO,
            exemplars: ExemplarsConfig { enabled: true, ..ExemplarsConfig::default() },
            include_instrumentation_scope: vec!["lib".to_owned()],
            ..SpanMetricsConfig::default()
        };
        check(
            &config,
            &[
                "metrics_flush_interval: must be greater than 0",
                "exemplars::enabled: not supported yet",
                "include_instrumentation_scope: not supported yet",
            ],
        );
    }

    #[test]
    fn a_key_without_effect_is_warned_of() {
        let config = SpanMetricsConfig {
            dimensions_cache_size: Some(1000),
            exclude_dimensions: vec!["span.kind".to_owned(), "span_kind".to_owned()],
            ..SpanMetricsConfig::default()
        };
        let mut problems = Problems::default();
        config.check(&Path::ROOT, &mut problems);
        assert!(problems.is_empty());
        let warnings: Vec<_> = problems.warnings().iter().map(|warning| &warning.path).collect();
        assert_eq!(warnings, ["exclude_dimensions::1", "dimensions_cache_size"]);
    }
}
