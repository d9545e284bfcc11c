//! `connectors::service_graph`, with the Collector's keys.
//!
//! Source: contrib connector/servicegraphconnector/config.go.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::config::{Path, Problems};
use crate::config_struct;

config_struct! {
    /// Turns pairs of spans into metrics of the requests between services.
    pub struct ServiceGraphConfig {
        /// Upper bounds of all buckets but the last, in ascending order; by default 16 from 2ms
        /// to 15s.
        pub latency_histogram_buckets: Option<Vec<Duration>> = None,
        /// Above 0, histograms are exponential and have at most so many buckets.
        pub exponential_histogram_max_size: i32 = 0,
        /// Attributes to tell series apart by, of both sides: `client_<name>`, `server_<name>`.
        pub dimensions: Vec<String> = Vec::new(),
        /// Spans that wait for their other half.
        pub store: StoreConfig = StoreConfig::default(),
        /// How often series are looked through for those that had no request for a while.
        pub cache_loop: Duration = Duration::from_secs(60),
        /// How often spans are looked through for those that have waited long enough.
        pub store_expiration_loop: Duration = Duration::from_secs(2),
        /// Attributes of a client span that name its server where no server span came, the first
        /// that is there; without any, such requests are not counted.
        pub virtual_node_peer_attributes: Vec<String> =
            ["peer.service", "db.name", "db.system"].map(str::to_owned).into(),
        /// Adds the dimension `virtual_node`.
        pub virtual_node_extra_label: bool = false,
        /// How often metrics are handed on; 0 hands them on with every batch of spans.
        pub metrics_flush_interval: Duration = Duration::from_secs(60),
        /// Superseded by `database_name_attributes`, which it is put in front of.
        pub database_name_attribute: Option<String> = None,
        /// Attributes that make a client span a request to a database of that name.
        pub database_name_attributes: Vec<String> = vec!["db.name".to_owned()],
        /// How far in the past the metrics' times are put.
        pub metrics_timestamp_offset: Duration = Duration::ZERO,
        /// Superseded: metrics go where the pipeline says.
        pub metrics_exporter: Option<String> = None,
        /// Ours: forgets a series after this time without requests; 0 never does. In the
        /// Collector it is always 15m.
        pub series_expiration: Duration = Duration::from_secs(15 * 60),
        /// Ours: how many series there are; further requests count in one series with the
        /// attribute `otel.metric.overflow`. 0 is no limit.
        pub max_series: usize = 10_000,
        /// Ours: adds the dimension `collector.instance.id`, so that several processes which see
        /// requests between the same services do not write the same series.
        pub include_instance_id: bool = false,
    }
}

config_struct! {
    /// `store`: spans that wait for their other half.
    pub struct StoreConfig {
        /// How many wait; further ones are dropped.
        pub max_items: usize = 1000,
        /// How long each waits.
        pub ttl: Duration = Duration::from_secs(2),
        /// Ours: bytes of those that wait; further ones are dropped. 0 is no limit.
        pub max_bytes: usize = 64 << 20,
    }
}

impl ServiceGraphConfig {
    /// Reports everything that is wrong.
    pub(super) fn check(&self, at: &Path<'_>, problems: &mut Problems) {
        let max_size = self.exponential_histogram_max_size;
        if max_size < 0 {
            problems.report(&at.key("exponential_histogram_max_size"), "can not be negative");
        }
        if let Some(buckets) = &self.latency_histogram_buckets {
            let at = at.key("latency_histogram_buckets");
            if max_size > 0 {
                problems.report(
                    &at,
                    "use either `latency_histogram_buckets` or `exponential_histogram_max_size`",
                );
            }
            check_buckets(buckets, &at, problems);
        }
        for (key, duration) in
            [("cache_loop", self.cache_loop), ("store_expiration_loop", self.store_expiration_loop)]
        {
            if duration.is_zero() {
                problems.report(&at.key(key), "must be greater than 0");
            }
        }
        let store = at.key("store");
        if self.store.ttl.is_zero() {
            problems.report(&store.key("ttl"), "must be greater than 0, or no two spans ever meet");
        }
        if self.store.max_items == 0 {
            problems.report(&store.key("max_items"), "must be greater than 0");
        }
        self.check_names(at, problems);
        if self.metrics_exporter.is_some() {
            problems.warn(&at.key("metrics_exporter"), "has no effect and can be removed");
        }
        if self.database_name_attribute.is_some() {
            problems.warn(
                &at.key("database_name_attribute"),
                "is deprecated: use database_name_attributes",
            );
        }
    }

