//! What holds for all policies and all combinations of them, tried on random ones.

use proptest::prelude::*;
use proptest::sample::select;

use super::Decision;
use super::testing::Subject;

/// Policies without sub-policies that always say the same about the same.
const PURE: [&str; 23] = [
    "{type: always_sample}",
    "{type: latency, latency: {threshold_ms: 30}}",
    "{type: latency, latency: {threshold_ms: 30, upper_threshold_ms: 60}}",
    "{type: numeric_attribute, numeric_attribute: {key: a, min_value: 2}}",
    "{type: numeric_attribute, numeric_attribute: {key: a, max_value: 2}}",
    "{type: numeric_attribute, numeric_attribute: {key: b, min_value: 2, invert_match: true}}",
    "{type: boolean_attribute, boolean_attribute: {key: a, value: true}}",
    "{type: boolean_attribute, boolean_attribute: {key: b, invert_match: true}}",
    "{type: string_attribute, string_attribute: {key: a, values: [x]}}",
    "{type: string_attribute, string_attribute: {key: b, values: [x, y], invert_match: true}}",
    "{type: string_attribute, string_attribute: {key: b, values: ['^$'], \
      enabled_regex_matching: true}}",
    "{type: status_code, status_code: {status_codes: [ERROR]}}",
    "{type: status_code, status_code: {status_codes: [OK, UNSET]}}",
    "{type: span_count, span_count: {min_spans: 3}}",
    "{type: span_count, span_count: {max_spans: 3}}",
    "{type: span_count, span_count: {min_spans: 2, max_spans: 4}}",
    "{type: trace_flags}",
    "{type: trace_state, trace_state: {key: k, values: [v]}}",
    "{type: probabilistic, probabilistic: {sampling_percentage: 0}}",
    "{type: probabilistic, probabilistic: {sampling_percentage: 100}}",
    "{type: span_name, span_name: {names: [n]}}",
    "{type: ottl_condition, ottl_condition: {error_mode: silent, \
      span: ['attributes[\"a\"] == 3', 'HasPrefix(attributes[\"b\"], \"x\")']}}",
    "{type: ottl_condition, ottl_condition: {error_mode: silent, \
      span: ['name == \"n\" and resource.attributes[\"a\"] != \"x\"']}}",
];

/// Policies that take from a budget, which covers a few traces, or fail on some.
const IMPURE: [&str; 3] = [
    "{type: rate_limiting, rate_limiting: {spans_per_second: 9}}",
    "{type: bytes_limiting, bytes_limiting: {bytes_per_second: 200}}",
    "{type: ottl_condition, ottl_condition: {error_mode: propagate, \
      span: ['HasPrefix(attributes[\"a\"], \"x\")']}}",
];

fn not(policy: &str) -> String {
    format!("{{type: not, not: {{not_sub_policy: {policy}}}}}")
}

fn all(kind: &str, parts: &[String]) -> String {
    format!("{{type: {kind}, {kind}: {{{kind}_sub_policy: [{}]}}}}", parts.join(", "))
}

/// With a budget that covers everything.
fn composite(parts: &[String]) -> String {
    let names: Vec<String> = (0..parts.len()).map(|place| format!("p{place}")).collect();
    let parts: Vec<String> = names
        .iter()
        .zip(parts)
        .map(|(name, part)| part.replacen('{', &format!("{{name: {name}, "), 1))
        .collect();
    let shares: Vec<String> =
        names.iter().map(|name| format!("{{policy: {name}, percent: 50}}")).collect();
    format!(
        "{{type: composite, composite: {{max_total_spans_per_second: 1000000, \
         composite_sub_policy: [{}], rate_allocation: [{}]}}}}",
        parts.join(", "),
        shares.join(", ")
    )
}

/// A policy that may stand in an `and`.
fn part(simple: impl Strategy<Value = &'static str>) -> impl Strategy<Value = String> {
    (simple, any::<bool>()).prop_map(|(simple, negated)| match negated {
        true => not(simple),
        false => simple.to_owned(),
    })
}

fn parts() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(part(select(&PURE[..])), 1..4)
}

