use proptest::prelude::*;

use super::super::testing::{Subject, check, check_all, problems, warnings};
use super::super::{Threshold, Vote};
use super::*;
use Decision::{Dropped, NotSampled, Sampled};

/// A policy with these rules.
fn rules(rules: &[&str]) -> String {
    format!("{{name: r, type: rules, rules: {{default: pass, rules: [{}]}}}}", rules.join(", "))
}

/// A rule that keeps all of its traces.
fn keep(name: &str, scope: &str, conditions: &str) -> String {
    format!("{{name: {name}, scope: {scope}, conditions: [{conditions}], sample_rate: 1}}")
}

#[track_caller]
fn check_conditions(scope: &str, conditions: &str, trace: &str, expected: Decision) {
    check(&rules(&[&keep("k", scope, conditions)]), trace, expected);
}

#[test]
fn the_first_rule_that_matches_decides() {
    let policy = rules(&[
        "{name: health, drop: true, conditions: [{field: route, operator: =, value: /health}]}",
        "{name: errors, sample_rate: 1, conditions: [{field: status.code, operator: =, value: ERROR}]}",
        "{name: rest, sampling_percentage: 0}",
    ]);
    check(&policy, "0..1 route=/health error", Dropped);
    check(&policy, "0..1 route=/cart error", Sampled);
    check(&policy, "0..1 route=/cart", NotSampled);
    let subject = Subject::new(&policy);
    assert_eq!(subject.objector(0, "0..1 route=/health error"), Some("r/health"));
    assert_eq!(subject.decider(0, "0..1 error"), Some("r/errors"));
    assert_eq!(subject.objector(0, "0..1"), Some("r/rest"));
}

#[test]
fn the_default_counts_where_no_rule_matches() {
    let policy = |default| {
        format!(
            "{{name: r, type: rules, rules: {{default: {default}, rules: [\
             {{name: a, drop: true, conditions: [{{field: k, operator: exists}}]}}]}}}}"
        )
    };
    for (default, expected) in [("keep", Sampled), ("drop", Dropped), ("pass", NotSampled)] {
        check(&policy(default), "0..1", expected);
        check(&policy(default), "0..1 k=v", Dropped);
        let subject = Subject::new(&policy(default));
        let by = match expected {
            Sampled => subject.decider(0, "0..1"),
            NotSampled | Dropped => subject.objector(0, "0..1"),
        };
        assert_eq!(by, Some("r/default"));
    }
    let unsaid = "{name: r, type: rules, rules: {rules: [{name: a, drop: true, \
                  conditions: [{field: k, operator: exists}]}]}}";
    check(unsaid, "0..1", Sampled);
}

#[test]
fn a_drop_overrules_policies_that_stand_before_it() {
    let drop = rules(&["{name: d, drop: true, conditions: [{field: k, operator: exists}]}"]);
    let all = "{name: all, type: always_sample}";
    for keys in ["", "sample_on_first_match: true\n"] {
        check_all(keys, &[all, &drop], "0..1 k=v", Dropped);
        check_all(keys, &[all, &drop], "0..1", Sampled);
    }
}

#[test]
fn other_policies_may_decide_for_a_rule() {
    let policy = rules(&[
        "{name: shop, conditions: [{field: service.name, operator: =, value: shop}], sampler: \
         {name: slow, type: latency, latency: {threshold_ms: 100}}}",
        "{name: rest, sampler: {type: and, and: {and_sub_policy: [{type: trace_flags}]}}}",
    ]);
    check(&policy, "0..200 @service.name=shop", Sampled);
    check(&policy, "0..50 @service.name=shop flags:0x1", NotSampled);
    check(&policy, "0..1 flags:0x1", Sampled);
    check(&policy, "0..200", NotSampled);
    let subject = Subject::new(&policy);
    assert_eq!(subject.decider(0, "0..200 @service.name=shop"), Some("r/shop/slow"));
    assert_eq!(subject.decider(0, "0..1 flags:0x1"), Some("r/rest/and"));
}

#[test]
fn a_sampler_counts_the_traces_of_its_rule_alone() {
    let policy = rules(&[
        "{name: a, conditions: [{field: k, operator: exists}], sampler: \
         {type: rate_limiting, rate_limiting: {spans_per_second: 1, burst_capacity: 1}}}",
        "{name: b, sampler: {type: rate_limiting, rate_limiting: {spans_per_second: 1, burst_capacity: 1}}}",
    ]);
    let subject = Subject::new(&policy);
    let decision = |trace| subject.vote(0, trace).unwrap().decision;
    assert_eq!(decision("0..1 k=v"), Sampled);
    assert_eq!(decision("0..1"), Sampled);
    assert_eq!((decision("0..1 k=v"), decision("0..1")), (NotSampled, NotSampled));
}

