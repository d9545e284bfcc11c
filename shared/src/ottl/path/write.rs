//! How fields are changed: [`fields`] says where each stands in its part and what it is written as,
//! [`scalar`] writes it.
//!
//! Source: contrib `pkg/ottl/contexts/internal`, the setters.

mod fields;
mod scalar;

use super::Field;
use super::field::{EventField, ResourceField, ScopeField, SpanField, last_bytes};
use super::log::LogField;
use super::metric::{MetricField, PointField};
use crate::ottl::draft::{Change, Part};
use crate::ottl::edit::bytes::{self, Entry};
use crate::ottl::error::EvalError;
use crate::ottl::functions::text;
use crate::ottl::node::{Env, Node};
use crate::ottl::scope::View;
use crate::ottl::value::Value;
use crate::wire::{AnyValue, Writer};
use fields::NO_SUCH_FIELD;
use scalar::Place;

/// Where a map keeps its entries: the message within a part that holds them, and their field.
#[derive(Debug, Clone, Copy)]
pub(in crate::ottl) struct MapPlace {
    outer: Option<u32>,
    number: u32,
}

/// The change that makes a field, or what its keys lead to, `value`; none where the field is not
/// there to be changed.
///
/// Keys that are not there yet are added on the way, as in the Collector.
pub(in crate::ottl) fn store<'a>(
    field: Field,
    keys: &'a [Node],
    value: &Value<'_>,
    env: &Env<'a, '_>,
) -> Result<Option<Change>, EvalError> {
    if keys.is_empty() {
        if field.map_place(env.view)?.is_some() {
            let Value::Map(map) = value else {
                return Err(EvalError::wrong_type("a map", value.type_name()));
            };
            return store_entries(field, keys, &bytes::entries(map.clone()), env).map(Some);
        }
        if !field.is_any_value() {
            let part = env.view.part(field.part())?;
            let content = field.write(part, value, env.view)?;
            return Ok(content.map(|content| Change::Part(field.part(), content)));
        }
    }
    if let (Field::Span(SpanField::TraceState), [key]) = (field, keys) {
        let span = env.view.span()?;
        let (key, value) = (text(key.evaluate(env)?)?, text(value.reborrow())?);
        let header = insert_member(span.trace_state, key.as_bytes(), value.as_bytes());
        return Ok(header.map(|header| {
            let content = bytes::replace(span.raw, &[3], |span| span.bytes(3, &header));
            Change::Part(Part::Record, content)
        }));
    }
    let mut any = Writer::new();
    bytes::write_value(&mut any, value)?;
    store_any(field, keys, any.as_slice(), env).map(Some)
}

/// The change that gives a map, or the one that its keys lead to, these entries.
pub(in crate::ottl) fn store_entries<'a>(
    field: Field,
    keys: &'a [Node],
    entries: &[Entry<'_>],
    env: &Env<'a, '_>,
) -> Result<Change, EvalError> {
    if let (Some(place), []) = (field.map_place(env.view)?, keys) {
        let part = env.view.part(field.part())?;
        let content =
            place.edit(part, |message, number| bytes::replace_entries(message, number, entries))?;
        return Ok(Change::Part(field.part(), content));
    }
    let list = bytes::replace_entries(&[], 1, entries)?;
    let mut any = Writer::new();
    any.bytes(6, &list);
    store_any(field, keys, any.as_slice(), env)
}

/// Stores an `AnyValue` message under keys.
fn store_any<'a>(
    field: Field,
    keys: &'a [Node],
    any: &[u8],
    env: &Env<'a, '_>,
) -> Result<Change, EvalError> {
    let mut values = Vec::with_capacity(keys.len());
    for key in keys {
        values.push(key.evaluate(env)?);
    }
    let part = env.view.part(field.part())?;
    if field.is_any_value() {
        let body = last_bytes(part, 5);
        let is_indexed =
            matches!(AnyValue::read(body), AnyValue::Array(_) | AnyValue::KeyValues(_));
        if !values.is_empty() && !is_indexed {
            let found = Value::from(AnyValue::read(body)).type_name();
            return Err(EvalError::wrong_type("a body that is a map or a list", found));
        }
        let body = bytes::put(body, &values, any)?;
        let content = bytes::replace(part, &[5], |log| log.bytes(5, &body));
        return Ok(Change::Part(field.part(), content));
    }
    let (Some(place), Some((first, rest))) = (field.map_place(env.view)?, values.split_first())
    else {
        return Err(EvalError::fixed("the path cannot be set"));
    };
    let Value::Text(key) = first else {
        return Err(EvalError::wrong_type("a string as key", first.type_name()));
    };
    let content = place.edit(part, |message, number| {
        bytes::put_entry(message, number, key.as_bytes(), |old| bytes::put(old, rest, any))
    })?;
    Ok(Change::Part(field.part(), content))
}

