//! Our own keys: a key means the same for all signals.
//!
//! | `routing_key` | bytes that are hashed |
//! |---|---|
//! | `traceID` | the 16 bytes of the trace id |
//! | `service` | the value of the resource's `service.name` |
//! | `resource` | a digest of all attributes of the resource, in whatever order |
//! | `metric` | the metric's name |
//! | `streamID` | resource, scope and metric with all that identifies them, the point's attributes |
//! | `attributes` | the values in the order of the configuration, each with its type |
//!
//! What has no key is spread: no id or zeros for one, no service name, a resource without
//! attributes, a metric without a name, none of the attributes.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use shared::Batch;
use shared::membership::Owners;
use shared::wire::{AnyValue, Attributes, DataKind, Grouping, Metric, ResourceEntry, ScopeEntry};

use super::cut::{self, Found, Router, owner};
use super::encode::{put_missing, put_set, put_text, put_value};
use super::lookup::{Level, Lookup};
use super::{By, Names, Split};

pub(super) fn split(by: By, names: &Names, batch: &Batch, owners: &impl Owners) -> Split {
    match by {
        By::TraceId => cut::by_trace_id(batch, |id| owner(owners, id), |own| owner(owners, own)),
        By::Service => cut::by_entry(batch, owners, |entry, key| match service_name(entry) {
            Some(name) => {
                key.extend_from_slice(&name);
                Found::Key
            }
            None => Found::Nothing,
        }),
        By::Resource => cut::by_entry(batch, owners, |entry, key| {
            match put_set(key, entry.resource().attributes()) {
                0 => Found::Nothing,
                _ => Found::Key,
            }
        }),
        By::Metric => cut::by_metric(batch, owners, Found::Nothing),
        By::StreamId => {
            let mut streams = Streams::new(owners);
            let parts = batch.regroup_points(&mut streams);
            Split { parts, keyless: 0 }
        }
        By::Attributes => cut::by_values(batch, owners, names, put_values),
    }
}

/// The resource's `service.name` as text; nothing if it is missing, empty or not a scalar.
pub(super) fn service_name(entry: ResourceEntry<'_>) -> Option<Cow<'_, [u8]>> {
    let name = match entry.resource().attribute(b"service.name")? {
        AnyValue::String(name) => Cow::Borrowed(name),
        AnyValue::Int(number) => Cow::Owned(number.to_string().into_bytes()),
        AnyValue::Bool(value) => Cow::Owned(value.to_string().into_bytes()),
        _ => return None,
    };
    (!name.is_empty()).then_some(name)
}

fn put_values(lookup: &Lookup<'_, '_>, key: &mut Vec<u8>) -> Found {
    for (_, level, value) in lookup.found() {
        match level {
            Level::Nowhere => put_missing(key),
            Level::Resource | Level::Scope | Level::Record => put_value(key, value),
        }
    }
    if lookup.is_empty() { Found::Nothing } else { Found::Key }
}

/// Groups data points by their time series.
///
/// The key grows level by level, and is cut back when the next entry, scope or metric begins.
struct Streams<'o, O> {
    router: Router<'o, O>,
    resource_end: usize,
    scope_end: usize,
    metric_end: usize,
    point_attributes: u32,
}

impl<'o, O: Owners> Streams<'o, O> {
    fn new(owners: &'o O) -> Self {
        let router = Router::new(owners);
        Self { router, resource_end: 0, scope_end: 0, metric_end: 0, point_attributes: 0 }
    }
}

impl<'a, O: Owners> Grouping<'a> for Streams<'_, O> {
    fn enter_resource(&mut self, entry: ResourceEntry<'a>) {
        let key = &mut self.router.key;
        key.clear();
        put_set(key, entry.resource().attributes());
        self.resource_end = key.len();
    }

    fn enter_scope(&mut self, scope: ScopeEntry<'a>) {
        let key = &mut self.router.key;
        key.truncate(self.resource_end);
        put_text(key, scope.name());
        put_text(key, scope.version());
        put_set(key, scope.attributes());
        self.scope_end = key.len();
    }

    fn enter_metric(&mut self, metric: &Metric<'a>) {
        let key = &mut self.router.key;
        key.truncate(self.scope_end);
        put_text(key, metric.name);
        put_text(key, metric.unit);
        let kind = metric.kind.map_or(0, DataKind::field);
        let details = [u64::from(kind), metric.temporality.number(), metric.monotonic.into()];
        for detail in details {
            put_value(key, AnyValue::Int(detail.cast_signed()));
        }
        self.metric_end = key.len();
        self.point_attributes = metric.kind.map_or(0, DataKind::attributes_field);
    }

    fn group(&mut self, point: &'a [u8]) -> usize {
        let key = &mut self.router.key;
        key.truncate(self.metric_end);
        put_set(key, Attributes::new(point, self.point_attributes));
        self.router.owner()
    }
}
