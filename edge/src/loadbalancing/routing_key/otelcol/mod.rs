//! The Collector's keys as of v0.156, for a fleet that is moving over.
//!
//! | `routing_key` | traces | logs | metrics |
//! |---|---|---|---|
//! | `traceID` | 16 bytes | 32 hex digits | |
//! | `service` | `service.name=cart\|` | `cart` | `cart` |
//! | `resource` | | `resource/9d126046fdb6c015` | the same |
//! | `metric` | | | the metric's name |
//! | `streamID` | | | `stream/5c1f8a29d03b7e44`, of each data point |
//! | `attributes` | `a=1\|b=\|` | the same, ordered by level | the same |
//!
//! So a key means other things for other signals, and most records without one go to one
//! backend, by a key that stands for having none. Where the Collector makes up a key at random
//! (logs without a trace id) or drops the data (metrics without a service), records are spread.
//! Source: contrib `loadbalancingexporter/{trace,log,metrics}_exporter.go`, `attribute_routing.go`.

mod identity;
#[cfg(test)]
mod tests;

use hashbrown::HashMap;
use shared::membership::Owners;
use shared::wire::text::put_text;
use shared::wire::{AnyValue, Attributes, DataKind, Grouping, Metric, ResourceEntry, ScopeEntry};
use shared::{Batch, Signal};

use super::cut::{self, Found, Router, owner};
use super::lookup::{Level, Lookup};
use super::{By, Names, Split};
use identity::{Digests, Identity};

pub(super) fn split(by: By, names: &Names, batch: &Batch, owners: &impl Owners) -> Split {
    match (by, batch.signal()) {
        (By::TraceId, Signal::Logs) => {
            cut::by_trace_id(batch, |id| owner(owners, &hex(id)), |own| owner(owners, own))
        }
        (By::TraceId, _) => {
            cut::by_trace_id(batch, |id| owner(owners, id), |_| owner(owners, &[0; 16]))
        }
        (By::Service, Signal::Traces) => {
            by_attributes_of_traces(&[(*b"service.name").into()], batch, owners)
        }
        (By::Attributes, Signal::Traces) => by_attributes_of_traces(names, batch, owners),
        (By::Service, signal) => {
            cut::by_entry(batch, owners, |entry, key| service(signal, entry, key))
        }
        (By::Resource, _) => {
            let mut digests = Digests::default();
            cut::by_entry(batch, owners, |entry, key| {
                let digest = digests.digest(entry.resource().attributes());
                Identity::of_resource(digest).put("resource", key);
                if digest == [0; 16] { Found::StandIn } else { Found::Key }
            })
        }
        (By::Metric, _) => cut::by_metric(batch, owners, Found::StandIn),
        (By::StreamId, _) => {
            let parts = batch.regroup_points(&mut Streams::new(owners));
            Split { parts, keyless: 0 }
        }
        (By::Attributes, _) => cut::by_values(batch, owners, names, put_values),
    }
}

/// 32 lower-case digits.
fn hex(id: &[u8; 16]) -> [u8; 32] {
    let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
    let mut text = [0; 32];
    for (byte, digits) in id.iter().zip(text.as_chunks_mut::<2>().0) {
        *digits = [digit(byte >> 4), digit(byte & 0xf)];
    }
    text
}

/// The bare name. One that is no text counts as empty.
fn service(signal: Signal, entry: ResourceEntry<'_>, key: &mut Vec<u8>) -> Found {
    let name = entry.resource().attribute(b"service.name");
    key.extend_from_slice(name.and_then(AnyValue::as_string).unwrap_or_default());
    match name {
        None if signal == Signal::Metrics => Found::Nothing,
        _ if key.is_empty() => Found::StandIn,
        _ => Found::Key,
    }
}

fn by_attributes_of_traces(names: &[Box<[u8]>], batch: &Batch, owners: &impl Owners) -> Split {
    let mut traces = Traces {
        batch,
        lookup: Lookup::new(Signal::Traces, names),
        router: Router::new(owners),
        of_scope: None,
        in_scope: HashMap::new(),
    };
    let parts = batch.regroup_records(&mut traces);
    Split { parts, keyless: traces.router.keyless }
}

