//! What is asked for on the command line, as a record that has it.

use std::sync::Arc;

use clap::Args;
use shared::wire::{Writer, json};
use shared::{Batch, Signal};

use crate::loadbalancing::RoutingKey;

/// What a record has.
#[derive(Debug, Args)]
pub(super) struct Asked {
    /// A trace id: 32 hex digits
    #[arg(long, value_name = "HEX", value_parser = trace_id)]
    trace_id: Option<TraceId>,
    /// A service: the resource's `service.name`
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// A metric's name
    #[arg(long, value_name = "NAME")]
    metric: Option<String>,
    /// An attribute whose value is text; where the key is a resource, one of its attributes
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = text_attribute)]
    attributes: Vec<(String, String)>,
    /// An attribute whose value is of another type: 42, 1.5, true or null
    #[arg(long = "attribute-json", value_name = "NAME=JSON", value_parser = json_attribute)]
    attributes_json: Vec<(String, Scalar)>,
    /// A whole record: a file with an OTLP/JSON request of one span, log record or data point. It
    /// has every key, also streamID
    #[arg(long, value_name = "FILE", value_parser = whole_record,
        conflicts_with_all = ["trace_id", "service", "metric", "attributes", "attributes_json"])]
    record: Option<WholeRecord>,
}

/// An OTLP/JSON request.
#[derive(Debug, Clone)]
struct WholeRecord(Arc<[u8]>);

fn whole_record(path: &str) -> Result<WholeRecord, String> {
    let json = std::fs::read(path).map_err(|error| format!("cannot read it: {error}"))?;
    serde_json::from_slice::<serde_json::Value>(&json).map_err(|error| error.to_string())?;
    Ok(WholeRecord(json.into()))
}

impl WholeRecord {
    /// As a batch of one item.
    fn batch(&self, signal: Signal) -> Result<Batch, String> {
        let bytes = json::decode(signal, &self.0).map_err(|error| format!("--record: {error}"))?;
        let batch =
            Batch::parse(signal, bytes.into()).map_err(|error| format!("--record: {error}"))?;
        match batch.items() {
            1 => Ok(batch),
            0 => Err("the record is of another signal".to_owned()),
            items => Err(format!("give a record by itself: there are {items}")),
        }
    }
}

type TraceId = [u8; 16];

/// A value that is not text.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Scalar {
    Empty,
    Bool(bool),
    Int(i64),
    Double(f64),
}

fn trace_id(text: &str) -> Result<TraceId, String> {
    let wrong = || "expected 32 hex digits, not all of them 0".to_owned();
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() == 32).ok_or_else(wrong)?;
    let mut id = [0; 16];
    for (byte, digits) in id.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::try_from(digits[0] << 4 | digits[1]).map_err(|_| wrong())?;
    }
    if id == [0; 16] { Err(wrong()) } else { Ok(id) }
}