#[test]
fn a_share_follows_the_randomness_and_says_its_threshold() {
    let subject = Subject::new(&rules(&["{name: a, sample_rate: 4}"]));
    // The ids of these tests are all ones, and randomness is above three quarters only if it says so.
    assert_eq!(subject.vote(0, "0..1").unwrap().decision, NotSampled);
    let vote = subject.vote(0, "0..1 state:ot=rv:c0000000000000").unwrap();
    assert_eq!(
        Vote { by: None, ..vote },
        Vote { threshold: Threshold::keeping(0.25), ..Vote::of(Sampled) }
    );
    assert_eq!(subject.vote(0, "0..1 state:ot=rv:bfffffffffffff").unwrap().decision, NotSampled);
}

#[test]
fn the_scope_says_whether_one_span_must_satisfy_all() {
    let conditions = "{field: k, operator: =, value: a}, {field: l, operator: '>', value: 5}";
    check_conditions("trace", conditions, "0..1 k=a; 0..1 l=#6", Sampled);
    check_conditions("span", conditions, "0..1 k=a; 0..1 l=#6", NotSampled);
    check_conditions("span", conditions, "0..1 k=a l=#6", Sampled);
    check_conditions("span", conditions, "0..1 @k=a l=#6; 0..1", Sampled);
    // What the span itself says comes first.
    check_conditions("span", conditions, "0..1 @k=a k=b l=#6", NotSampled);
}

#[test]
fn fields_of_the_root_are_asked_of_the_root() {
    let conditions = "{field: root.k, operator: =, value: a}, {field: l, operator: exists}";
    for scope in ["trace", "span"] {
        check_conditions(scope, conditions, "0..1 k=a; 0..1 child l=b", Sampled);
        check_conditions(scope, conditions, "0..1; 0..1 child k=a l=b", NotSampled);
    }
    let missing = "{field: root.k, operator: not_exists}";
    check_conditions("trace", missing, "0..1 child k=a", Sampled);
    check_conditions("trace", missing, "0..1; 0..1 child k=a", Sampled);
    check_conditions("trace", missing, "0..1 k=a; 0..1 child", NotSampled);
}

#[test]
fn the_first_field_that_is_there_counts() {
    let conditions = "{fields: [http.status, status], operator: '>=', value: 500}";
    check_conditions("trace", conditions, "0..1 status=#503", Sampled);
    check_conditions("trace", conditions, "0..1 http.status=#200 status=#503", NotSampled);
}

#[test]
fn traces_are_asked_as_a_whole() {
    let root = |value| format!("{{operator: has_root_span, value: {value}}}");
    check_conditions("trace", &root("true"), "0..1 child; 0..1", Sampled);
    check_conditions("trace", &root("false"), "0..1 child; 0..1", NotSampled);
    check_conditions("span", &root("false"), "0..1 child", Sampled);
    let count = "{field: trace.span_count, operator: '>', value: 2}";
    check_conditions("trace", count, "0..1; 0..1; 0..1", Sampled);
    check_conditions("trace", count, "0..1; 0..1", NotSampled);
    let duration = "{field: trace.duration_ms, operator: '>=', value: 100}";
    check_conditions("trace", duration, "1..50; 60..101", Sampled);
    check_conditions("trace", duration, "1..50; 60..100", NotSampled);
    check_conditions(
        "trace",
        "{field: duration_ms, operator: '>=', value: 100}",
        "1..50; 60..101",
        NotSampled,
    );
}

#[test]
fn a_condition_may_be_ottl() {
    let conditions = "{ottl: 'attributes[\"k\"] == 5'}, {field: l, operator: exists}";
    check_conditions("trace", conditions, "0..1 k=#5; 0..1 l=a", Sampled);
    check_conditions("span", conditions, "0..1 k=#5; 0..1 l=a", NotSampled);
    check_conditions("span", conditions, "0..1 k=#5 l=a", Sampled);
    check_conditions("trace", conditions, "0..1 k=#6 l=a", NotSampled);
    // It cannot be evaluated on a span without the attribute.
    check_conditions(
        "trace",
        "{ottl: 'Substring(attributes[\"k\"], 0, 1) == \"a\"'}",
        "0..1",
        NotSampled,
    );
    let found = problems(&rules(&[&keep("k", "trace", "{ottl: 'name =='}, {ottl: a, field: b}")]));
    assert!(found.contains("policies::0::rules::rules::0::conditions::0::ottl: "), "{found}");
    assert!(found.contains("1::ottl: stands alone, without field and operator"), "{found}");
}

#[test]
fn without_conditions_a_rule_always_matches() {
    check(&rules(&["{name: all, sample_rate: 1}"]), "0..1", Sampled);
    check(&rules(&["{name: all, scope: span, sample_rate: 1}"]), "0..1", Sampled);
}

