//! Resolvers: where the endpoints of the backends come from.
//!
//! A new one is a file with its section and its `impl Resolver`, and its key in
//! [`ResolverConfig`] with a line in `ResolverConfig::configured`. What asks DNS has only to say
//! what it asks for: `lookup::Question`. Who stays and who leaves is decided in
//! [`members`](super::members).

mod report;

mod static_list;

mod dns;
mod lookup;
mod names;
mod nameserver;
mod srv;
#[cfg(test)]
mod testing;

mod k8s;

pub use dns::{DnsConfig, IpFamily};
pub use k8s::K8sConfig;
pub use lookup::LookupConfig;
pub use names::Names;
pub use srv::SrvConfig;
pub use static_list::StaticConfig;

use async_trait::async_trait;

use self::k8s::K8sMetrics;
use self::report::{AgeMetrics, HoldMetrics, LookupMetrics};
use crate::config::{NotSupported, Path, Problems};
use crate::telemetry::metrics::Descriptor;
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
        /// Ours: the targets of the SRV records of a name.
        pub srv: Option<SrvConfig> = None,
        /// The endpoints of a Kubernetes service, by its API.
        pub k8s: Option<K8sConfig> = None,
        /// The instances of an AWS Cloud Map service.
        pub aws_cloud_map: NotSupported = NotSupported,
    }
}

/// The section of one resolver.
trait ResolverSection {
    /// Reports everything that is wrong.
    fn validate(&self, at: &Path<'_>, problems: &mut Problems);

    /// Makes the resolver of a section that was validated.
    fn build(&self) -> Box<dyn Resolver>;
}

impl ResolverConfig {
    /// The sections that are there. A new resolver is one line.
    fn configured(&self) -> Vec<(&'static str, &dyn ResolverSection)> {
        fn section<S: ResolverSection>(section: Option<&S>) -> Option<&dyn ResolverSection> {
            section.map(|section| section as &dyn ResolverSection)
        }
        let all = [
            ("static", section(self.r#static.as_ref())),
            ("dns", section(self.dns.as_ref())),
            ("srv", section(self.srv.as_ref())),
            ("k8s", section(self.k8s.as_ref())),
        ];
        all.into_iter().filter_map(|(key, section)| Some((key, section?))).collect()
    }

    /// Whether any is configured.
    pub fn is_set(&self) -> bool {
        !self.configured().is_empty()
    }

    /// Reports everything that is wrong.
    pub fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        let configured = self.configured();
        match configured.len() {
            0 => problems.report(at, "no resolvers specified for the exporter"),
            1 => {}
            _ => problems.report(at, "only one resolver should be specified"),
        }
        for (key, section) in configured {
            section.validate(&at.key(key), problems);
        }
    }

    /// How endpoints that are names are looked up when they are dialled; `None` leaves it to the
    /// system.
    pub fn names(&self) -> Option<Names> {
        self.srv.as_ref()?.lookup.names()
    }

    /// Makes the resolver; `None` if none is configured. The section must have been validated.
    pub fn build(&self) -> Option<Box<dyn Resolver>> {
        self.configured().first().map(|(_, section)| section.build())
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

/// The metrics of all resolvers that an exporter does not list itself.
pub const DESCRIPTORS: &[&[Descriptor]] = &[
    LookupMetrics::DESCRIPTORS,
    HoldMetrics::DESCRIPTORS,
    AgeMetrics::DESCRIPTORS,
    K8sMetrics::DESCRIPTORS,
];

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

    /// The set is another one.
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
        check(&json!({"srv": {"hostname": "backend", "port_name": "otlp"}}), &[]);
        check(&json!({"k8s": {"service": "backend.ns", "ports": [4317]}}), &[]);
        check(
            &json!({"dns": {"hostname": "backend"}, "static": {"hostnames": ["a"]}}),
            &["a: only one resolver should be specified"],
        );
    }

    #[test]
    fn a_resolver_that_we_lack_is_named() {
        let json = json!({"aws_cloud_map": {"namespace": "a", "service_name": "b"}});
        let (_, errors, _) = section::<ResolverConfig>(&json, ResolverConfig::validate);
        assert_eq!(errors[0], "a::aws_cloud_map: not supported yet");
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
