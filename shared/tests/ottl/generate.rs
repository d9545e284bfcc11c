//! Records and conditions that have something to say of each other: few keys, few values.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{Span, Status, span::Event};
use proptest::prelude::*;

use super::model::{Expr, Key, Pattern, Record, Test, Value};

const KEYS: [&str; 4] = ["a", "http.status_code", "list", "map"];
const TEXTS: [&str; 6] = ["", "a", "GET /", "5", "503", "é"];
const OPERATORS: [&str; 6] = ["==", "!=", "<", "<=", ">", ">="];
const PATHS: [&str; 20] = [
    "name",
    "kind",
    "kind.string",
    "trace_id",
    "span_id",
    "trace_id.string",
    "parent_span_id.string",
    "start_time",
    "end_time",
    "start_time_unix_nano",
    "end_time_unix_nano",
    "status.code",
    "status.message",
    "flags",
    "dropped_attributes_count",
    "attributes",
    "resource.attributes",
    "scope.attributes",
    "scope.name",
    "name",
];

fn text() -> impl Strategy<Value = String> {
    prop::sample::select(TEXTS.to_vec()).prop_map(str::to_owned)
}

fn double() -> impl Strategy<Value = f64> {
    prop::sample::select(vec![0.0, 0.5, 1.0, 2.0, -1.5, 503.0])
}

fn int() -> impl Strategy<Value = i64> {
    prop_oneof![8 => prop::sample::select(vec![0, 1, 2, -1, 5, 503]), 1 => any::<i64>()]
}

fn any_value() -> impl Strategy<Value = AnyValue> {
    let leaf = prop_oneof![
        1 => Just(None),
        4 => text().prop_map(|text| Some(Any::StringValue(text))),
        1 => any::<bool>().prop_map(|value| Some(Any::BoolValue(value))),
        4 => int().prop_map(|number| Some(Any::IntValue(number))),
        2 => double().prop_map(|number| Some(Any::DoubleValue(number))),
        1 => prop::collection::vec(any::<u8>(), 0..3).prop_map(|bytes| Some(Any::BytesValue(bytes))),
    ]
    .prop_map(|value| AnyValue { value });
    leaf.prop_recursive(2, 8, 3, |inner| {
        let key = prop::sample::select(KEYS.to_vec());
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3)
                .prop_map(|values| Any::ArrayValue(ArrayValue { values })),
            prop::collection::vec((key, inner), 0..3).prop_map(|entries| {
                let values = entries.into_iter().map(|(key, value)| entry(key, value)).collect();
                Any::KvlistValue(KeyValueList { values })
            }),
        ]
        .prop_map(|value| AnyValue { value: Some(value) })
    })
}

fn entry(key: &str, value: AnyValue) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let one = (prop::sample::select(KEYS.to_vec()), any_value());
    prop::collection::vec(one.prop_map(|(key, value)| entry(key, value)), 0..5)
}

pub(crate) fn record() -> impl Strategy<Value = Record> {
    let ids = (any::<[u8; 16]>(), any::<[u8; 8]>(), prop::option::of(any::<[u8; 8]>()));
    let times = (0_u64..3, 0_u64..3);
    let numbers = (0..7_i32, 0_u32..3, 0_u32..3, prop::option::of((0..3_i32, text())));
    (ids, times, numbers, text(), attributes(), attributes(), attributes(), text()).prop_map(
        |(ids, times, numbers, name, span, resource, scope, scope_name)| {
            let (kind, flags, dropped_attributes_count, status) = numbers;
            Record {
                resource: Resource { attributes: resource, ..Resource::default() },
                scope: InstrumentationScope {
                    name: scope_name,
                    attributes: scope,
                    ..InstrumentationScope::default()
                },
                span: Span {
                    trace_id: ids.0.to_vec(),
                    span_id: ids.1.to_vec(),
                    parent_span_id: ids.2.map(Vec::from).unwrap_or_default(),
                    name,
                    kind,
                    start_time_unix_nano: times.0,
                    end_time_unix_nano: times.1,
                    attributes: span,
                    dropped_attributes_count,
                    events: vec![Event { name: "a".to_owned(), ..Event::default() }],
                    flags,
                    status: status.map(|(code, message)| Status { code, message }),
                    ..Span::default()
                },
            }
        },
    )
}

fn literal() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        1 => Just(Value::Nil),
        1 => any::<bool>().prop_map(Value::Bool),
        // The lowest integer cannot be written.
        4 => int().prop_map(|number| Value::Int(number.max(-i64::MAX))),
        2 => double().prop_map(Value::Double),
        4 => text().prop_map(Value::Text),
        1 => prop::collection::vec(any::<u8>(), 1..3).prop_map(Value::Bytes),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        let map = prop::collection::btree_map("[ab]", inner.clone(), 0..2);
        prop_oneof![
            prop::collection::vec(inner, 0..3).prop_map(Value::List),
            map.prop_map(|entries| Value::Map(entries.into_iter().collect())),
        ]
    })
}

