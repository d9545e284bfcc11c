use std::sync::LazyLock;

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{ScopeSpans, Span as ProtoSpan};
use proptest::prelude::*;
use prost::Message;
use regex::Regex;

use super::super::policy::Decision;
use super::*;

const TAGS: Inscription = Inscription { policy: RecordPolicy::Span, threshold: true };

fn reason(by: Option<RuleId>, threshold: u64, source: Source) -> Reason {
    let threshold = Threshold::rejecting(threshold);
    Reason::of(Verdict { decision: Decision::Sampled, by, threshold }, source)
}

fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, any_value::Value::StringValue(value.to_owned()))
}

fn regex(text: &str) -> Regex {
    Regex::new(text).unwrap()
}

static MEMBER: LazyLock<Regex> = LazyLock::new(|| {
    let key = "[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13}";
    regex(&format!(r"^({key})=([ -+\--<>-~]{{0,255}}[!-+\--<>-~])$"))
});
static OTEL: LazyLock<Regex> = LazyLock::new(|| {
    let field = "[a-z][a-z0-9]*:[a-zA-Z0-9._-]*";
    regex(&format!("^{field}(;{field})*$"))
});
static TH: LazyLock<Regex> = LazyLock::new(|| regex("^[0-9a-fA-F]{1,14}$"));
static RV: LazyLock<Regex> = LazyLock::new(|| regex("^[0-9a-fA-F]{14}$"));

/// What the trace state should become, by the grammar as the specifications write it. Nothing when
/// it cannot be read.
fn raised(trace_state: &str, threshold: u64) -> Option<String> {
    let (mut ot, mut others) = (String::new(), String::new());
    for piece in trace_state.split(',').map(|piece| piece.trim_matches([' ', '\t'])) {
        if piece.is_empty() {
            continue;
        }
        let parts = MEMBER.captures(piece)?;
        let [key, value] = [1, 2].map(|group| parts.get(group).unwrap().as_str());
        match key {
            "ot" => value.clone_into(&mut ot),
            _ => others.extend([",", piece]),
        }
        let is_valid = ot.is_empty() || OTEL.is_match(&ot);
        let fields = || ot.split(';').filter_map(|field| field.split_once(':'));
        let fits = fields().all(|(key, value)| match key {
            "th" => TH.is_match(value),
            "rv" => RV.is_match(value),
            _ => true,
        });
        if !is_valid || !fits {
            return None;
        }
    }
    let fields = || ot.split(';').filter_map(|field| field.split_once(':'));
    let number = |digits: &str| u64::from_str_radix(&format!("{digits:0<14}"), 16).unwrap();
    let known = fields().rfind(|(key, _)| *key == "th").map(|(_, digits)| number(digits));
    if known.is_some_and(|known| known >= threshold) {
        return Some(trace_state.to_owned());
    }
    let digits = format!("{threshold:014x}");
    let digits = match digits.trim_end_matches('0') {
        "" => "0",
        digits => digits,
    };
    let random = fields().rfind(|(key, _)| *key == "rv").map(|(_, rv)| format!("rv:{rv};"));
    let rest = fields().filter(|(key, _)| !matches!(*key, "rv" | "th"));
    let rest: Vec<String> = rest.map(|(key, value)| format!(";{key}:{value}")).collect();
    Some(format!("ot={}th:{digits}{}{others}", random.unwrap_or_default(), rest.concat()))
}

fn trace_states() -> impl Strategy<Value = String> {
    let member = prop_oneof![
        Just("a=1".to_owned()),
        Just(" b@c=x y\t".to_owned()),
        Just("ot=th:8".to_owned()),
        Just("ot=p:8;th:c0;rv:0123456789abcd;z:".to_owned()),
        Just("ot=rv:FFFFFFFFFFFFFF;rv:00000000000000;th:0".to_owned()),
        "(th|rv|k[a-z0-9]{0,2}):[0-9a-fA-F]{0,15}".prop_map(|field| format!("ot={field}")),
        "[a-z@=:;0-9 é]{0,12}",
    ];
    proptest::collection::vec(member, 0..5).prop_map(|members| members.join(","))
}

prop_compose! {
    fn spans()(
        trace_state in trace_states(),
        name in "[a-z]{0,200}",
        keys in proptest::collection::vec(prop_oneof![
            Just("code"),
            Just("tailsampling.policy"),
            Just("tailsampling.composite_policy"),
            Just("tailsampling.cached_decision"),
        ], 0..4),
    ) -> ProtoSpan {
        let attributes = keys.into_iter().map(|key| text(key, "before")).collect();
        ProtoSpan { trace_id: vec![1; 16], trace_state, name, attributes, ..ProtoSpan::default() }
    }
}