/// Any policy, of any shape.
fn policy() -> impl Strategy<Value = String> {
    let simple = || prop_oneof![9 => select(&PURE[..]), 1 => select(&IMPURE[..])];
    let parts = || proptest::collection::vec(part(simple()), 1..4);
    let shared = prop_oneof![
        simple().prop_map(str::to_owned),
        parts().prop_map(|parts| all("and", &parts)),
    ];
    prop_oneof![
        1 => part(simple()),
        2 => parts().prop_map(|parts| all("and", &parts)),
        2 => parts().prop_map(|parts| all("drop", &parts)),
        2 => proptest::collection::vec(shared, 1..4).prop_map(|parts| composite(&parts)),
    ]
}

/// Spans in the notation of tests.
fn spans() -> impl Strategy<Value = Vec<String>> {
    let attribute = |at: &'static str| {
        (
            select(&["a", "b", "c"][..]),
            select(&["x", "y", "#1", "#3", "?true", "?false", "~2.5"][..]),
        )
            .prop_map(move |(key, value)| format!(" {at}{key}={value}"))
    };
    let other = select(
        &[" error", " ok", " child", " name:n", " flags:0x1", " state:k=v", " state:k=v,k=v"][..],
    );
    let token = prop_oneof![attribute(""), attribute("@"), other.prop_map(str::to_owned)];
    // Now and then a span has no start.
    let start = prop_oneof![1 => Just(0), 9 => 1..80_u64];
    let span = (start, 0..60_u64, proptest::collection::vec(token, 0..4)).prop_map(
        |(start, millis, tokens)| format!("{start}..{}{}", start + millis, tokens.concat()),
    );
    proptest::collection::vec(span, 1..8)
}

fn sampled(policy: &str, trace: &str) -> bool {
    Subject::new(policy).vote(0, trace).unwrap().decision == Decision::Sampled
}

proptest! {
    /// Early release relies on it.
    #[test]
    fn what_is_certain_stays_so(policy in policy(), spans in spans()) {
        Subject::new(&policy).check_foregone(&spans);
    }

    #[test]
    fn what_peek_says_is_what_evaluate_does(policy in policy(), spans in spans()) {
        let (subject, trace) = (Subject::new(&policy), spans.join(";"));
        for millis in [0, 300, 600, 900, 1200] {
            let peeks = [subject.peek(millis, &trace), subject.peek(millis, &trace)];
            let vote = subject.vote(millis, &trace);
            prop_assert_eq!(peeks, [vote, vote]);
        }
    }

    #[test]
    fn and_is_all_drop_is_all_and_composite_is_any(parts in parts(), spans in spans()) {
        let trace = spans.join(";");
        let votes: Vec<bool> = parts.iter().map(|part| sampled(part, &trace)).collect();
        let every = votes.iter().all(|vote| *vote);
        prop_assert_eq!(sampled(&all("and", &parts), &trace), every);
        let drop = Subject::new(&all("drop", &parts)).vote(0, &trace).unwrap();
        prop_assert_eq!(drop.decision == Decision::Dropped, every);
        let ands: Vec<String> =
            parts.iter().map(|part| all("and", std::slice::from_ref(part))).collect();
        let composite = Subject::new(&composite(&ands));
        let first = votes.iter().position(|vote| *vote);
        let expected = first.map(|place| format!("composite/p{place}"));
        prop_assert_eq!(composite.decider(0, &trace), expected.as_deref());
    }

    #[test]
    fn not_is_the_opposite(policy in select(&PURE[..]), spans in spans()) {
        let trace = spans.join(";");
        prop_assert_ne!(sampled(policy, &trace), sampled(&not(policy), &trace));
    }

    #[test]
    fn all_but_latency_and_budgets_know_no_order(
        policy in select(&PURE[3..]),
        spans in spans(),
        turn in any::<prop::sample::Index>(),
    ) {
        let mut turned = spans.clone();
        turned.rotate_left(turn.index(spans.len()));
        turned.reverse();
        prop_assert_eq!(sampled(policy, &spans.join(";")), sampled(policy, &turned.join(";")));
    }
}
