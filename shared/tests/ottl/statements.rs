//! Statements and what they do to a decoded span, the long way.

#![allow(clippy::unwrap_used, reason = "what is generated can be parsed and decoded")]

use std::fmt;
use std::ops::ControlFlow;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use proptest::prelude::*;
use prost::Message as _;
use shared::ottl::{Context, Draft, Group, Part};
use shared::wire::{ResourceEntry, ScopeEntry, Signal};

use super::model::Record;

const KEYS: [&str; 4] = ["a", "http.status_code", "list", "new"];

/// A map that statements change.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    Span,
    Resource,
    Scope,
}

#[derive(Debug, Clone)]
pub(crate) enum Action {
    SetName(String),
    SetKind(i32),
    SetStatusCode(i32),
    SetStart(u64),
    SetScopeName(String),
    SetAttribute(Target, &'static str, Any),
    CopyName(Target, &'static str),
    DeleteKey(Target, &'static str),
    KeepKeys(Target, Vec<&'static str>),
    Limit(Target, usize),
    TruncateAll(Target, usize),
    /// Digits of all string values.
    ReplaceDigits(Target),
    Append(Target, &'static str, i64),
}

/// An action, and whether only spans of this name have it done.
#[derive(Debug, Clone)]
pub(crate) struct Statement {
    action: Action,
    name: Option<String>,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Target::Span => "attributes",
            Target::Resource => "resource.attributes",
            Target::Scope => "scope.attributes",
        })
    }
}

fn literal(value: &Any) -> String {
    match value {
        Any::StringValue(text) => format!("{text:?}"),
        Any::BoolValue(flag) => flag.to_string(),
        Any::IntValue(number) => number.to_string(),
        Any::DoubleValue(number) => format!("{number:?}"),
        Any::ArrayValue(array) => {
            let items = array.values.iter().filter_map(|item| item.value.as_ref()).map(literal);
            format!("[{}]", items.collect::<Vec<_>>().join(", "))
        }
        other => unreachable!("{other:?} is not generated"),
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.action {
            Action::SetName(name) => write!(f, "set(name, {name:?})"),
            Action::SetKind(kind) => write!(f, "set(kind, {kind})"),
            Action::SetStatusCode(code) => write!(f, "set(status.code, {code})"),
            Action::SetStart(nanos) => write!(f, "set(start_time_unix_nano, {nanos})"),
            Action::SetScopeName(name) => write!(f, "set(scope.name, {name:?})"),
            Action::SetAttribute(target, key, value) => {
                write!(f, "set({target}[{key:?}], {})", literal(value))
            }
            Action::CopyName(target, key) => write!(f, "set({target}[{key:?}], span.name)"),
            Action::DeleteKey(target, key) => write!(f, "delete_key({target}, {key:?})"),
            Action::KeepKeys(target, keys) => write!(f, "keep_keys({target}, {keys:?})"),
            Action::Limit(target, limit) => write!(f, "limit({target}, {limit}, [])"),
            Action::TruncateAll(target, limit) => write!(f, "truncate_all({target}, {limit})"),
            Action::ReplaceDigits(target) => {
                write!(f, r##"replace_all_patterns({target}, "value", "\\d+", "#")"##)
            }
            Action::Append(target, key, number) => {
                write!(f, "append({target}[{key:?}], {number})")
            }
        }?;
        match &self.name {
            Some(name) => write!(f, " where span.name == {name:?}"),
            None => Ok(()),
        }
    }
}

impl Statement {
    /// Does it to the decoded record. What cannot be done changes nothing.
    fn apply(&self, record: &mut Record) {
        if self.name.as_ref().is_some_and(|name| *name != record.span.name) {
            return;
        }
        let span_name = record.span.name.clone();
        match &self.action {
            Action::SetName(name) => record.span.name.clone_from(name),
            Action::SetKind(kind) => record.span.kind = *kind,
            Action::SetStatusCode(code) => {
                record.span.status.get_or_insert_with(Status::default).code = *code;
            }
            Action::SetStart(nanos) => record.span.start_time_unix_nano = *nanos,
            Action::SetScopeName(name) => record.scope.name.clone_from(name),
            Action::SetAttribute(target, key, value) => put(target.of(record), key, value.clone()),
            Action::CopyName(target, key) => {
                put(target.of(record), key, Any::StringValue(span_name));
            }
            Action::DeleteKey(target, key) => target.of(record).retain(|entry| entry.key != *key),
            Action::KeepKeys(target, keys) => {
                target.of(record).retain(|entry| keys.contains(&entry.key.as_str()));
            }
            Action::Limit(target, limit) => target.of(record).truncate(*limit),
            Action::TruncateAll(target, limit) => on_texts(target.of(record), |text| {
                let end = (0..=*limit).rev().find(|end| text.is_char_boundary(*end));
                text.get(..end.unwrap_or_default()).unwrap_or(text).to_owned()
            }),
            Action::ReplaceDigits(target) => on_texts(target.of(record), |text| {
                let mut new = String::new();
                for c in text.chars() {
                    match c.is_ascii_digit() {
                        true if new.ends_with('#') => {}
                        true => new.push('#'),
                        false => new.push(c),
                    }
                }
                new
            }),
            Action::Append(target, key, number) => append(target.of(record), key, *number),
        }
    }
}

impl Target {
    fn of(self, record: &mut Record) -> &mut Vec<KeyValue> {
        match self {
            Target::Span => &mut record.span.attributes,
            Target::Resource => &mut record.resource.attributes,
            Target::Scope => &mut record.scope.attributes,
        }
    }
}

fn put(attributes: &mut Vec<KeyValue>, key: &str, value: Any) {
    let value = Some(AnyValue { value: Some(value) });
    match attributes.iter_mut().find(|entry| entry.key == key) {
        Some(entry) => entry.value = value,
        None => {
            attributes.push(KeyValue { key: key.to_owned(), value, ..KeyValue::default() });
        }
    }
}

fn on_texts(attributes: &mut [KeyValue], change: impl Fn(&str) -> String) {
    for entry in attributes {
        if let Some(AnyValue { value: Some(Any::StringValue(text)) }) = &mut entry.value {
            *text = change(text);
        }
    }
}

fn append(attributes: &mut Vec<KeyValue>, key: &str, number: i64) {
    let old = attributes.iter().find(|entry| entry.key == key);
    let old = old.and_then(|entry| entry.value.clone()).and_then(|any| any.value);
    let mut values = match old {
        None => Vec::new(),
        Some(Any::ArrayValue(array)) => array.values,
        Some(Any::KvlistValue(_) | Any::BytesValue(_)) => return,
        scalar => vec![AnyValue { value: scalar }],
    };
    values.push(AnyValue { value: Some(Any::IntValue(number)) });
    put(attributes, key, Any::ArrayValue(ArrayValue { values }));
}

/// The record after the statements, by its bytes.
pub(crate) fn run(statements: &[Statement], record: &Record) -> Record {
    let texts: Vec<_> = statements.iter().map(ToString::to_string).collect();
    let group = Group::parse(Signal::Traces, Some(Context::Span), &[], &texts).unwrap();
    let resource =
        ResourceSpans { resource: Some(record.resource.clone()), ..ResourceSpans::default() };
    let scope = ScopeSpans { scope: Some(record.scope.clone()), ..ScopeSpans::default() };
    let mut draft = Draft::new(Context::Span);
    draft.enter_resource(ResourceEntry { content: &resource.encode_to_vec() });
    draft.enter_scope(ScopeEntry { content: &scope.encode_to_vec() });
    draft.set_record(record.span.encode_to_vec());
    group.run(&mut draft, &mut |_, _| ControlFlow::Continue(())).unwrap();
    let resource = draft.changed(Part::Resource).map(|head| ResourceSpans::decode(head).unwrap());
    let scope = draft.changed(Part::Scope).map(|head| ScopeSpans::decode(head).unwrap());
    Record {
        resource: resource.map_or(record.resource.clone(), |entry| entry.resource.unwrap()),
        scope: scope.map_or(record.scope.clone(), |entry| entry.scope.unwrap()),
        span: Span::decode(draft.record()).unwrap(),
    }
}

/// The record after the statements, done to its fields.
pub(crate) fn run_naively(statements: &[Statement], record: &Record) -> Record {
    let mut record = record.clone();
    for statement in statements {
        statement.apply(&mut record);
    }
    record
}

fn target() -> impl Strategy<Value = Target> {
    prop::sample::select(vec![Target::Span, Target::Resource, Target::Scope])
}

fn key() -> impl Strategy<Value = &'static str> {
    prop::sample::select(KEYS.to_vec())
}

fn text() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", "a", "GET /", "5", "503", "é"]).prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = Any> {
    let leaf = prop_oneof![
        text().prop_map(Any::StringValue),
        any::<bool>().prop_map(Any::BoolValue),
        (-9_i64..999).prop_map(Any::IntValue),
        Just(Any::DoubleValue(0.5)),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop::collection::vec(inner, 0..3).prop_map(|items| {
            let values = items.into_iter().map(|value| AnyValue { value: Some(value) }).collect();
            Any::ArrayValue(ArrayValue { values })
        })
    })
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        text().prop_map(Action::SetName),
        (0..6_i32).prop_map(Action::SetKind),
        (0..3_i32).prop_map(Action::SetStatusCode),
        (0..9_u64).prop_map(Action::SetStart),
        text().prop_map(Action::SetScopeName),
        (target(), key(), value()).prop_map(|(t, key, value)| Action::SetAttribute(t, key, value)),
        (target(), key()).prop_map(|(target, key)| Action::CopyName(target, key)),
        (target(), key()).prop_map(|(target, key)| Action::DeleteKey(target, key)),
        (target(), prop::collection::vec(key(), 0..3)).prop_map(|(t, k)| Action::KeepKeys(t, k)),
        (target(), 0..4_usize).prop_map(|(target, limit)| Action::Limit(target, limit)),
        (target(), 0..4_usize).prop_map(|(target, limit)| Action::TruncateAll(target, limit)),
        target().prop_map(Action::ReplaceDigits),
        (target(), key(), 0..9_i64).prop_map(|(t, key, number)| Action::Append(t, key, number)),
    ]
}

pub(crate) fn statements() -> impl Strategy<Value = Vec<Statement>> {
    let one = (action(), prop::option::weighted(0.3, text()));
    prop::collection::vec(one.prop_map(|(action, name)| Statement { action, name }), 1..6)
}
