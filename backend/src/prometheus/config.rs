//! `exporters::prometheus`, with the Collector's keys.
//!
//! Source: contrib exporter/prometheusexporter/config.go.

use std::collections::BTreeMap;
use std::time::Duration;

use shared::config::{HttpServerConfig, Path, Problems, Section};
use shared::config_struct;
use shared::queue::QueueConfig;
use shared::service::{Gate, Kind, Turned};

use super::labels::{LabelRules, ScopeInfo};
use super::names::{Naming, TranslationStrategy, Underscores};
use super::resource_attributes::{
    ResourceAttributes, ResourceConversionConfig, ResourceLabelsConfig,
};

/// Turned off, the Collector's gate is our key `disable_add_metric_suffixes`.
pub(crate) const DISABLE_SUFFIXES_GATE: Gate = Gate {
    name: "exporter.prometheusexporter.DisableAddMetricSuffixes",
    turned: Turned::Off,
    kind: Kind::Exporter,
    type_names: &["prometheus"],
    key: "disable_add_metric_suffixes",
    value: "false",
};

config_struct! {
    /// Serves metrics for scraping.
    pub struct PrometheusConfig {
        /// In front of every metric's name.
        pub namespace: String = String::new(),
        /// Labels of every series but `target_info`.
        pub const_labels: BTreeMap<String, String> = BTreeMap::new(),
        /// Whether samples carry the data points' timestamps.
        pub send_timestamps: bool = false,
        /// Forgets a series after this time without data points.
        pub metric_expiration: Duration = Duration::from_secs(300),
        /// Copies resource attributes to labels.
        pub resource_to_telemetry_conversion: ResourceConversionConfig =
            ResourceConversionConfig::default(),
        /// Which resource attributes become labels; takes the place of
        /// `resource_to_telemetry_conversion`.
        pub resource_constant_labels: ResourceLabelsConfig = ResourceLabelsConfig::default(),
        /// Keeps exemplars, and writes OpenMetrics for scrapers that ask for it.
        pub enable_open_metrics: bool = false,
        /// Leaves out the labels `otel_scope_*`.
        pub without_scope_info: bool = false,
        /// How names are made; unset, it is `UnderscoreEscapingWithSuffixes`.
        pub translation_strategy: Option<TranslationStrategy> = None,
        /// Superseded by `translation_strategy`; has an effect only if that is not set and
        /// `disable_add_metric_suffixes` is false.
        pub add_metric_suffixes: bool = true,
        /// Ours: whether no notice is taken of `add_metric_suffixes`, as in the Collector unless
        /// its gate `exporter.prometheusexporter.DisableAddMetricSuffixes` is turned off.
        pub disable_add_metric_suffixes: bool = true,
        /// Ours: whether native histograms have their buckets with explicit bounds beside them,
        /// for a Prometheus that scrapes both.
        pub keep_classic_histograms: bool = false,
        /// Ours: how many series are kept; data points of further ones are dropped and counted.
        pub max_series: usize = 300_000,
        /// Ours: how many bytes series take; data points that need more are dropped and counted.
        pub max_bytes: usize = 256 << 20,
        /// A queue in front of the exporter, which otherwise takes each data point at once.
        pub sending_queue: Section<QueueConfig> = Section::off(),
    }
    flatten {
        /// Where and how it is served, at the path `/metrics`.
        pub server: HttpServerConfig =
            HttpServerConfig { endpoint: String::new(), ..HttpServerConfig::default() },
    }
}

impl PrometheusConfig {
    /// Reports everything that is wrong.
    pub(crate) fn check(&self, at: &Path<'_>, problems: &mut Problems) {
        let mut server = self.server.clone();
        if server.endpoint.trim().is_empty() {
            problems.report(
                &at.key("endpoint"),
                "expecting a non-blank address to run the Prometheus metrics handler",
            );
            // What else is wrong is said as well.
            ":0".clone_into(&mut server.endpoint);
        }
        server.validate_with_auth(at, problems);
        if let Some(queue) = self.sending_queue.as_ref() {
            queue.validate(&at.key("sending_queue"), problems);
        }
        for (key, is_zero) in [
            ("metric_expiration", self.metric_expiration.is_zero()),
            ("max_series", self.max_series == 0),
            ("max_bytes", self.max_bytes == 0),
        ] {
            if is_zero {
                problems.report(&at.key(key), "must be greater than 0");
            }
        }
        self.check_superseded(at, problems);
    }

    /// Warns of what is written and has no effect.
    fn check_superseded(&self, at: &Path<'_>, problems: &mut Problems) {
        if !self.add_metric_suffixes && self.translation_strategy.is_some() {
            problems
                .warn(&at.key("add_metric_suffixes"), "has no effect beside translation_strategy");
        } else if !self.add_metric_suffixes && self.disable_add_metric_suffixes {
            problems.warn(
                &at.key("add_metric_suffixes"),
                "has no effect, as in the Collector; set translation_strategy: \
                 UnderscoreEscapingWithoutSuffixes instead",
            );
        }
        if self.resource_to_telemetry_conversion.enabled && self.resource_constant_labels.is_set() {
            problems.warn(
                &at.key("resource_to_telemetry_conversion"),
                "has no effect beside resource_constant_labels",
            );
        }
    }

