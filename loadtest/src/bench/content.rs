//! Hashes of spans that do not depend on the order in which spans, or groups of them, arrive.
//!
//! Two hashes of each span: of its bytes, together with the bytes of its resource, its scope and
//! their schema URLs; and of its content, which is the same when fields stand in another order and
//! when default values are written or left out. A gateway that decodes and encodes again changes
//! the first and must not change the second. Schema URLs are not part of the content, since the
//! Collector's tail sampling drops them.

use shared::wire::{Fields, Value};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A span where it lies, with hashes of what it belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) struct SpanAt<'a> {
    /// The span's message.
    pub(super) record: &'a [u8],
    /// Hash of the bytes of its resource and scope.
    surroundings: u64,
    /// Hash of the content of its resource and scope; 0 unless it was asked for.
    meaning: u64,
}

/// What is to be hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// Bytes only, which costs little.
    Bytes,
    /// Bytes and content.
    Content,
}

impl<'a> SpanAt<'a> {
    /// Its trace id as it stands there; empty if there is none.
    pub(super) fn trace_id(&self) -> &'a [u8] {
        let id = Fields::new(self.record).find(|field| field.number == 1);
        id.and_then(|field| field.value.bytes()).unwrap_or_default()
    }

    /// Hash of its bytes and of what it belongs to.
    pub(super) fn bytes_hash(&self) -> u64 {
        xxh3_64_with_seed(self.record, self.surroundings)
    }

    /// Hash of its content and of what it belongs to.
    pub(super) fn content_hash(&self) -> u64 {
        mix(self.meaning, content(self.record, &SPAN))
    }
}

/// A short name of a trace: ids are random, so half of their bits tell them apart.
pub(super) fn trace_key(id: &[u8]) -> u64 {
    let half = |half: Option<&[u8]>| {
        half.and_then(|half| half.try_into().ok()).map_or(0, u64::from_be_bytes)
    };
    half(id.get(..8)) ^ half(id.get(8..16)).rotate_left(1)
}

/// Visits every span of an export request.
pub(super) fn for_each_span<'a>(
    request: &'a [u8],
    depth: Depth,
    mut visit: impl FnMut(&SpanAt<'a>),
) {
    for group in messages(request, 1) {
        let (resource, schema) = header(group);
        let of_resource = xxh3_64_with_seed(schema, xxh3_64_with_seed(resource, 0));
        let meaning = meaning(depth, resource, &RESOURCE);
        for scope_group in messages(group, 2) {
            let (scope, schema) = header(scope_group);
            let surroundings = xxh3_64_with_seed(schema, xxh3_64_with_seed(scope, of_resource));
            let meaning = mix(meaning, self::meaning(depth, scope, &SCOPE));
            for record in messages(scope_group, 2) {
                visit(&SpanAt { record, surroundings, meaning });
            }
        }
    }
}

fn meaning(depth: Depth, message: &[u8], shape: &Shape) -> u64 {
    match depth {
        Depth::Bytes => 0,
        Depth::Content => content(message, shape),
    }
}

/// The messages in a field.
fn messages(message: &[u8], number: u32) -> impl Iterator<Item = &[u8]> {
    let fields = Fields::new(message).filter(move |field| field.number == number);
    fields.filter_map(|field| field.value.bytes())
}

/// What a group of scopes, or one of spans, begins with: the resource or scope, and the schema URL.
fn header(group: &[u8]) -> (&[u8], &[u8]) {
    let (mut owner, mut schema) = (&b""[..], &b""[..]);
    for field in Fields::new(group) {
        match (field.number, field.value) {
            (1, Value::Bytes(bytes)) => owner = bytes,
            (3, Value::Bytes(bytes)) => schema = bytes,
            _ => {}
        }
    }
    (owner, schema)
}