    fn check_names(&self, at: &Path<'_>, problems: &mut Problems) {
        for (key, names) in [
            ("dimensions", &self.dimensions),
            ("virtual_node_peer_attributes", &self.virtual_node_peer_attributes),
            ("database_name_attributes", &self.database_name_attributes),
        ] {
            let mut seen = BTreeSet::new();
            for (index, name) in names.iter().enumerate() {
                let at = at.key(key);
                if name.is_empty() {
                    problems.report(&at.index(index), "must not be empty");
                } else if !seen.insert(name) {
                    problems.report(&at.index(index), format!("duplicate attribute \"{name}\""));
                }
            }
        }
    }

    /// The names of databases' attributes, the one that counts first in front.
    pub(super) fn database_names(&self) -> impl Iterator<Item = &String> {
        self.database_name_attribute.iter().chain(&self.database_name_attributes)
    }
}

fn check_buckets(buckets: &[Duration], at: &Path<'_>, problems: &mut Problems) {
    if buckets.is_empty() {
        problems.report(at, "must not be empty; leave the key out for the default bounds");
    }
    for (index, pair) in buckets.windows(2).enumerate() {
        if pair[0] >= pair[1] {
            problems.report(
                &at.index(index + 1),
                format!("bounds must ascend, but {:?} follows {:?}", pair[1], pair[0]),
            );
        }
    }
}

/// The bounds of latency buckets where none are named.
pub(super) fn default_buckets() -> Vec<Duration> {
    [2, 4, 6, 8, 10, 50, 100, 200, 400, 800, 1000, 1400, 2000, 5000, 10_000, 15_000]
        .map(Duration::from_millis)
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(config: &ServiceGraphConfig, errors: &[&str], warnings: &[&str]) {
        let mut problems = Problems::default();
        config.check(&Path::ROOT, &mut problems);
        let found: Vec<_> = problems.errors().iter().map(ToString::to_string).collect();
        assert_eq!(found, errors);
        let found: Vec<_> = problems.warnings().iter().map(|warning| &warning.path).collect();
        assert_eq!(found, warnings);
    }

    #[test]
    fn the_defaults_are_valid() {
        check(&ServiceGraphConfig::default(), &[], &[]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let config = ServiceGraphConfig {
            latency_histogram_buckets: Some(vec![Duration::from_secs(1); 2]),
            exponential_histogram_max_size: 20,
            dimensions: vec!["a".to_owned(), String::new(), "a".to_owned()],
            store: StoreConfig { max_items: 0, ttl: Duration::ZERO, ..StoreConfig::default() },
            cache_loop: Duration::ZERO,
            metrics_exporter: Some("otlp".to_owned()),
            database_name_attribute: Some("db.namespace".to_owned()),
            ..ServiceGraphConfig::default()
        };
        check(
            &config,
            &[
                "latency_histogram_buckets: use either `latency_histogram_buckets` or \
                 `exponential_histogram_max_size`",
                "latency_histogram_buckets::1: bounds must ascend, but 1s follows 1s",
                "cache_loop: must be greater than 0",
                "store::ttl: must be greater than 0, or no two spans ever meet",
                "store::max_items: must be greater than 0",
                "dimensions::1: must not be empty",
                "dimensions::2: duplicate attribute \"a\"",
            ],
            &["metrics_exporter", "database_name_attribute"],
        );
        let negative = ServiceGraphConfig {
            exponential_histogram_max_size: -1,
            ..ServiceGraphConfig::default()
        };
        check(&negative, &["exponential_histogram_max_size: can not be negative"], &[]);
        assert!(config.database_names().eq(["db.namespace", "db.name"]));
    }
}