    /// The strategy that is in force.
    pub(crate) fn strategy(&self) -> TranslationStrategy {
        let suffixes = self.add_metric_suffixes || self.disable_add_metric_suffixes;
        match (self.translation_strategy, suffixes) {
            (Some(strategy), _) => strategy,
            (None, true) => TranslationStrategy::UnderscoreEscapingWithSuffixes,
            (None, false) => TranslationStrategy::UnderscoreEscapingWithoutSuffixes,
        }
    }

    /// How names and labels are made.
    pub(crate) fn rules(&self) -> LabelRules {
        let strategy = self.strategy();
        let naming = Naming {
            namespace: self.namespace.clone(),
            suffixes: strategy.suffixes(),
            charset: strategy.charset(),
            underscores: Underscores::Kept,
        };
        LabelRules {
            naming,
            constant: self.const_labels.clone(),
            scope: match self.without_scope_info {
                true => ScopeInfo::LeftOut,
                false => ScopeInfo::Written,
            },
            resource: ResourceAttributes::new(
                &self.resource_to_telemetry_conversion,
                &self.resource_constant_labels,
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(config: &PrometheusConfig, errors: &[&str]) {
        let mut problems = Problems::default();
        config.check(&Path::ROOT, &mut problems);
        let found: Vec<_> = problems.errors().iter().map(ToString::to_string).collect();
        assert_eq!(found, errors);
    }

    fn at(endpoint: &str) -> HttpServerConfig {
        HttpServerConfig { endpoint: endpoint.to_owned(), ..HttpServerConfig::default() }
    }

    #[test]
    fn an_endpoint_is_all_that_is_needed() {
        for endpoint in ["0.0.0.0:8889", "localhost:0", ":8889", "[::1]:8889"] {
            let server = at(endpoint);
            check(&PrometheusConfig { server, ..PrometheusConfig::default() }, &[]);
        }
        check(
            &PrometheusConfig::default(),
            &["endpoint: expecting a non-blank address to run the Prometheus metrics handler"],
        );
    }

    #[test]
    fn every_mistake_is_named() {
        let queue = QueueConfig { queue_size: 0, ..QueueConfig::default() };
        check(
            &PrometheusConfig {
                server: HttpServerConfig {
                    compression_algorithms: vec!["brotli".to_owned()],
                    ..at("8889")
                },
                metric_expiration: Duration::ZERO,
                max_bytes: 0,
                sending_queue: Section::on(queue),
                ..PrometheusConfig::default()
            },
            &[
                "endpoint: expected host:port",
                "compression_algorithms::0: unsupported algorithm \"brotli\", expected one of \
                 gzip, zstd, zlib, snappy, deflate, lz4, x-snappy-framed",
                "sending_queue::queue_size: `queue_size` must be positive",
                "metric_expiration: must be greater than 0",
                "max_bytes: must be greater than 0",
            ],
        );
    }

    /// B.1 of the reference.
    #[test]
    fn the_defaults_are_those_of_the_collector() {
        let config = PrometheusConfig::default();
        assert_eq!(config.namespace, "");
        assert!(config.const_labels.is_empty());
        assert!(!config.send_timestamps);
        assert_eq!(config.metric_expiration, Duration::from_secs(300));
        let conversion = &config.resource_to_telemetry_conversion;
        assert!(!conversion.enabled && !conversion.exclude_service_attributes);
        assert!(!config.resource_constant_labels.is_set());
        assert!(!config.enable_open_metrics);
        assert!(!config.without_scope_info);
        assert!(config.add_metric_suffixes);
        assert_eq!(config.translation_strategy, None);
        assert_eq!(config.strategy(), TranslationStrategy::UnderscoreEscapingWithSuffixes);
        assert!(!config.sending_queue.is_on());
        let server = &config.server;
        assert_eq!(server.endpoint, "");
        assert_eq!(server.write_timeout, Duration::from_secs(30));
        assert_eq!(server.read_header_timeout, Duration::from_secs(60));
        assert_eq!(server.idle_timeout, Duration::from_secs(60));
        assert!(server.keep_alives_enabled);
        assert!(!server.tls.is_on() && !server.auth.is_on() && !server.cors.is_on());
    }

    /// The strategy in force, and the warnings.
    fn strategy(
        translation_strategy: Option<TranslationStrategy>,
        disable_add_metric_suffixes: bool,
    ) -> (TranslationStrategy, Vec<String>) {
        let config = PrometheusConfig {
            server: at(":0"),
            add_metric_suffixes: false,
            translation_strategy,
            disable_add_metric_suffixes,
            ..PrometheusConfig::default()
        };
        let mut problems = Problems::default();
        config.check(&Path::ROOT, &mut problems);
        assert!(problems.is_empty());
        (config.strategy(), problems.warnings().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn suffixes_are_left_out_by_the_strategy_or_with_the_gate_off() {
        use TranslationStrategy::{
            UnderscoreEscapingWithSuffixes, UnderscoreEscapingWithoutSuffixes,
        };
        let (found, warnings) = strategy(None, true);
        assert_eq!((found, warnings.len()), (UnderscoreEscapingWithSuffixes, 1));
        assert_eq!(strategy(None, false), (UnderscoreEscapingWithoutSuffixes, Vec::new()));
        let (found, warnings) = strategy(Some(UnderscoreEscapingWithSuffixes), false);
        assert_eq!(found, UnderscoreEscapingWithSuffixes);
        assert_eq!(warnings, ["add_metric_suffixes: has no effect beside translation_strategy"]);
    }
}