/// What a field of a message is. Those that are not named are scalars whose default values may be
/// left out.
#[derive(Debug, Clone, Copy)]
enum Rule {
    /// A scalar that means something even if it is 0 or empty.
    Present,
    /// A message that may be left out when it is empty.
    One(&'static Shape),
    /// A message that means something even if it is empty.
    Each(&'static Shape),
}

/// The rules of a message's fields.
type Shape = [(u32, Rule)];

static SPAN: [(u32, Rule); 4] = [
    (9, Rule::Each(&KEY_VALUE)),
    (11, Rule::Each(&EVENT)),
    (13, Rule::Each(&LINK)),
    (15, Rule::One(&[])),
];
static EVENT: [(u32, Rule); 1] = [(3, Rule::Each(&KEY_VALUE))];
static LINK: [(u32, Rule); 1] = [(4, Rule::Each(&KEY_VALUE))];
static RESOURCE: [(u32, Rule); 2] = [(1, Rule::Each(&KEY_VALUE)), (3, Rule::Present)];
static SCOPE: [(u32, Rule); 1] = [(3, Rule::Each(&KEY_VALUE))];
static KEY_VALUE: [(u32, Rule); 1] = [(2, Rule::One(&VALUE))];
static VALUES: [(u32, Rule); 1] = [(1, Rule::Each(&VALUE))];
static PAIRS: [(u32, Rule); 1] = [(1, Rule::Each(&KEY_VALUE))];
static VALUE: [(u32, Rule); 7] = [
    (1, Rule::Present),
    (2, Rule::Present),
    (3, Rule::Present),
    (4, Rule::Present),
    (5, Rule::Each(&VALUES)),
    (6, Rule::Each(&PAIRS)),
    (7, Rule::Present),
];

/// No message of OTLP traces has a field with a larger number.
const MAX_NUMBER: usize = 16;
/// Hash of a message without fields.
const EMPTY: u64 = 0;

/// Hash of a message's content: independent of the order of its fields, but not of the order of the
/// elements of one.
fn content(message: &[u8], shape: &Shape) -> u64 {
    let mut slots = [EMPTY; MAX_NUMBER + 1];
    for field in Fields::new(message) {
        let rule = shape.iter().find(|(number, _)| *number == field.number).map(|(_, rule)| *rule);
        let hash = match (field.value, rule) {
            (Value::Bytes(inner), Some(Rule::One(shape))) => match content(inner, shape) {
                EMPTY => continue,
                hash => hash,
            },
            (Value::Bytes(inner), Some(Rule::Each(shape))) => content(inner, shape),
            (Value::Varint(0) | Value::Fixed64(0) | Value::Fixed32(0) | Value::Bytes([]), None) => {
                continue;
            }
            (Value::Varint(number) | Value::Fixed64(number), _) => number,
            (Value::Fixed32(number), _) => u64::from(number),
            (Value::Bytes(bytes) | Value::Group(bytes), _) => xxh3_64_with_seed(bytes, 0),
        };
        // What OTLP does not know yet shares a slot, in which order counts.
        let slot = &mut slots[usize::try_from(field.number).unwrap_or(0).min(MAX_NUMBER)];
        *slot = mix(mix(*slot, u64::from(field.number)), hash);
    }
    slots.iter().fold(EMPTY, |sum, slot| sum.wrapping_add(*slot))
}

/// Both in one, in this order.
fn mix(first: u64, second: u64) -> u64 {
    xxh3_64_with_seed(&second.to_le_bytes(), first)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::generate::Generator;
    use crate::plan::{FieldOrder, Plan};
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use prost::Message as _;

    fn sums(request: &[u8]) -> (u64, u64, u64) {
        let (mut spans, mut bytes, mut content) = (0, 0_u64, 0_u64);
        for_each_span(request, Depth::Content, |span| {
            spans += 1;
            bytes = bytes.wrapping_add(span.bytes_hash());
            content = content.wrapping_add(span.content_hash());
        });
        (spans, bytes, content)
    }

    fn request(field_order: FieldOrder) -> Vec<u8> {
        let plan = Plan { field_order, ..Plan::new(5, 40) };
        let mut generator = Generator::new(plan, Arc::default());
        generator.next_request().unwrap().bytes().to_vec()
    }

    /// Decoded and encoded again by something that knows all fields.
    fn again(
        request: &[u8],
        change: impl FnOnce(&mut ExportTraceServiceRequest),
    ) -> (u64, u64, u64) {
        let mut decoded = ExportTraceServiceRequest::decode(request).unwrap();
        change(&mut decoded);
        sums(&decoded.encode_to_vec())
    }

    #[test]
    fn the_order_of_fields_is_no_content() {
        let (sdk, collector) =
            (sums(&request(FieldOrder::Sdk)), sums(&request(FieldOrder::Collector)));
        assert_eq!((sdk.0, sdk.2), (collector.0, collector.2));
        assert_ne!(sdk.1, collector.1);
    }

    #[test]
    fn encoding_again_keeps_content_and_regrouping_keeps_bytes_too() {
        let request = request(FieldOrder::Collector);
        let before = sums(&request);
        assert_eq!(again(&request, |_| {}).2, before.2);
        let canonical = again(&request, |_| {});
        let regrouped = again(&request, |request| {
            let mut groups = request.resource_spans.clone();
            for group in &mut groups {
                let half = group.scope_spans[0].spans.len() / 2;
                group.scope_spans.truncate(1);
                group.scope_spans[0].spans.truncate(half);
            }
            for group in &mut request.resource_spans {
                let half = group.scope_spans[0].spans.len() / 2;
                group.scope_spans[0].spans.drain(..half);
            }
            request.resource_spans.extend(groups);
            request.resource_spans.reverse();
        });
        assert_eq!(regrouped, canonical);
    }

    #[test]
    fn what_a_gateway_might_change_is_noticed() {
        let request = request(FieldOrder::Sdk);
        let before = again(&request, |_| {});
        let changes: [fn(&mut ExportTraceServiceRequest); 7] = [
            |request| request.resource_spans[0].scope_spans[0].spans[0].name.push('x'),
            |request| request.resource_spans[0].scope_spans[0].spans[0].flags ^= 1,
            |request| request.resource_spans[0].scope_spans[0].spans[0].attributes.swap(0, 1),
            |request| drop(request.resource_spans[0].scope_spans[0].spans[0].attributes.pop()),
            |request| {
                let scope = &mut request.resource_spans[0].scope_spans[0].scope;
                scope.as_mut().unwrap().version.push('x');
            },
            |request| {
                let resource = &mut request.resource_spans[0].resource;
                drop(resource.as_mut().unwrap().attributes.pop());
            },
            |request| drop(request.resource_spans[0].scope_spans[0].spans.pop()),
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let after = again(&request, change);
            assert_ne!(after.1, before.1, "change {index}");
            assert_ne!(after.2, before.2, "change {index}");
        }
        let schema = again(&request, |request| request.resource_spans[0].schema_url.clear());
        assert_ne!(schema.1, before.1);
        assert_eq!(schema.2, before.2, "schema URLs are no content");
    }

    #[test]
    fn a_status_that_is_not_set_may_be_written_or_not() {
        let span = |status: Option<&[u8]>| {
            let mut writer = shared::wire::Writer::new();
            writer.bytes(5, b"name");
            writer.varint(10, 0);
            if let Some(status) = status {
                writer.bytes(15, status);
            }
            content(writer.as_slice(), &SPAN)
        };
        assert_eq!(span(None), span(Some(b"")));
        assert_ne!(span(None), span(Some(b"\x18\x02")));
    }
}