fn key() -> impl Strategy<Value = Key> {
    prop_oneof![
        4 => prop::sample::select(KEYS.to_vec()).prop_map(Key::Text),
        1 => (0_i64..3).prop_map(Key::Index),
    ]
}

/// Something of the record: functions and arithmetic refuse literals of the wrong type at once.
fn part() -> impl Strategy<Value = Expr> {
    let maps = prop::sample::select(vec!["attributes", "resource.attributes", "scope.attributes"]);
    prop_oneof![
        1 => prop::sample::select(PATHS.to_vec()).prop_map(Expr::Path),
        2 => (maps, prop::collection::vec(key(), 1..4)).prop_map(|(map, keys)| Expr::Keys(map, keys)),
    ]
}

fn number() -> impl Strategy<Value = Expr> {
    prop_oneof![
        (0_i64..5).prop_map(|number| Expr::Literal(Value::Int(number))),
        prop::sample::select(vec![0.0, 0.5, 2.0])
            .prop_map(|number| Expr::Literal(Value::Double(number))),
    ]
}

fn expr() -> impl Strategy<Value = Expr> {
    let computed = prop_oneof![3 => part(), 1 => number()].prop_recursive(3, 8, 2, |inner| {
        let operator = prop::sample::select(vec!['+', '-', '*', '/']);
        prop_oneof![
            3 => (inner.clone(), operator, inner.clone()).prop_map(|(left, operator, right)| {
                Expr::Math(Box::new(left), operator, Box::new(right))
            }),
            1 => inner.prop_map(|inner| Expr::Negated(Box::new(inner))),
            1 => part().prop_map(|part| Expr::Len(Box::new(part))),
            1 => part().prop_map(|part| Expr::Int(Box::new(part))),
        ]
    });
    prop_oneof![3 => literal().prop_map(Expr::Literal), 4 => part(), 2 => computed]
}

/// Numbers that are near each other, so that every operator has something to tell.
fn near_number() -> impl Strategy<Value = Expr> {
    let paths = prop::sample::select(vec!["kind", "flags", "status.code", "start_time_unix_nano"]);
    prop_oneof![
        3 => paths.prop_map(Expr::Path),
        1 => Just(Expr::Keys("attributes", vec![Key::Text("a")])),
        1 => (0_i64..3).prop_map(|number| Expr::Literal(Value::Int(number))),
        2 => prop::sample::select(vec![0.0, 0.5, 1.0, 1.5, 2.0])
            .prop_map(|number| Expr::Literal(Value::Double(number))),
    ]
}

/// Strings of which many are equal.
fn near_text() -> impl Strategy<Value = Expr> {
    let paths = prop::sample::select(vec!["name", "status.message", "scope.name"]);
    prop_oneof![
        2 => paths.prop_map(Expr::Path),
        1 => Just(Expr::Keys("resource.attributes", vec![Key::Text("a")])),
        1 => text().prop_map(|text| Expr::Literal(Value::Text(text))),
    ]
}

/// Two values of which a comparison tells more than that they are of different types.
fn pair() -> impl Strategy<Value = (Expr, Expr)> {
    prop_oneof![
        3 => (expr(), expr()),
        3 => (near_number(), near_number()),
        2 => (near_text(), near_text()),
        1 => part().prop_map(|part| (part.clone(), part)),
    ]
}

pub(crate) fn test() -> impl Strategy<Value = Test> {
    let operator = prop::sample::select(OPERATORS.to_vec());
    let pattern = prop::sample::select(vec![
        Pattern::Digits,
        Pattern::Contains("5"),
        Pattern::Contains("T"),
        Pattern::Starts("GET"),
        Pattern::Starts("-"),
    ]);
    // Maps and lists become JSON, which the model leaves alone.
    let flat =
        prop::sample::select(vec!["name", "kind", "flags", "trace_id.string", "status.message"]);
    let leaf = prop_oneof![
        1 => any::<bool>().prop_map(Test::Literal),
        8 => (pair(), operator).prop_map(|((left, right), op)| Test::Compare(left, op, right)),
        2 => (flat, pattern).prop_map(|(path, pattern)| Test::IsMatch(Expr::Path(path), pattern)),
        2 => (part(), text()).prop_map(|(part, prefix)| Test::HasPrefix(part, prefix)),
        1 => part().prop_map(Test::IsString),
        1 => Just(Test::IsRoot),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|inner| Test::Not(Box::new(inner))),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Test::And),
            prop::collection::vec(inner, 2..4).prop_map(Test::Or),
        ]
    })
}
