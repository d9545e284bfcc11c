//! A metric that counts, as the configuration has it.

use super::config::{AttributeConfig, CountConfig, Counted, DefaultValue, MetricConfig};
use super::counts::Thing;
use crate::ottl::{Condition, ParseError};
use crate::wire::text::put_text;
use crate::wire::{AnyValue, Attributes, Writer};

/// The field of a sum's point that holds an attribute.
const ATTRIBUTE: u32 = 7;

/// See the module's head.
pub(super) struct Definition {
    pub(super) name: String,
    pub(super) description: String,
    /// One of these must hold, if there are any.
    pub(super) conditions: Vec<Condition>,
    attributes: Vec<Attribute>,
}

struct Attribute {
    key: Box<[u8]>,
    /// The `AnyValue` message to be used where there is none.
    default: Option<Box<[u8]>>,
}

impl Definition {
    /// The metrics that count things of a kind, by name.
    ///
    /// # Errors
    /// If a condition cannot be read, which the check of the configuration finds out before.
    pub(super) fn all_of(config: &CountConfig, counted: Counted) -> Result<Vec<Self>, ParseError> {
        let metrics = config.metrics_of(counted).into_iter();
        metrics.map(|(name, metric)| Self::new(name, &metric, counted)).collect()
    }

    fn new(name: String, config: &MetricConfig, counted: Counted) -> Result<Self, ParseError> {
        let conditions =
            config.conditions.iter().map(|text| Condition::parse(text, counted.context()));
        Ok(Self {
            name,
            description: config.description.clone(),
            conditions: conditions.collect::<Result<_, _>>()?,
            attributes: config.attributes.iter().map(Attribute::new).collect(),
        })
    }

    /// Writes the attributes of the point that a thing counts in; false if one is missing, and
    /// the thing does not count.
    pub(super) fn write_key(&self, thing: &Thing<'_>, key: &mut Writer) -> bool {
        key.clear();
        for attribute in &self.attributes {
            match (thing.attribute(&attribute.key), &attribute.default) {
                (Some(value), _) => {
                    key.attribute(ATTRIBUTE, &attribute.key, |message| write_value(message, value));
                }
                (None, Some(default)) => {
                    key.attribute(ATTRIBUTE, &attribute.key, |message| message.raw(default));
                }
                (None, None) => return false,
            }
        }
        true
    }
}

impl Attribute {
    fn new(config: &AttributeConfig) -> Self {
        let mut default = Writer::new();
        match &config.default_value {
            Some(DefaultValue::Text(text)) if !text.is_empty() => {
                default.bytes(1, text.as_bytes());
            }
            Some(DefaultValue::Int(value)) if *value != 0 => {
                default.varint(3, value.cast_unsigned());
            }
            Some(DefaultValue::Double(value)) if *value != 0.0 => default.double(4, *value),
            Some(_) | None => {}
        }
        let default = default.into_vec();
        let default = (!default.is_empty()).then(|| default.into());
        Self { key: config.key.as_bytes().into(), default }
    }
}

impl<'a> Thing<'a> {
    /// The value of an attribute: the thing's own, else its scope's, else its resource's.
    fn attribute(&self, key: &[u8]) -> Option<AnyValue<'a>> {
        let own = |attributes: &Attributes<'a>| attributes.clone().get(key);
        self.attributes
            .as_ref()
            .and_then(own)
            .or_else(|| self.scope.attribute(key))
            .or_else(|| self.resource.attribute(key))
    }
}

/// Writes the fields of a plain `AnyValue`: lists and maps become their text.
fn write_value(message: &mut Writer, value: AnyValue<'_>) {
    match value {
        AnyValue::Int(integer) => message.varint(3, integer.cast_unsigned()),
        AnyValue::Double(double) => message.double(4, double),
        AnyValue::Bool(flag) => message.varint(2, u64::from(flag)),
        AnyValue::Empty
        | AnyValue::String(_)
        | AnyValue::Array(_)
        | AnyValue::KeyValues(_)
        | AnyValue::Bytes(_) => {
            let mut text = Vec::new();
            put_text(&mut text, value);
            // A receiver may refuse a whole request for one text that is no UTF-8.
            message.bytes(1, String::from_utf8_lossy(&text).as_bytes());
        }
    }
}