#[test]
fn what_is_certain_is_known_early() {
    let policy = rules(&[
        "{name: a, drop: true, conditions: [{field: k, operator: =, value: a}]}",
        "{name: b, sample_rate: 1, conditions: [{field: k, operator: =, value: b}]}",
        "{name: c, sample_rate: 9, conditions: [{field: k, operator: =, value: c}]}",
        "{name: d, drop: true}",
    ]);
    let subject = Subject::new(&policy);
    assert_eq!(subject.foregone("0..1 k=a"), Some(Dropped));
    // An earlier rule may still match.
    assert_eq!(subject.foregone("0..1 k=b"), None);
    assert_eq!(subject.foregone("0..1"), None);
    let first = Subject::new(&rules(&[
        "{name: b, sample_rate: 1, conditions: [{field: k, operator: =, value: b}]}",
    ]));
    assert_eq!(first.foregone("0..1 k=b"), Some(Sampled));
    let rooted = Subject::new(&rules(&[
        "{name: a, sample_rate: 1, conditions: [{operator: has_root_span, value: false}]}",
        "{name: b, drop: true, conditions: [{operator: has_root_span}]}",
    ]));
    assert_eq!(rooted.foregone("0..1"), Some(Dropped));
    assert_eq!(rooted.foregone("0..1 child"), None);
}

proptest! {
    #[test]
    fn what_is_foregone_comes_true(
        spans in prop::collection::vec(
            prop::sample::select(vec![
                "0..1 k=a", "0..1 child k=b", "0..1 child k=c l=#9", "0..1 l=#1", "0..1 child",
                "0..1 child k=c state:ot=rv:ffffffffffffff",
            ]),
            1..6,
        ),
        order in prop::sample::subsequence((0..5).collect::<Vec<_>>(), 1..5),
    ) {
        let all = [
            "{name: a, drop: true, conditions: [{field: k, operator: =, value: a}]}",
            "{name: b, sample_rate: 1, scope: span, conditions: [{field: k, operator: =, value: c}, \
             {field: l, operator: '>', value: 5}]}",
            "{name: c, sample_rate: 9, conditions: [{field: k, operator: =, value: c}]}",
            "{name: d, sampling_percentage: 0, conditions: [{operator: has_root_span, value: false}]}",
            "{name: e, sampler: {type: span_count, span_count: {min_spans: 3}}, \
             conditions: [{field: root.k, operator: not_exists}]}",
        ];
        let chosen: Vec<&str> = order.into_iter().map(|index| all[index]).collect();
        let spans: Vec<String> = spans.into_iter().map(str::to_owned).collect();
        Subject::new(&rules(&chosen)).check_foregone(&spans);
    }
}

#[test]
fn all_mistakes_are_named() {
    let at = "policies::0::rules::rules";
    let check = |rule: &str, expected: &str| {
        let found = problems(&rules(&[rule]));
        assert_eq!(found, expected.replace("AT", &format!("{at}::0")), "{rule}");
    };
    check(
        "{sample_rate: 0.5, sampling_percentage: 101}",
        "AT: name must be set\n\
         AT: must have exactly one of drop, sample_rate, sampling_percentage and sampler\n\
         AT::sample_rate: must be 1 or more\n\
         AT::sampling_percentage: must be between 0 and 100",
    );
    check(
        "{name: a, drop: true, conditions: [{}, {field: k, fields: [l], operator: =}, \
         {fields: [root.a, b], operator: exists}, {field: k, operator: has_root_span}]}",
        "AT::conditions::0::field: must be set\n\
         AT::conditions::0::operator: must be set\n\
         AT::conditions::1::fields: stands beside field; only one of them may be set\n\
         AT::conditions::1::value: must be set\n\
         AT::conditions::2::fields: fields of the root cannot stand beside fields of any span\n\
         AT::conditions::3::field: has_root_span asks of no field",
    );
    check(
        "{name: a, sampler: {type: drop, drop: {drop_sub_policy: [{type: trace_flags}]}}}",
        "AT::sampler::type: \"drop\" may not stand in \"rules\", which takes any policy but \
         \"drop\" and \"rules\"; set drop: true instead",
    );
    check(
        "{name: a, sampler: {type: ema_dynamic}}",
        "AT::sampler::ema_dynamic::fingerprint_attributes: must name at least one field",
    );
    assert_eq!(problems("{name: r, type: rules}"), format!("{at}: must not be empty"));
    assert_eq!(
        problems(&rules(&[
            "{name: a, drop: true, conditions: [{field: k, operator: exists}]}",
            "{name: a, drop: true}"
        ])),
        format!("{at}::1::name: \"a\" is the name of an earlier rule too")
    );
}

#[test]
fn a_rule_that_is_never_asked_is_warned_of() {
    assert_eq!(
        warnings(&rules(&["{name: all, sample_rate: 1}", "{name: late, drop: true}"])),
        "policies::0::rules::rules::1: is never asked: \"all\" before it has no conditions"
    );
}

#[test]
fn marks_are_counted_as_they_are_used() {
    for (scope, marks) in [("trace", 3), ("span", 2)] {
        let conditions = "{field: a, operator: exists}, {field: b, operator: exists}, \
                          {field: root.c, operator: exists}, {operator: has_root_span}";
        let policy = rules(&[&keep("k", scope, conditions)]);
        let config = super::super::testing::named_policies(&[&policy]);
        assert_eq!(config[0].marks(), marks, "{scope}");
    }
}