proptest! {
    #[test]
    fn spans_change_as_if_they_had_been_decoded_and_encoded_again(
        spans in proptest::collection::vec(spans(), 0..4),
        threshold in prop_oneof![Just(0), Just(1_u64 << 55), Just(3 << 54), 0..1_u64 << 56],
        is_late: bool,
    ) {
        let mut names = Names::default();
        let by = names.intern(&["budget", "errors"]);
        let source = if is_late { Source::Memory } else { Source::Policies };
        let reason = reason(Some(by), threshold, source);
        let entry = ScopeSpans { spans, ..ScopeSpans::default() };
        let (before, mut after) = (entry.encode_to_vec(), Vec::new());
        let unreadable = TAGS.text(reason, &names).put_spans(&before, &mut after);

        let mut expected = entry;
        let mut expected_unreadable = 0;
        for span in &mut expected.spans {
            match raised(&span.trace_state, threshold) {
                Some(trace_state) => span.trace_state = trace_state,
                None => expected_unreadable += 1,
            }
            span.attributes.retain(|attribute| !attribute.key.starts_with("tailsampling"));
            span.attributes.push(text("tailsampling.policy", "budget"));
            span.attributes.push(text("tailsampling.composite_policy", "errors"));
            if is_late {
                let yes = any_value::Value::BoolValue(true);
                span.attributes.push(attribute("tailsampling.cached_decision", yes));
            }
        }
        prop_assert_eq!(ScopeSpans::decode(&after[..]).unwrap(), expected.clone());
        prop_assert_eq!(unreadable, expected_unreadable);
        let growth = TAGS.growth(reason, &names) * expected.spans.len();
        prop_assert!(after.len() <= before.len() + growth, "{} + {growth}", before.len());
    }
}

#[test]
fn unknown_fields_stay_and_nothing_to_write_changes_nothing() {
    let mut writer = Writer::new();
    for order in [[1, 900], [900, 1]] {
        writer.message(2, |span| {
            for number in order {
                span.bytes(number, &[7; 16]);
            }
        });
    }
    let (spans, mut after) = (writer.into_vec(), Vec::new());
    let names = Names::default();
    Inscription::NOTHING
        .text(reason(None, 5, Source::Policies), &names)
        .put_spans(&spans, &mut after);
    assert_eq!(after, spans);
    after.clear();
    let nobody = reason(None, 5, Source::Policies);
    TAGS.text(nobody, &names).put_spans(&spans, &mut after);
    let numbers: Vec<Vec<u32>> = Fields::new(&after)
        .map(|span| Fields::new(span.value.bytes().unwrap()).map(|field| field.number).collect())
        .collect();
    assert_eq!(numbers, [[1, 900, 3], [900, 1, 3]]);
}

#[test]
fn a_scope_gets_attributes_and_keeps_the_rest() {
    let scopes = Inscription { policy: RecordPolicy::Scope, threshold: false };
    let mut names = Names::default();
    let by = names.intern(&["errors"]);
    let mut header = Writer::new();
    header.message(1, |scope| {
        scope.bytes(1, b"library");
        scope.string_attribute(3, b"tailsampling.policy", b"of the tier before");
    });
    header.bytes(3, b"schema");
    // A scope that occurs twice is merged.
    header.message(1, |scope| scope.string_attribute(3, b"a", b"b"));
    header.varint(900, 5);
    let mut after = Vec::new();
    let kept = reason(Some(by), 0, Source::Memory);
    scopes.text(kept, &names).put_scope(header.as_slice(), &mut after);
    let numbers: Vec<u32> = Fields::new(&after).map(|field| field.number).collect();
    assert_eq!(numbers, [1, 3, 900]);
    let entry = ScopeSpans::decode(&after[..]).unwrap();
    let scope = entry.scope.unwrap();
    assert_eq!((scope.name.as_str(), entry.schema_url.as_str()), ("library", "schema"));
    let cached = attribute("tailsampling.cached_decision", any_value::Value::BoolValue(true));
    assert_eq!(scope.attributes, [text("a", "b"), text("tailsampling.policy", "errors"), cached]);
    // Without a scope there is one now.
    after.clear();
    scopes.text(kept, &names).put_scope(&[], &mut after);
    assert_eq!(ScopeSpans::decode(&after[..]).unwrap().scope.unwrap().attributes.len(), 2);
}