impl MapPlace {
    fn edit(
        self,
        part: &[u8],
        edit: impl FnOnce(&[u8], u32) -> Result<Vec<u8>, EvalError>,
    ) -> Result<Vec<u8>, EvalError> {
        match self.outer {
            None => edit(part, self.number),
            Some(outer) => {
                let inner = edit(&bytes::merged(part, outer), self.number)?;
                Ok(bytes::replace(part, &[outer], |part| part.bytes(outer, &inner)))
            }
        }
    }
}

impl Field {
    /// The part that holds the field.
    pub(in crate::ottl) const fn part(self) -> Part {
        match self {
            Field::Resource(_) => Part::Resource,
            Field::Scope(_) => Part::Scope,
            Field::Span(_) | Field::Metric(_) | Field::Log(_) => Part::Record,
            Field::SpanEvent(_) | Field::Point(_) => Part::Inner,
            Field::Cache => Part::Cache,
        }
    }

    /// Why statements cannot set the field, if they cannot.
    pub(in crate::ottl) const fn unsettable(self) -> Option<&'static str> {
        match self {
            Field::Span(SpanField::Events | SpanField::Links | SpanField::Status)
            | Field::Metric(MetricField::DataPoints)
            | Field::Point(
                PointField::Exemplars
                | PointField::Positive
                | PointField::Negative
                | PointField::QuantileValues,
            ) => Some("cannot be set as a whole"),
            Field::SpanEvent(EventField::EventIndex) => Some("cannot be set"),
            Field::Metric(MetricField::Type) => {
                Some("cannot be set: use convert_sum_to_gauge or convert_gauge_to_sum")
            }
            _ => None,
        }
    }

    /// Where the field keeps its entries, if it is a map.
    pub(in crate::ottl) fn map_place(self, view: &View<'_>) -> Result<Option<MapPlace>, EvalError> {
        let (outer, number) = match self {
            Field::Resource(ResourceField::Attributes) => (Some(1), 1),
            Field::Scope(ScopeField::Attributes) => (Some(1), 3),
            Field::Span(SpanField::Attributes) => (None, 9),
            Field::SpanEvent(EventField::Attributes) => (None, 3),
            Field::Metric(MetricField::Metadata) => (None, 12),
            Field::Log(LogField::Attributes) => (None, 6),
            Field::Point(PointField::Attributes) => match view.metric()?.kind {
                Some(kind) => (None, kind.attributes_field()),
                None => return Ok(None),
            },
            Field::Cache => (None, 1),
            _ => return Ok(None),
        };
        Ok(Some(MapPlace { outer, number }))
    }

    /// The part with the field, which is no map, set to `value`.
    fn write(
        self,
        part: &[u8],
        value: &Value<'_>,
        view: &View<'_>,
    ) -> Result<Option<Vec<u8>>, EvalError> {
        let (place, scalar) = match self {
            Field::Resource(field) => field.scalar(value)?,
            Field::Scope(field) => field.scalar(value)?,
            Field::Span(field) => field.scalar(value)?,
            Field::SpanEvent(field) => field.scalar(value)?,
            Field::Log(field) => field.scalar(value)?,
            Field::Metric(field) => {
                let metric = view.metric()?;
                return Ok(match field.scalar(value, metric.kind)? {
                    None => None,
                    Some((Place::Within(number), scalar)) => {
                        let data = bytes::replace(&metric.merged_data(), &[number], |data| {
                            scalar.write(data, number);
                        });
                        Some(bytes::replace_data(metric.raw, metric.kind, &data))
                    }
                    Some((place, scalar)) => Some(place.write(part, &scalar)),
                });
            }
            Field::Point(field) => {
                let kind = view.metric()?.kind;
                field.scalar(value, kind.ok_or(NO_SUCH_FIELD)?)?
            }
            Field::Cache => return Err(NO_SUCH_FIELD),
        };
        Ok(Some(place.write(part, &scalar)))
    }
}

/// The header with `key=value` in front; nothing where either is not allowed in it.
///
/// Source: go.opentelemetry.io/otel/trace, `TraceState.Insert`.
fn insert_member(header: &[u8], key: &[u8], value: &[u8]) -> Option<Vec<u8>> {
    const MAX_MEMBERS: usize = 32;
    let is_key = matches!(key, [b'a'..=b'z' | b'0'..=b'9', ..])
        && key.len() <= 256
        && key.iter().all(
            |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@'),
        );
    let is_value = !value.is_empty()
        && value.len() <= 256
        && value.iter().all(|byte| matches!(byte, 0x20..=0x7e) && !matches!(byte, b',' | b'='))
        && value.last() != Some(&b' ');
    if !is_key || !is_value || crate::wire::trace_state::get(header, key).is_err() {
        return None;
    }
    let mut members = vec![[key, b"=", value].concat()];
    for member in header.split(|byte| *byte == b',') {
        let member = member.trim_ascii();
        let name = member.split(|byte| *byte == b'=').next().unwrap_or_default();
        if !member.is_empty() && name.trim_ascii() != key && members.len() < MAX_MEMBERS {
            members.push(member.to_vec());
        }
    }
    Some(members.join(&b","[..]))
}
