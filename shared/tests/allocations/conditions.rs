//! The usual conditions allocate nothing.

use shared::ottl::{Condition, Context, SpanScope};
use shared::wire::{ResourceEntry, ScopeEntry, Span, Writer};

use super::allocations_of;

const USUAL: [&str; 25] = [
    "name == \"GET /cart\"",
    "attributes[\"http.method\"] == \"GET\" and attributes[\"http.status_code\"] >= 500",
    "attributes[\"absent\"] == nil or attributes[\"absent\"] != \"\"",
    "attributes[\"map\"][\"name\"] == \"inner\" and attributes[\"list\"][1] == 2",
    "resource.attributes[\"service.name\"] == \"checkout\" and scope.name == \"lib\"",
    "status.code == STATUS_CODE_ERROR and kind == SPAN_KIND_SERVER",
    "kind.string == \"Server\" and status.message != nil",
    "trace_id.string == \"01010101010101010101010101010101\"",
    "parent_span_id.string == \"0000000000000000\" and span_id != SpanID(0x0102030405060708)",
    "trace_state[\"vendor\"] == \"x\"",
    "IsMatch(name, \"^GET .*cart$\")",
    "IsMatch(attributes[\"http.status_code\"], \"^5..$\")",
    "IsMatch(attributes[\"ratio\"], \"^0\") and IsMatch(attributes[\"absent\"], \"x\") == false",
    "HasPrefix(name, \"GET\") and HasSuffix(name, \"cart\")",
    "HasPrefix(trace_id.string, \"0101\")",
    "IsRootSpan() and not IsString(kind)",
    "end_time - start_time > Duration(\"1s\") and end_time > start_time",
    "(end_time_unix_nano - start_time_unix_nano) / 1000000 >= 1500",
    "Milliseconds(end_time - start_time) == 1500",
    "Len(events) == 0 and Len(attributes) > 3 and Len(name) < 100",
    "ContainsValue(attributes[\"list\"], \"a\")",
    "Int(attributes[\"http.status_code\"]) == 503 and Double(attributes[\"ratio\"]) < 1.0",
    "String(attributes[\"http.status_code\"]) == \"503\"",
    "Substring(name, 4, 5) == \"/cart\" and TrimPrefix(name, \"GET \") == \"/cart\"",
    "IsInCIDR(\"10.0.0.1\", [\"10.0.0.0/8\"]) and Coalesce([attributes[\"absent\"], 1]) == 1",
];

fn span() -> Vec<u8> {
    let mut span = Writer::new();
    span.bytes(1, &[1; 16]);
    span.bytes(2, &[2; 8]);
    span.bytes(3, b"ot=th:8,vendor=x");
    span.bytes(5, b"GET /cart");
    span.varint(6, 2);
    span.fixed64(7, 1_700_000_000_000_000_000);
    span.fixed64(8, 1_700_000_001_500_000_000);
    span.string_attribute(9, b"http.method", b"GET");
    span.int_attribute(9, b"http.status_code", 503);
    span.attribute(9, b"ratio", |value| value.double(4, 0.25));
    span.attribute(9, b"list", |value| {
        value.message(5, |list| {
            list.message(1, |item| item.bytes(1, b"a"));
            list.message(1, |item| item.varint(3, 2));
        });
    });
    span.attribute(9, b"map", |value| {
        value.message(6, |map| map.string_attribute(1, b"name", b"inner"));
    });
    span.message(15, |status| {
        status.bytes(2, b"boom");
        status.varint(3, 2);
    });
    span.into_vec()
}

#[test]
fn the_usual_conditions_allocate_nothing() {
    let mut resource = Writer::new();
    resource.message(1, |resource| {
        resource.string_attribute(1, b"service.name", b"checkout");
    });
    let resource = resource.into_vec();
    let mut scope = Writer::new();
    scope.message(1, |scope| scope.bytes(1, b"lib"));
    let scope = scope.into_vec();
    let span = span();
    let scope = SpanScope {
        resource: ResourceEntry { content: &resource },
        scope: ScopeEntry { content: &scope },
        span: Span::read(&span),
    };
    for text in USUAL {
        let condition = Condition::parse(text, Context::Span).unwrap();
        // Patterns make their caches at first use.
        assert_eq!(condition.matches(&scope), Ok(true), "{text}");
        let allocations = allocations_of(|| {
            for _ in 0..100 {
                assert!(condition.matches(&scope).is_ok());
            }
        });
        assert_eq!(allocations, 0, "{text}");
    }
    let missing =
        Condition::parse("HasPrefix(attributes[\"absent\"], \"x\")", Context::Span).unwrap();
    let allocations = allocations_of(|| assert!(missing.matches(&scope).is_err()));
    assert_eq!(allocations, 0, "the usual error");
}