fn text_attribute(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn json_attribute(text: &str) -> Result<(String, Scalar), String> {
    use serde_json::Value;
    let (name, value) = text.split_once('=').ok_or("expected NAME=JSON")?;
    let value: Value = serde_json::from_str(value).map_err(|error| error.to_string())?;
    let scalar = match &value {
        Value::Null => Some(Scalar::Empty),
        Value::Bool(flag) => Some(Scalar::Bool(*flag)),
        Value::Number(number) => match number.as_i64() {
            Some(number) => Some(Scalar::Int(number)),
            None => number.as_f64().map(Scalar::Double),
        },
        Value::String(_) | Value::Array(_) | Value::Object(_) => None,
    };
    let scalar = scalar.ok_or("expected a number, true, false or null")?;
    Ok((name.to_owned(), scalar))
}

impl Asked {
    /// A batch of one record that has what is asked for.
    ///
    /// # Errors
    /// What `key` needs and was not given.
    pub(super) fn record(&self, signal: Signal, key: &RoutingKey) -> Result<Batch, String> {
        if let Some(record) = &self.record {
            return record.batch(signal);
        }
        let no_attribute = self.attributes.is_empty() && self.attributes_json.is_empty();
        let wanted = match key.name() {
            "traceID" if self.trace_id.is_none() => "give --trace-id".to_owned(),
            "service" if !self.has(b"service.name") => "give --service".to_owned(),
            "metric" if self.metric.is_none() => "give --metric".to_owned(),
            "resource" if self.service.is_none() && no_attribute => {
                "give the resource's attributes by --attribute".to_owned()
            }
            "attributes" if !key.attributes().any(|name| self.has(name)) => {
                format!("give --attribute, of {}", self.missing(key).join(", "))
            }
            "streamID" => {
                "a time series is more than a few attributes: give one of its data points by --record"
                    .to_owned()
            },
            _ => return Ok(self.batch(signal)),
        };
        Err(wanted)
    }

    /// The configured attributes that were not given.
    pub(super) fn missing(&self, key: &RoutingKey) -> Vec<String> {
        // What a whole record lacks is not looked for.
        let missing = key.attributes().filter(|name| self.record.is_none() && !self.has(name));
        missing.map(|name| String::from_utf8_lossy(name).into_owned()).collect()
    }

    /// Whether an attribute of this name was given.
    fn has(&self, name: &[u8]) -> bool {
        name == b"service.name" && self.service.is_some()
            || self.attributes.iter().any(|(other, _)| other.as_bytes() == name)
            || self.attributes_json.iter().any(|(other, _)| other.as_bytes() == name)
    }

    fn batch(&self, signal: Signal) -> Batch {
        let mut writer = Writer::new();
        writer.message(1, |entry| {
            entry.message(1, |resource| self.put_attributes(resource));
            entry.message(2, |scope| scope.message(2, |record| self.put_record(signal, record)));
        });
        let bytes = writer.into_vec().into();
        Batch::parse(signal, bytes).expect("a request was written")
    }

    /// An attribute has the same key wherever it stands, so all are the resource's.
    fn put_attributes(&self, resource: &mut Writer) {
        if let Some(service) = &self.service {
            resource.string_attribute(1, b"service.name", service.as_bytes());
        }
        for (name, value) in &self.attributes {
            resource.string_attribute(1, name.as_bytes(), value.as_bytes());
        }
        for (name, value) in &self.attributes_json {
            resource.attribute(1, name.as_bytes(), |writer| match value {
                Scalar::Empty => {}
                Scalar::Bool(flag) => writer.varint(2, u64::from(*flag)),
                Scalar::Int(number) => writer.varint(3, number.cast_unsigned()),
                Scalar::Double(number) => writer.double(4, *number),
            });
        }
    }

    fn put_record(&self, signal: Signal, record: &mut Writer) {
        let trace_id = self.trace_id.as_ref().map_or(&[][..], |id| id);
        match signal {
            Signal::Traces => record.bytes(1, trace_id),
            Signal::Logs => record.bytes(9, trace_id),
            Signal::Metrics => {
                record.bytes(1, self.metric.as_deref().unwrap_or_default().as_bytes());
                record.message(5, |gauge| gauge.bytes(1, b""));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_with_their_types() {
        let json = |text| json_attribute(text).map(|(name, value)| (name == "a", value));
        assert_eq!(json("a=7"), Ok((true, Scalar::Int(7))));
        assert_eq!(json("a=1.5"), Ok((true, Scalar::Double(1.5))));
        assert_eq!(json("a=true"), Ok((true, Scalar::Bool(true))));
        assert_eq!(json("a=null"), Ok((true, Scalar::Empty)));
        assert_eq!(json("a=[1]"), Err("expected a number, true, false or null".to_owned()));
        assert!(json("a").is_err());
        assert_eq!(text_attribute("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
    }

    #[test]
    fn a_trace_id_is_32_hex_digits() {
        assert_eq!(trace_id(&"aB".repeat(16)), Ok([0xab; 16]));
        for text in ["", "ab", &"0".repeat(32), &"xy".repeat(16), &"é".repeat(32)] {
            assert!(trace_id(text).is_err(), "{text}");
        }
    }
}
