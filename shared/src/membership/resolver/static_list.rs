//! A list of endpoints that does not change.

use std::collections::BTreeSet;
use std::future::pending;

use async_trait::async_trait;

use super::{Meter, Resolver, ResolverSection};
use crate::config::{Path, Problems};
use crate::config_struct;
use crate::membership::{MAX_ENDPOINTS, dial_address};

config_struct! {
    /// `resolver::static`.
    #[derive(PartialEq)]
    pub struct StaticConfig {
        /// Endpoints: a name or an address, with a port or else at 4317.
        pub hostnames: Vec<String> = Vec::new(),
    }
}

impl ResolverSection for StaticConfig {
    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        let at = at.key("hostnames");
        if self.hostnames.is_empty() {
            problems.report(&at, "no endpoints specified for the static resolver");
        }
        if self.hostnames.len() > MAX_ENDPOINTS {
            problems.report(&at, format!("at most {MAX_ENDPOINTS} endpoints are possible"));
        }
        for (index, endpoint) in self.hostnames.iter().enumerate() {
            let at = at.index(index);
            let address = dial_address(endpoint);
            match address.rsplit_once(':') {
                _ if endpoint.is_empty() => problems.report(&at, "must not be empty"),
                Some((_, port)) if port.parse::<u16>().is_ok() => {}
                Some((_, port)) => problems.report(&at, format!("invalid port {port:?}")),
                None => problems.report(&at, "expected host or host:port"),
            }
        }
    }

    fn build(&self) -> Box<dyn Resolver> {
        let meter = Meter::new("static");
        Box::new(StaticList::new(self.hostnames.iter().cloned(), meter))
    }
}

/// Tells a set once.
pub(super) struct StaticList {
    /// Until it was told.
    endpoints: Option<BTreeSet<String>>,
    meter: Meter,
}

impl StaticList {
    pub(super) fn new(endpoints: impl IntoIterator<Item = String>, meter: Meter) -> Self {
        Self { endpoints: Some(endpoints.into_iter().collect()), meter }
    }
}

#[async_trait]
impl Resolver for StaticList {
    async fn changed(&mut self) -> Vec<String> {
        let Some(endpoints) = self.endpoints.take() else { return pending().await };
        self.meter.succeeded.num_resolutions.increment(1);
        self.meter.updated(endpoints.len());
        endpoints.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_list_is_told_once_sorted_and_without_duplicates() {
        let hostnames = ["b", "a:4317", "b"].map(str::to_owned).to_vec();
        let mut resolver = StaticConfig { hostnames }.build();
        assert_eq!(resolver.changed().await, ["a:4317", "b"]);
        let hour = Duration::from_secs(3600);
        assert!(tokio::time::timeout(hour, resolver.changed()).await.is_err());
    }
}
