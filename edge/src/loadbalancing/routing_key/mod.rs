//! What a record is routed by. Pure: a batch and the owners of keys give the parts of the batch.
//!
//! Which ring is in use decides what a key's bytes are. With ours, a key means the same for all
//! signals, so that a trace's spans and logs meet at one backend: see [`own`]. With the
//! Collector's they are its own identifiers, letter for letter: see [`otelcol`].
//!
//! In reading order: this file says which keys there are; [`cut`] cuts a batch by a key of each
//! entry, record or data point; [`lookup`] finds the configured attributes; [`encode`] makes
//! bytes of values; [`explain`] tells people.

mod cut;
mod encode;
mod explain;
mod lookup;
mod otelcol;
mod own;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use shared::membership::{Owners, RingHash};
use shared::{Batch, Signal};

/// What is wrong with a setting: its key and what is to be said of it.
pub(crate) type Wrong = (&'static str, String);

/// What the records of one signal are routed by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoutingKey {
    signal: Signal,
    by: By,
    names: Names,
}

/// Names of attributes, in the order they were configured.
type Names = Arc<[Box<[u8]>]>;

/// The kinds of routing keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// All records of a trace go to one backend.
    TraceId,
    /// All records of a service.
    Service,
    /// All records of a resource.
    Resource,
    /// All data points of the metrics of one name.
    Metric,
    /// All data points of a time series.
    StreamId,
    /// All records with the same values of some attributes.
    Attributes,
}

/// A batch, cut by the owners of its records.
#[derive(Debug)]
pub(crate) struct Split {
    /// Owners, by their number on the ring, with what they own.
    pub(crate) parts: Vec<(usize, Batch)>,
    /// Items (spans, log records, data points) without a key.
    pub(crate) keyless: usize,
}

impl By {
    const ALL: [By; 6] =
        [By::TraceId, By::Service, By::Resource, By::Metric, By::StreamId, By::Attributes];

    const fn name(self) -> &'static str {
        match self {
            By::TraceId => "traceID",
            By::Service => "service",
            By::Resource => "resource",
            By::Metric => "metric",
            By::StreamId => "streamID",
            By::Attributes => "attributes",
        }
    }

    fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|by| by.name() == name)
    }

    /// Source: contrib `loadbalancingexporter/{trace,log,metrics}_exporter.go`.
    const fn default_of(signal: Signal) -> Self {
        match signal {
            Signal::Traces => By::TraceId,
            Signal::Logs | Signal::Metrics => By::Service,
        }
    }

    /// Whether the records of `signal` have such a key. Source: as above.
    const fn is_of(self, signal: Signal) -> bool {
        match self {
            By::Service | By::Attributes => true,
            By::TraceId => matches!(signal, Signal::Traces | Signal::Logs),
            By::Resource => matches!(signal, Signal::Logs | Signal::Metrics),
            By::Metric | By::StreamId => matches!(signal, Signal::Metrics),
        }
    }
}

/// The names of these kinds, for an error.
fn list(kinds: impl IntoIterator<Item = By>) -> String {
    kinds.into_iter().map(By::name).collect::<Vec<_>>().join(", ")
}

impl RoutingKey {
    /// What is wrong with `routing_key` and `routing_attributes` whatever the signal.
    ///
    /// Source: contrib `loadbalancingexporter/config.go`.
    pub(crate) fn check(routing_key: &str, routing_attributes: &[String]) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        if !routing_key.is_empty() && By::of_name(routing_key).is_none() {
            let supported = list(By::ALL);
            let text = format!("unsupported routing_key: {routing_key} (supported: {supported})");
            wrong.push(("routing_key", text));
        }
        match (routing_key == By::Attributes.name(), routing_attributes.is_empty()) {
            (true, true) => wrong.push((
                "routing_attributes",
                "routing_attributes must be specified when routing_key is \"attributes\"".to_owned(),
            )),
            (false, false) => wrong.push((
                "routing_attributes",
                format!(
                    "routing_attributes can only be used when routing_key is \"attributes\"; got \
                     {routing_key:?}. Remove routing_attributes or set routing_key to \"attributes\""
                ),
            )),
            (true, false) | (false, true) => {}
        }
        wrong
    }

    /// Reads `routing_key` and `routing_attributes` for records of `signal`.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub(crate) fn parse(
        signal: Signal,
        routing_key: &str,
        routing_attributes: &[String],
    ) -> Result<Self, Vec<Wrong>> {
        let mut wrong = Self::check(routing_key, routing_attributes);
        let by = match routing_key {
            "" => Some(By::default_of(signal)),
            name => By::of_name(name),
        };
        if let Some(by) = by.filter(|by| !by.is_of(signal)) {
            let supported = list(By::ALL.into_iter().filter(|by| by.is_of(signal)));
            let text =
                format!("unsupported routing_key: {} ({signal} support {supported})", by.name());
            wrong.push(("routing_key", text));
        }
        match by {
            Some(by) if wrong.is_empty() => {
                let names = routing_attributes.iter().map(|name| name.as_bytes().into());
                Ok(Self { signal, by, names: names.collect() })
            }
            _ => Err(wrong),
        }
    }

    /// Its name in the configuration.
    pub(crate) fn name(&self) -> &'static str {
        self.by.name()
    }

    /// The configured attributes, in their order.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = &[u8]> {
        self.names.iter().map(|name| &**name)
    }

    /// Cuts `batch`, which must be of the key's signal, by the owners of its records. A batch with
    /// one owner stays as it is.
    ///
    /// There must be an owner for every key.
    pub(crate) fn split(&self, batch: &Batch, owners: &impl Owners) -> Split {
        debug_assert_eq!(batch.signal(), self.signal, "a routing key is of one signal");
        match owners.hash() {
            RingHash::Xxh3 => own::split(self.by, &self.names, batch, owners),
            RingHash::OtelcolV0_156 => otelcol::split(self.by, &self.names, batch, owners),
        }
    }
}
