//! `exporters::prometheus`, with the Collector's keys.
//!
//! Source: contrib exporter/prometheusexporter/config.go.

use std::collections::BTreeMap;
use std::time::Duration;

use shared::config::{NotSupported, Path, Problems};
use shared::{config_enum, config_struct};

use super::names::Suffixes;

config_struct! {
    /// Serves metrics for scraping.
    pub struct PrometheusConfig {
        /// Where to listen: `host:port`; without a host, on all addresses. The path is
        /// `/metrics`.
        pub endpoint: String = String::new(),
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
        /// Leaves out the labels `otel_scope_*`.
        pub without_scope_info: bool = false,
        /// How names are made.
        pub translation_strategy: TranslationStrategy =
            TranslationStrategy::UnderscoreEscapingWithSuffixes,
        /// Superseded by `translation_strategy`; the Collector takes no notice of it either.
        pub add_metric_suffixes: bool = true,
        /// Ours: how many series are kept; data points of further ones are dropped and counted.
        pub max_series: usize = 300_000,
        /// The OpenMetrics format.
        pub enable_open_metrics: bool = false,
        /// Resource attributes as labels, by pattern.
        pub resource_constant_labels: NotSupported = NotSupported,
        /// TLS.
        pub tls: NotSupported = NotSupported,
        /// Authentication.
        pub auth: NotSupported = NotSupported,
        /// Cross-origin requests.
        pub cors: NotSupported = NotSupported,
        /// A queue in front of the exporter: here each data point is taken at once.
        pub sending_queue: NotSupported = NotSupported,
    }
}

config_struct! {
    /// `resource_to_telemetry_conversion`.
    pub struct ResourceConversionConfig {
        /// Whether resource attributes become labels; they win over a data point's own.
        pub enabled: bool = false,
        /// Leaves out `service.name`, `service.namespace` and `service.instance.id`, which
        /// `job` and `instance` are made of.
        pub exclude_service_attributes: bool = false,
    }
}

config_enum! {
    /// How names of OTLP become names of Prometheus.
    pub enum TranslationStrategy {
        /// What is not allowed becomes `_`; units and types become suffixes.
        UnderscoreEscapingWithSuffixes = "UnderscoreEscapingWithSuffixes",
        /// What is not allowed becomes `_`.
        UnderscoreEscapingWithoutSuffixes = "UnderscoreEscapingWithoutSuffixes",
        /// All characters stay; units and types become suffixes.
        NoUtf8EscapingWithSuffixes = "NoUTF8EscapingWithSuffixes",
        /// Names stay as they are.
        NoTranslation = "NoTranslation",
    }
}

impl PrometheusConfig {
    /// Reports everything that is wrong.
    pub(crate) fn check(&self, at: &Path<'_>, problems: &mut Problems) {
        if self.endpoint.trim().is_empty() {
            problems.report(
                &at.key("endpoint"),
                "expecting a non-blank address to run the Prometheus metrics handler",
            );
        } else if self
            .endpoint
            .rsplit_once(':')
            .is_none_or(|(_, port)| port.parse::<u16>().is_err())
        {
            let endpoint = &self.endpoint;
            problems.report(&at.key("endpoint"), format!("\"{endpoint}\" is not host:port"));
        }
        for (key, is_zero) in [
            ("metric_expiration", self.metric_expiration.is_zero()),
            ("max_series", self.max_series == 0),
        ] {
            if is_zero {
                problems.report(&at.key(key), "must be greater than 0");
            }
        }
        if matches!(
            self.translation_strategy,
            TranslationStrategy::NoUtf8EscapingWithSuffixes | TranslationStrategy::NoTranslation
        ) {
            let strategy = self.translation_strategy.name();
            problems.report(
                &at.key("translation_strategy"),
                format!("{strategy} is not supported yet, names are always escaped"),
            );
        }
        if self.enable_open_metrics {
            problems.report(&at.key("enable_open_metrics"), "not supported yet");
        }
        if !self.add_metric_suffixes {
            problems.warn(
                &at.key("add_metric_suffixes"),
                "has no effect, as in the Collector; set translation_strategy: \
                 UnderscoreEscapingWithoutSuffixes instead",
            );
        }
    }

    /// Whether units and types become part of names.
    pub(crate) fn suffixes(&self) -> Suffixes {
        match self.translation_strategy {
            TranslationStrategy::UnderscoreEscapingWithSuffixes
            | TranslationStrategy::NoUtf8EscapingWithSuffixes => Suffixes::With,
            TranslationStrategy::UnderscoreEscapingWithoutSuffixes
            | TranslationStrategy::NoTranslation => Suffixes::Without,
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

    #[test]
    fn an_endpoint_is_all_that_is_needed() {
        for endpoint in ["0.0.0.0:8889", "localhost:0", ":8889", "[::1]:8889"] {
            let endpoint = endpoint.to_owned();
            check(&PrometheusConfig { endpoint, ..PrometheusConfig::default() }, &[]);
        }
        check(
            &PrometheusConfig::default(),
            &["endpoint: expecting a non-blank address to run the Prometheus metrics handler"],
        );
    }

    #[test]
    fn every_mistake_is_named() {
        check(
            &PrometheusConfig {
                endpoint: "8889".to_owned(),
                metric_expiration: Duration::ZERO,
                translation_strategy: TranslationStrategy::NoTranslation,
                enable_open_metrics: true,
                ..PrometheusConfig::default()
            },
            &[
                "endpoint: \"8889\" is not host:port",
                "metric_expiration: must be greater than 0",
                "translation_strategy: NoTranslation is not supported yet, names are always escaped",
                "enable_open_metrics: not supported yet",
            ],
        );
    }

    #[test]
    fn suffixes_are_turned_off_by_the_strategy_alone() {
        let config = PrometheusConfig {
            endpoint: ":0".to_owned(),
            add_metric_suffixes: false,
            ..PrometheusConfig::default()
        };
        let mut problems = Problems::default();
        config.check(&Path::ROOT, &mut problems);
        assert!(problems.is_empty());
        assert_eq!(problems.warnings().len(), 1);
        assert_eq!(config.suffixes(), Suffixes::With);
    }
}
