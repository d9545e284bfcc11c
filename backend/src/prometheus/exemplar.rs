//! Exemplars: values that were counted, and the traces they came from.

use std::fmt::Write as _;

use shared::wire::metric;

use super::attribute_text::{lossy, text};
use super::label_set::LabelSet;
use super::names::escaped_label;

/// What the labels of an exemplar may have in all, in characters. Source: OpenMetrics 1.0.
const MAX_CHARACTERS: usize = 128;
/// Of one series, whatever its buckets.
const MAX_EXEMPLARS: usize = 64;

/// Whether exemplars are kept: they take more room than all else of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exemplars {
    Kept,
    LeftOut,
}

/// A value that was counted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Exemplar {
    pub(crate) value: f64,
    pub(crate) time_ns: u64,
    /// The trace, the span, and the attributes that the series does not have, as far as there is
    /// room.
    pub(crate) labels: LabelSet,
}

impl Exemplar {
    /// `None` without a value.
    pub(crate) fn read(exemplar: &metric::Exemplar<'_>) -> Option<Self> {
        let value = exemplar.value?.as_f64();
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, id) in [("trace_id", exemplar.trace_id), ("span_id", exemplar.span_id)] {
            if id.iter().any(|byte| *byte != 0) {
                pairs.push((name.to_owned(), hex(id)));
            }
        }
        let mut attributes: Vec<_> = exemplar
            .filtered_attributes()
            .map(|(key, value)| (escaped_label(&lossy(key)).into_owned(), text(value)))
            .collect();
        attributes.sort_unstable();
        pairs.extend(attributes);
        let mut room = MAX_CHARACTERS;
        let mut kept: Vec<(&str, &str)> = Vec::new();
        for (name, value) in &pairs {
            let size = name.chars().count() + value.chars().count();
            if size <= room && kept.iter().all(|(other, _)| other != name) {
                room -= size;
                kept.push((name, value));
            }
        }
        let labels = LabelSet::of_pairs(kept.into_iter());
        Some(Self { value, time_ns: exemplar.time_ns, labels })
    }
}

/// Of each bucket, which `bucket` tells for a value, the newest exemplar; newest first.
pub(crate) fn newest<B: PartialEq>(
    mut exemplars: Vec<Exemplar>,
    bucket: impl Fn(f64) -> B,
) -> Box<[Exemplar]> {
    exemplars.sort_by(|one, other| {
        other.time_ns.cmp(&one.time_ns).then(other.value.total_cmp(&one.value))
    });
    let mut seen: Vec<B> = Vec::new();
    exemplars.retain(|exemplar| {
        let bucket = bucket(exemplar.value);
        let is_new = seen.len() < MAX_EXEMPLARS && !seen.contains(&bucket);
        if is_new {
            seen.push(bucket);
        }
        is_new
    });
    exemplars.into()
}

/// The newest above `low` and up to `high`, if there is one.
pub(crate) fn between(exemplars: &[Exemplar], low: f64, high: f64) -> Option<&Exemplar> {
    exemplars.iter().find(|exemplar| exemplar.value > low && exemplar.value <= high)
}

fn hex(id: &[u8]) -> String {
    let mut text = String::with_capacity(2 * id.len());
    for byte in id {
        let _infallible = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
    use opentelemetry_proto::tonic::metrics::v1::{Exemplar as Otlp, exemplar};
    use prost::Message;

    use super::*;

    fn read(attributes: &[(&str, &str)]) -> Vec<(String, String)> {
        let attribute = |(key, value): &(&str, &str)| {
            let value = any_value::Value::StringValue((*value).to_owned());
            let value = Some(AnyValue { value: Some(value) });
            KeyValue { key: (*key).to_owned(), value, ..KeyValue::default() }
        };
        let otlp = Otlp {
            filtered_attributes: attributes.iter().map(attribute).collect(),
            time_unix_nano: 5,
            span_id: (1..=8).collect(),
            trace_id: (1..=16).collect(),
            value: Some(exemplar::Value::AsDouble(12.5)),
        };
        let encoded = otlp.encode_to_vec();
        let exemplar = Exemplar::read(&metric::Exemplar::read(&encoded)).unwrap();
        assert_eq!((exemplar.value.to_bits(), exemplar.time_ns), (12.5_f64.to_bits(), 5));
        exemplar.labels.iter().map(|(name, value)| (lossy(name), lossy(value))).collect()
    }

    #[test]
    fn ids_come_first_and_attributes_take_the_room_that_is_left() {
        let ids = [
            ("trace_id".to_owned(), "0102030405060708090a0b0c0d0e0f10".to_owned()),
            ("span_id".to_owned(), "0102030405060708".to_owned()),
        ];
        // The ids and their names have 63 characters, so 65 are left.
        let long = "x".repeat(60);
        let labels = read(&[("trace_id", "mine"), ("b.c", "ü"), ("long", &long), ("a", &long)]);
        assert_eq!(labels[..2], ids);
        assert_eq!(labels[2..], [("a".to_owned(), long), ("b_c".to_owned(), "ü".to_owned())]);
        assert_eq!(read(&[]), ids);
    }

    #[test]
    fn the_newest_of_each_bucket_stays() {
        let labels = LabelSet::of_pairs(std::iter::empty());
        let at = |value, time_ns| Exemplar { value, time_ns, labels: labels.clone() };
        let kept = newest(vec![at(1.0, 1), at(2.0, 2), at(1.5, 3)], |value| value > 1.6);
        let values: Vec<_> = kept.iter().map(|exemplar| exemplar.value).collect();
        assert_eq!(values, [1.5, 2.0]);
        assert_eq!(between(&kept, 1.5, 2.0), Some(&kept[1]));
        assert_eq!(between(&kept, 2.0, f64::INFINITY), None);
        let all = newest((0..100_u8).map(|value| at(f64::from(value), 0)).collect(), f64::to_bits);
        assert_eq!(all.len(), MAX_EXEMPLARS);
    }
}
