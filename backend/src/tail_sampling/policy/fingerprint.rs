//! Fingerprints: what makes traces alike for an adaptive sampler.
//!
//! Of each field the different values are noted as spans arrive, and they make up the fingerprint
//! in whatever order they came.

use shared::config::{Path, Problems};
use shared::wire::{AnyValue, Resource};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::field::{Field, FieldName};
use super::{Builder, Case, Notes, Sight};

/// See the module's head.
#[derive(Debug)]
pub(super) struct Fingerprint {
    /// Each with its number in the notes.
    fields: Vec<(u16, Field)>,
    /// Whether the number of spans belongs to it.
    with_length: bool,
}

impl Fingerprint {
    /// Reports the names that stand for no field, and that there are none.
    pub(super) fn validate(names: &[String], at: &Path<'_>, problems: &mut Problems) {
        let at = at.key("fingerprint_attributes");
        if names.is_empty() {
            problems.report(&at, "must name at least one field");
        }
        for (index, name) in names.iter().enumerate() {
            if let Err(error) = FieldName::parse(name) {
                problems.report(&at.index(index), error);
            }
        }
    }

    /// The fingerprint of these fields, whose names were validated.
    pub(super) fn new(names: &[String], with_length: bool, builder: &mut Builder<'_>) -> Self {
        let names = names.iter().filter_map(|name| FieldName::parse(name).ok());
        let fields = names.map(|name| (builder.note_field(), name.build(builder))).collect();
        Self { fields, with_length }
    }

    /// Notes what a span says.
    pub(super) fn note(&self, sight: &Sight<'_>, notes: &mut Notes) {
        for (number, field) in &self.fields {
            // The resource of a span is noted once, unless it only counts for roots.
            let value = if field.of_root { field.get(sight) } else { field.of_span(sight) };
            if let Some(value) = value {
                notes.add(*number, hash(value));
            }
        }
    }

    /// Notes what a resource says.
    pub(super) fn note_resource(&self, resource: Resource<'_>, notes: &mut Notes) {
        for (number, field) in self.fields.iter().filter(|(_, field)| !field.of_root) {
            if let Some(value) = field.of_resource(resource) {
                notes.add(*number, hash(value));
            }
        }
    }

    /// The fingerprint of a trace, as a hash.
    pub(super) fn key(&self, case: &Case<'_>) -> u64 {
        let length = if self.with_length { case.summary.spans.into() } else { 0 };
        self.fields.iter().fold(length, |key, (number, _)| {
            // A sum is the same in any order; no value at all differs from any.
            let values = case.notes.values(*number);
            let (sum, count) = values
                .fold((0_u64, 0_u64), |(sum, count), value| (sum.wrapping_add(value), count + 1));
            xxh3_64_with_seed(&(u128::from(sum) << 64 | u128::from(count)).to_le_bytes(), key)
        })
    }
}

/// Values of different types are different.
fn hash(value: AnyValue<'_>) -> u64 {
    match value {
        AnyValue::Empty => xxh3_64(b""),
        AnyValue::String(text) => xxh3_64_with_seed(text, 1),
        AnyValue::Bool(value) => xxh3_64_with_seed(&[value.into()], 2),
        AnyValue::Int(value) => xxh3_64_with_seed(&value.to_le_bytes(), 3),
        AnyValue::Double(value) => xxh3_64_with_seed(&value.to_bits().to_le_bytes(), 4),
        AnyValue::Array(message) => xxh3_64_with_seed(message, 5),
        AnyValue::KeyValues(message) => xxh3_64_with_seed(message, 6),
        AnyValue::Bytes(bytes) => xxh3_64_with_seed(bytes, 7),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::each_span;
    use super::super::{Names, Seen, Terms};
    use super::*;
    use crate::tail_sampling::trace::Summary;

    /// The fingerprint of a trace.
    fn key(names: &[&str], with_length: bool, spans: &str) -> u64 {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut known = Names::default();
        let mut builder = Builder::new(&mut known, Terms::default());
        let fingerprint = Fingerprint::new(&names, with_length, &mut builder);
        let watch = builder.finish();
        let (mut notes, mut summary) = (Notes::default(), Summary::default());
        each_span(spans, |span, under| {
            summary.add(span, span.raw.len());
            fingerprint.note_resource(under.1, &mut notes);
            let read = watch.keys.read(span.raw);
            fingerprint.note(&Sight::new(&read, under, &summary, &watch.keys), &mut notes);
        });
        let (seen, now) = (Seen::default(), shared::clock::now());
        fingerprint.key(&Case { seen, summary: &summary, notes: &notes, now })
    }

    #[track_caller]
    fn check_alike(names: &[&str], a: &str, b: &str) {
        assert_eq!(key(names, false, a), key(names, false, b), "{a} and {b}");
    }

    #[track_caller]
    fn check_different(names: &[&str], a: &str, b: &str) {
        assert_ne!(key(names, false, a), key(names, false, b), "{a} and {b}");
    }

    #[test]
    fn neither_order_nor_number_of_equal_values_matters() {
        check_alike(&["k"], "1..2 k=a; 1..2 k=b", "1..2 k=b; 1..2 k=a; 1..2 k=b; 1..2");
        check_different(&["k"], "1..2 k=a; 1..2 k=b", "1..2 k=a");
    }

    #[test]
    fn values_belong_to_their_fields() {
        check_different(&["k", "l"], "1..2 k=a l=b", "1..2 k=b l=a");
        check_different(&["k", "l"], "1..2 k=a", "1..2 l=a");
        check_alike(&["k", "l"], "1..2 k=a l=b", "1..2 k=a; 1..2 l=b m=c");
    }

    #[test]
    fn resources_and_types_are_told_apart() {
        check_different(&["k"], "1..2 @k=a", "1..2 @k=b");
        check_different(&["k"], "1..2 k=5", "1..2 k=#5");
        check_different(&["k"], "1..2 k=", "1..2");
        check_alike(&["span.attributes[\"k\"]"], "1..2 @k=a", "1..2 @k=b");
        check_alike(&["resource.attributes[\"k\"]"], "1..2 k=a", "1..2 k=b");
    }

    #[test]
    fn a_field_of_the_root_is_asked_of_the_root_alone() {
        let fields = ["root.name", "root.service.name"];
        let root = "1..2 name:get @service.name=shop";
        check_alike(&fields, root, &format!("1..2 child name:put @service.name=cart; {root}"));
        check_different(&fields, root, "1..2 child name:get @service.name=shop");
        check_different(&fields, root, "1..2 name:get @service.name=cart");
    }

    #[test]
    fn fields_of_the_span_itself_count() {
        check_different(&["kind"], "1..2 kind:2", "1..2 kind:3");
        check_alike(&["kind"], "1..2", "1..2 kind:99");
        check_different(&["status.code"], "1..2 error", "1..2");
    }

    #[test]
    fn the_number_of_spans_counts_if_asked_for() {
        assert_ne!(key(&["k"], true, "1..2 k=a"), key(&["k"], true, "1..2 k=a; 1..2 k=a"));
    }
}
