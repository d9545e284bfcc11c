//! Resolvers: where the endpoints of the backends come from.
//!
//! A new one is a file with its section and its `impl Resolver`, and one key in
//! [`ResolverConfig`] with its arm in [`ResolverConfig::build`].

mod dns;
mod static_list;

pub use dns::DnsConfig;
pub use static_list::StaticConfig;

use async_trait::async_trait;

use crate::config::{NotSupported, Path, Problems};
use crate::{config_struct, metric_set};

/// Tells who the backends are.
#[async_trait]
pub trait Resolver: Send {
    /// Waits for a set of endpoints that differs from the last one; keeps the last one when a
    /// lookup fails. It is never empty.
    ///
    /// Dropping the future loses nothing: the next call goes on where this one was.
    async fn changed(&mut self) -> Vec<String>;
}

config_struct! {
    /// `resolver`: exactly one of its keys.
    #[derive(PartialEq)]
    pub struct ResolverConfig {
        /// A list that does not change.
        pub r#static: Option<StaticConfig> = None,
        /// The addresses of a name.
        pub dns: Option<DnsConfig> = None,
        /// The endpoints of a Kubernetes service, by its API.
        pub k8s: NotSupported = NotSupported,
        /// The instances of an AWS Cloud Map service.
        pub aws_cloud_map: NotSupported = NotSupported,
    }
}

impl ResolverConfig {
    /// Reports everything that is wrong.
    pub fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        match (&self.r#static, &self.dns) {
            (None, None) => problems.report(at, "no resolvers specified for the exporter"),
            (Some(_), Some(_)) => problems.report(at, "only one resolver should be specified"),
            (Some(_), None) | (None, Some(_)) => {}
        }
        if let Some(list) = &self.r#static {
            list.validate(&at.key("static"), problems);
        }
        if let Some(dns) = &self.dns {
            dns.validate(&at.key("dns"), problems);
        }
    }

    /// Makes the resolver; `None` if none is configured. The section must have been validated.
    pub fn build(&self) -> Option<Box<dyn Resolver>> {
        match (&self.r#static, &self.dns) {
            (Some(list), _) => Some(list.build()),
            (None, Some(dns)) => Some(dns.build()),
            (None, None) => None,
        }
    }
}

metric_set! {
    /// What a resolver counts of its lookups.
    pub struct ResolutionMetrics ["resolver", "success"];
    /// Number of times the resolver has triggered new resolutions.
    num_resolutions: Counter = "otelcol_loadbalancer_num_resolutions", "{resolutions}";
}

metric_set! {
    /// What a resolver counts of its set of endpoints.
    pub struct ResolverMetrics ["resolver"];
    /// Current number of backends in use.
    num_backends: Gauge = "otelcol_loadbalancer_num_backends", "{backends}";
    /// Number of times the list of backends was updated.
    num_backend_updates: Counter = "otelcol_loadbalancer_num_backend_updates", "{updates}";
    /// Number of endpoints passed over in lookups because the set is as large as it may be (4096).
    num_backends_over_limit: Counter = "otelcol_loadbalancer_num_backends_over_limit", "{backends}";
}

/// The metrics of one resolver.
struct Meter {
    succeeded: ResolutionMetrics,
    failed: ResolutionMetrics,
    set: ResolverMetrics,
}

impl Meter {
    fn new(resolver: &str) -> Self {
        let resolution =
            |success| ResolutionMetrics::new(&[("resolver", resolver), ("success", success)]);
        Self {
            succeeded: resolution("true"),
            failed: resolution("false"),
            set: ResolverMetrics::new(&[("resolver", resolver)]),
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "a few thousand backends at most")]
    fn updated(&self, backends: usize) {
        self.set.num_backends.set(backends as f64);
        self.set.num_backend_updates.increment(1);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::testing::section;

    #[track_caller]
    fn check(json: &serde_json::Value, expected: &[&str]) {
        let (_, errors, _) = section::<ResolverConfig>(json, ResolverConfig::validate);
        assert_eq!(errors, expected, "{json}");
    }

    #[test]
    fn exactly_one_resolver_is_wanted() {
        check(&json!({}), &["a: no resolvers specified for the exporter"]);
        check(&json!({"dns": null}), &["a: no resolvers specified for the exporter"]);
        check(&json!({"dns": {"hostname": "backend"}}), &[]);
        check(&json!({"static": {"hostnames": ["a", "b:4317"]}}), &[]);
        check(
            &json!({"dns": {"hostname": "backend"}, "static": {"hostnames": ["a"]}}),
            &["a: only one resolver should be specified"],
        );
    }

    #[test]
    fn a_resolver_that_we_lack_is_named() {
        let json = json!({"k8s": {"service": "backend"}});
        let (_, errors, _) = section::<ResolverConfig>(&json, ResolverConfig::validate);
        assert_eq!(errors[0], "a::k8s: not supported yet");
    }

    #[test]
    fn every_wrong_key_is_reported() {
        check(
            &json!({"dns": {
                "port": "otlp", "misses_before_removal": 0, "nameservers": ["ns.example"],
            }}),
            &[
                "a::dns::hostname: no hostname specified to resolve the backends",
                "a::dns::port: invalid port \"otlp\"",
                "a::dns::misses_before_removal: must be positive",
                "a::dns::nameservers::0: \"ns.example\" is not an address such as 10.0.0.10:53",
            ],
        );
        check(
            &json!({"static": {}}),
            &["a::static::hostnames: no endpoints specified for the static resolver"],
        );
        check(
            &json!({"static": {"hostnames": ["", "a:b"]}}),
            &[
                "a::static::hostnames::0: must not be empty",
                "a::static::hostnames::1: invalid port \"b\"",
            ],
        );
    }
}
