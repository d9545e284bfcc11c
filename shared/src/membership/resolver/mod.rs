//! Resolvers: where the endpoints of the backends come from.
//!
//! A new one is a file with its section and its `impl Resolver`, and one key in
//! [`ResolverConfig`] with its arm in [`ResolverConfig::build`].

mod static_list;

mod dns;
mod lookup;
mod nameserver;
#[cfg(test)]
mod testing;

pub use dns::DnsConfig;
pub use lookup::LookupConfig;
pub use static_list::StaticConfig;

use std::time::Duration;

use async_trait::async_trait;

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
    /// What became of the lookups of a resolver.
    pub struct LookupMetrics ["resolver", "outcome"];
    /// Number of lookups, by what became of them.
    num_lookups: Counter = "otelcol_loadbalancer_num_lookups", "{lookups}";
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

metric_set! {
    /// What a resolver that asks others counts besides.
    pub struct HoldMetrics ["resolver"];
    /// Number of times more than half of the backends were missing and held back for a while.
    num_shrinks_held: Counter = "otelcol_loadbalancer_num_shrinks_held", "{shrinks}";
}

metric_set! {
    /// How old the list of backends is, for each name that is resolved.
    pub struct AgeMetrics ["resolver", "name"];
    /// Time since the list of backends was last known to be right, as of the last lookup.
    resolver_age: Gauge = "otelcol_loadbalancer_resolver_age", "s";
}

/// The metrics of all resolvers that an exporter does not list itself.
pub const DESCRIPTORS: &[&[Descriptor]] =
    &[LookupMetrics::DESCRIPTORS, HoldMetrics::DESCRIPTORS, AgeMetrics::DESCRIPTORS];

/// What became of a lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It found backends.
    Answered,
    /// The name exists, and has no backend.
    Empty,
    /// There is no such name.
    NoSuchName,
    /// The server said that it has a problem.
    ServerFailure,
    /// There was no answer in time.
    TimedOut,
    /// Anything else: refused, unreachable, unreadable.
    Failed,
}

impl Outcome {
    const ALL: [(Self, &str); 6] = [
        (Self::Answered, "answered"),
        (Self::Empty, "empty"),
        (Self::NoSuchName, "nxdomain"),
        (Self::ServerFailure, "servfail"),
        (Self::TimedOut, "timeout"),
        (Self::Failed, "failed"),
    ];
}

/// The metrics of one resolver.
struct Meter {
    succeeded: ResolutionMetrics,
    failed: ResolutionMetrics,
    set: ResolverMetrics,
    /// Of a resolver that asks others; a list that does not change has no age.
    asking: Option<Asking>,
}

/// Metrics of asking others.
struct Asking {
    outcomes: [LookupMetrics; Outcome::ALL.len()],
    hold: HoldMetrics,
    age: AgeMetrics,
}

impl Meter {
    /// The metrics of a resolver that asks nobody.
    fn new(resolver: &str) -> Self {
        let resolution =
            |success| ResolutionMetrics::new(&[("resolver", resolver), ("success", success)]);
        Self {
            succeeded: resolution("true"),
            failed: resolution("false"),
            set: ResolverMetrics::new(&[("resolver", resolver)]),
            asking: None,
        }
    }

    /// The metrics of a resolver that asks for `name`.
    fn asking(resolver: &str, name: &str) -> Self {
        let outcome =
            |(_, outcome)| LookupMetrics::new(&[("resolver", resolver), ("outcome", outcome)]);
        let asking = Asking {
            outcomes: Outcome::ALL.map(outcome),
            hold: HoldMetrics::new(&[("resolver", resolver)]),
            age: AgeMetrics::new(&[("resolver", resolver), ("name", name)]),
        };
        Self { asking: Some(asking), ..Self::new(resolver) }
    }

    /// Backends were found.
    fn answered(&self) {
        self.succeeded.num_resolutions.increment(1);
        self.looked_up(Outcome::Answered, Duration::ZERO);
    }

    /// None were found, and what is in use is as old as this.
    fn failed(&self, outcome: Outcome, age: Duration) {
        self.failed.num_resolutions.increment(1);
        self.looked_up(outcome, age);
    }

    fn looked_up(&self, outcome: Outcome, age: Duration) {
        let Some(asking) = &self.asking else { return };
        asking.age.resolver_age.set(age.as_secs_f64());
        for ((known, _), metrics) in Outcome::ALL.iter().zip(&asking.outcomes) {
            if *known == outcome {
                metrics.num_lookups.increment(1);
            }
        }
    }

    /// A shrink is held back.
    fn held_back(&self) {
        if let Some(asking) = &self.asking {
            asking.hold.num_shrinks_held.increment(1);
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
