//! How many backends there are: a budget of the whole tier is divided by that.
//!
//! The number is configured, or counted by a resolver as the edges use it: then the last good answer
//! holds while lookups fail, and a backend that joins or leaves changes the others' parts as soon as
//! they learn of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use shared::config::{Path, Problems};
use shared::membership::{Resolver, ResolverConfig};
use shared::telemetry::metrics::Descriptor;
use shared::{config_struct, metric_set};
use tokio::sync::watch;
use tracing::info;

config_struct! {
    /// Ours: `tier`, the backends that share the traffic. A policy with `cluster: true` takes its
    /// part of its limits.
    pub(crate) struct TierConfig {
        /// How many there are, this one included; beside a resolver: until that has an answer.
        pub size: Option<usize> = None,
    }
    flatten {
        /// Who they are: a resolver that finds all of them, this one included.
        pub members: ResolverConfig = ResolverConfig::default(),
    }
}

impl TierConfig {
    /// Reports everything that is wrong.
    pub(super) fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        if self.size == Some(0) {
            problems.report(&at.key("size"), "must be above 0: this backend counts too");
        }
        if self.members.is_set() {
            self.members.validate(at, problems);
        }
    }

    /// Whether anything is said of it.
    pub(super) fn is_set(&self) -> bool {
        self.size.is_some() || self.members.is_set()
    }

    /// The number of backends before any resolver has an answer.
    pub(super) fn initial_size(&self) -> TierSize {
        TierSize::new(self.size.unwrap_or(1))
    }
}

/// Descriptors of the metrics of tiers.
pub(super) const DESCRIPTORS: &[Descriptor] = Metrics::DESCRIPTORS;

metric_set! {
    /// What is known of the tier.
    struct Metrics ["processor"];
    /// Backends that share the budgets with cluster: true, as far as this one knows.
    backends: Gauge = "otelcol_processor_tail_sampling_tier_size", "{backend}";
}

/// The number of backends as it is known now. Clones tell the same.
#[derive(Debug, Clone)]
pub(super) struct TierSize(Arc<AtomicUsize>);

impl TierSize {
    /// So many.
    pub(super) fn new(backends: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(backends)))
    }

    /// How many there are; at least this one.
    pub(super) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed).max(1)
    }

    /// There are so many now.
    pub(super) fn set(&self, backends: usize) {
        self.0.store(backends, Ordering::Relaxed);
    }
}

impl Default for TierSize {
    /// This backend alone.
    fn default() -> Self {
        Self::new(1)
    }
}

/// Keeps the size of a processor's tier up to date until a stop.
#[allow(clippy::cast_precision_loss, reason = "a few thousand backends at most")]
pub(super) async fn follow(
    processor: String,
    size: TierSize,
    resolver: Option<Box<dyn Resolver>>,
    mut stop: watch::Receiver<Option<Instant>>,
) {
    let metrics = Metrics::new(&[("processor", &processor)]);
    metrics.backends.set(size.get() as f64);
    let Some(mut resolver) = resolver else { return };
    loop {
        let members = tokio::select! {
            biased;
            _ = stop.changed() => return,
            members = resolver.changed() => members,
        };
        size.set(members.len());
        metrics.backends.set(size.get() as f64);
        info!(processor, backends = size.get(), "the tier that shares budgets has another size");
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use shared::config::{Decode, yaml};
    use tokio::sync::mpsc;

    use super::*;

    fn tier(text: &str) -> (TierConfig, Vec<String>) {
        let mut problems = Problems::default();
        let node = yaml::parse(text, 0).unwrap();
        let config = TierConfig::decode(&node, &Path::ROOT, &mut problems).unwrap_or_default();
        config.validate(&Path::ROOT, &mut problems);
        (config, problems.errors().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_size_or_a_resolver_is_enough() {
        for (text, is_set, size) in [
            ("{}", false, 1),
            ("size: 5", true, 5),
            ("dns: {hostname: backend}", true, 1),
            ("{size: 3, static: {hostnames: [a, b]}}", true, 3),
        ] {
            let (config, errors) = tier(text);
            assert_eq!(errors, Vec::<String>::new(), "{text}");
            assert_eq!((config.is_set(), config.initial_size().get()), (is_set, size), "{text}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(tier("size: 0").1, ["size: must be above 0: this backend counts too"]);
        assert_eq!(
            tier("{dns: {port: 1}}").1,
            ["dns::hostname: no hostname specified to resolve the backends"]
        );
        assert_eq!(
            tier("{dns: {hostname: a}, static: {hostnames: [b]}}").1,
            ["only one resolver should be specified"]
        );
    }

    /// Says what it is told to.
    struct Told(mpsc::Receiver<Vec<String>>);

    #[async_trait]
    impl Resolver for Told {
        async fn changed(&mut self) -> Vec<String> {
            match self.0.recv().await {
                Some(members) => members,
                None => std::future::pending().await,
            }
        }
    }

    #[tokio::test]
    async fn the_size_follows_the_resolver_until_a_stop() {
        let (tell, told) = mpsc::channel(1);
        let (stop, stopped) = watch::channel(None);
        let size = TierSize::new(4);
        let resolver: Box<dyn Resolver> = Box::new(Told(told));
        let task = tokio::spawn(follow("a".to_owned(), size.clone(), Some(resolver), stopped));
        assert_eq!(size.get(), 4);
        for members in [["a", "b"].as_slice(), &["a", "b", "c"]] {
            tell.send(members.iter().map(ToString::to_string).collect()).await.unwrap();
            while size.get() != members.len() {
                tokio::task::yield_now().await;
            }
        }
        stop.send_replace(Some(shared::clock::now()));
        task.await.unwrap();
        assert_eq!(size.get(), 3);
    }
}
