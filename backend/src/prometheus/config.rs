//! `exporters::prometheus`, with the Collector's keys.
//!
//! Source: contrib exporter/prometheusexporter/config.go.

use std::collections::BTreeMap;
use std::time::Duration;

use shared::config::{NotSupported, Path, Problems};
use shared::config_struct;

use super::labels::{LabelRules, ScopeInfo};
use super::names::{Charset, Naming, TranslationStrategy, Underscores};
use super::resource_attributes::{
    ResourceAttributes, ResourceConversionConfig, ResourceLabelsConfig,
};

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
        /// Which resource attributes become labels; takes the place of
        /// `resource_to_telemetry_conversion`.
        pub resource_constant_labels: ResourceLabelsConfig = ResourceLabelsConfig::default(),
        /// How names are made; unset, it is `UnderscoreEscapingWithSuffixes`.
        pub translation_strategy: Option<TranslationStrategy> = None,
        /// Superseded by `translation_strategy`; has an effect only if that is not set and
        /// `disable_add_metric_suffixes` is false.
        pub add_metric_suffixes: bool = true,
        /// Ours: whether no notice is taken of `add_metric_suffixes`, as in the Collector unless
        /// its gate `exporter.prometheusexporter.DisableAddMetricSuffixes` is turned off.
        pub disable_add_metric_suffixes: bool = true,
        /// Ours: how many series are kept; data points of further ones are dropped and counted.
        pub max_series: usize = 300_000,
        /// The OpenMetrics format.
        pub enable_open_metrics: bool = false,
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
        if self.strategy().charset() == Charset::Utf8 {
            problems.report(&at.key("translation_strategy"), "is not supported yet");
        }
        if self.enable_open_metrics {
            problems.report(&at.key("enable_open_metrics"), "not supported yet");
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
                enable_open_metrics: true,
                ..PrometheusConfig::default()
            },
            &[
                "endpoint: \"8889\" is not host:port",
                "metric_expiration: must be greater than 0",
                "enable_open_metrics: not supported yet",
            ],
        );
    }

    /// The strategy in force, and the warnings.
    fn strategy(
        translation_strategy: Option<TranslationStrategy>,
        disable_add_metric_suffixes: bool,
    ) -> (TranslationStrategy, Vec<String>) {
        let config = PrometheusConfig {
            endpoint: ":0".to_owned(),
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