/// Appends `name=value|`; a missing value is empty.
fn put_pair(key: &mut Vec<u8>, name: &[u8], value: AnyValue<'_>) {
    key.extend_from_slice(name);
    key.push(b'=');
    put_text(key, value);
    key.push(b'|');
}

/// Groups spans by the values of attributes. Of the spans of a trace in one scope entry, the first
/// decides for all.
struct Traces<'a, 'n, 'o, O> {
    batch: &'a Batch,
    lookup: Lookup<'a, 'n>,
    router: Router<'o, O>,
    /// The owner of all records of the current scope entry, if they have one key.
    of_scope: Option<usize>,
    /// The owner of each trace of the current scope entry, and whether it has a key.
    in_scope: HashMap<&'a [u8], (usize, Found)>,
}

impl<O: Owners> Traces<'_, '_, '_, O> {
    fn put_key(&mut self) -> Found {
        let key = &mut self.router.key;
        key.clear();
        self.lookup.found().for_each(|(name, _, value)| put_pair(key, name, value));
        if self.lookup.is_empty() { Found::StandIn } else { Found::Key }
    }
}

impl<'a, O: Owners> Grouping<'a> for Traces<'a, '_, '_, O> {
    fn enter_resource(&mut self, entry: ResourceEntry<'a>) {
        self.lookup.enter_resource(entry);
    }

    fn enter_scope(&mut self, scope: ScopeEntry<'a>) {
        self.in_scope.clear();
        self.lookup.enter_scope(scope);
        self.of_scope = self.lookup.is_above_records().then(|| {
            self.put_key();
            self.router.owner()
        });
    }

    fn group(&mut self, span: &'a [u8]) -> usize {
        if let Some(owner) = self.of_scope {
            return owner;
        }
        let trace = self.batch.trace_id(span);
        let (owner, found) = match self.in_scope.get(trace) {
            Some(known) => *known,
            None => {
                self.lookup.enter_record(span);
                let found = self.put_key();
                let decided = (self.router.owner(), found);
                self.in_scope.insert(trace, decided);
                decided
            }
        };
        self.router.keyless += usize::from(found != Found::Key);
        owner
    }
}

/// Of log records and data points: attributes of the resource first, then those of the scope, then
/// the rest.
fn put_values(lookup: &Lookup<'_, '_>, key: &mut Vec<u8>) -> Found {
    for part in [Level::Resource, Level::Scope, Level::Record] {
        for (name, level, value) in lookup.found() {
            // What is nowhere stands among those of the record, in its place.
            if level.min(Level::Record) == part {
                put_pair(key, name, value);
            }
        }
    }
    if lookup.is_empty() { Found::StandIn } else { Found::Key }
}

/// Groups data points by their time series.
struct Streams<'a, 'o, O> {
    digests: Digests<'a>,
    router: Router<'o, O>,
    resource: Identity,
    scope: Identity,
    metric: Identity,
    point_attributes: u32,
}

impl<'o, O: Owners> Streams<'_, 'o, O> {
    fn new(owners: &'o O) -> Self {
        let none = Identity::of_resource([0; 16]);
        Self {
            digests: Digests::default(),
            router: Router::new(owners),
            resource: none,
            scope: none,
            metric: none,
            point_attributes: 0,
        }
    }
}

impl<'a, O: Owners> Grouping<'a> for Streams<'a, '_, O> {
    fn enter_resource(&mut self, entry: ResourceEntry<'a>) {
        let digest = self.digests.digest(entry.resource().attributes());
        self.resource = Identity::of_resource(digest);
    }

    fn enter_scope(&mut self, scope: ScopeEntry<'a>) {
        let digest = self.digests.digest(scope.attributes());
        self.scope = self.resource.of_scope(scope, digest);
    }

    fn enter_metric(&mut self, metric: &Metric<'a>) {
        self.metric = self.scope.of_metric(metric);
        self.point_attributes = metric.kind.map_or(0, DataKind::attributes_field);
    }

    fn group(&mut self, point: &'a [u8]) -> usize {
        let digest = self.digests.digest(Attributes::new(point, self.point_attributes));
        self.router.key.clear();
        self.metric.of_stream(digest).put("stream", &mut self.router.key);
        self.router.owner()
    }
}
