use super::super::testing::{Subject, problems, warnings};
use super::*;
use Decision::{NotSampled, Sampled};

/// Errors have half of ten spans a second, slow traces a fifth, and the last policy is not listed.
fn errors_slow_rest(more: &str) -> String {
    format!(
        "{{name: c, type: composite, composite: {{max_total_spans_per_second: 10, \
         composite_sub_policy: [\
         {{name: errors, type: status_code, status_code: {{status_codes: [ERROR]}}}}, \
         {{name: slow, type: latency, latency: {{threshold_ms: 100}}}}, \
         {{name: rest, type: always_sample}}], \
         rate_allocation: [{{policy: errors, percent: 50}}, {{policy: slow, percent: 20}}]{more}}}}}"
    )
}

/// A trace of so many spans, of which the first has these properties.
fn trace(first: &str, spans: usize) -> String {
    format!("{first}{}", "; 1..2".repeat(spans - 1))
}

#[track_caller]
fn check(policy: &Subject, millis: u64, trace: &str, decider: Option<&str>) {
    assert_eq!(policy.decider(millis, trace), decider, "{trace}");
}

#[test]
fn the_first_policy_that_wants_a_trace_has_it_in_its_share() {
    let policy = Subject::new(&errors_slow_rest(""));
    check(&policy, 0, &trace("1..2 error", 4), Some("c/errors"));
    check(&policy, 0, &trace("1..2 error", 2), None);
    // A smaller one still fits, and so does another policy's.
    check(&policy, 0, "1..2 error", Some("c/errors"));
    check(&policy, 0, &trace("1..200", 2), Some("c/slow"));
    // What is over one share does not go to the next policy that would want it.
    check(&policy, 0, "1..200 error", None);
    // Who is not listed has nothing.
    check(&policy, 0, "1..2", None);
}

#[test]
fn who_has_used_up_its_share_is_named() {
    let policy = Subject::new(&errors_slow_rest(""));
    assert_eq!(policy.objector(0, &trace("1..2 error", 6)), Some("c/errors"));
    assert_eq!(policy.objector(0, "1..2"), Some("c/rest"));
}

#[test]
fn shares_begin_anew_with_each_second_and_are_not_carried_over() {
    let policy = Subject::new(&errors_slow_rest(""));
    check(&policy, 500, &trace("1..2 error", 5), Some("c/errors"));
    check(&policy, 999, "1..2 error", None);
    check(&policy, 1000, &trace("1..2 error", 6), None);
    check(&policy, 1000, &trace("1..2 error", 5), Some("c/errors"));
}

#[test]
fn with_overflow_the_rest_has_what_the_others_leave() {
    let policy = Subject::new(&errors_slow_rest(", overflow: true"));
    check(&policy, 0, &trace("1..2 error", 4), Some("c/errors"));
    // Above the share of errors, but it may go as one of the rest.
    check(&policy, 0, &trace("1..2 error", 2), Some("c/rest"));
    check(&policy, 0, &trace("1..2", 4), Some("c/rest"));
    check(&policy, 0, "1..2", None);
    // In the next second the share of errors, who wanted six spans, is held for them.
    check(&policy, 1000, &trace("1..2", 6), None);
    check(&policy, 1000, &trace("1..2", 5), Some("c/rest"));
    check(&policy, 1000, "1..200", None);
    check(&policy, 1000, &trace("1..2 error", 5), Some("c/errors"));
}

#[test]
fn a_percentage_of_0_is_an_equal_share() {
    let policy = Subject::new(
        "{name: c, type: composite, composite: {max_total_spans_per_second: 9, \
         composite_sub_policy: [{name: a, type: always_sample}, {name: b, type: trace_flags}], \
         rate_allocation: [{policy: a}]}}",
    );
    assert!(!policy.keeps(0, 5));
    assert!(policy.keeps(0, 4));
}

#[test]
fn a_tier_divides_the_budget_and_asking_takes_nothing() {
    let policy = Subject::new(
        "{name: c, type: composite, composite: {max_total_spans_per_second: 9, cluster: true, \
         composite_sub_policy: [{name: a, type: always_sample}], \
         rate_allocation: [{policy: a, percent: 100}]}}",
    );
    assert!(policy.keeps(0, 9));
    policy.tier.set(2);
    assert!(!policy.keeps(1000, 5));
    assert!(policy.keeps(1000, 4));
}

#[test]
fn an_and_may_have_a_share() {
    let policy = Subject::new(
        "{name: c, type: composite, composite: {max_total_spans_per_second: 9, \
         composite_sub_policy: [{name: a, type: and, and: {and_sub_policy: [{type: trace_flags}, \
         {type: status_code, status_code: {status_codes: [ERROR]}}]}}], \
         rate_allocation: [{policy: a, percent: 100}]}}",
    );
    check(&policy, 0, "1..2 error; 1..2 flags:0x1", Some("c/a"));
    check(&policy, 0, "1..2 error", None);
}

#[test]
fn only_what_nobody_wants_is_certain() {
    let policy = |percentage| {
        Subject::new(&format!(
            "{{name: c, type: composite, composite: {{max_total_spans_per_second: 9, \
             composite_sub_policy: [{{name: a, type: probabilistic, \
             probabilistic: {{sampling_percentage: {percentage}}}}}], \
             rate_allocation: [{{policy: a, percent: 100}}]}}}}"
        ))
    };
    assert_eq!(policy(0).foregone("0..1"), Some(NotSampled));
    assert_eq!(policy(100).foregone("0..1"), None);
    assert_eq!(policy(100).vote(0, "0..1").map(|vote| vote.decision), Ok(Sampled));
}

#[test]
fn surprising_allocations_are_explained() {
    let at = "policies::0::composite";
    assert_eq!(
        warnings(&errors_slow_rest(", policy_order: [slow, errors, rest]")),
        format!(
            "{at}::policy_order: is not read, as in the Collector: sub-policies are asked in the \
             order in which they stand in composite_sub_policy\n\
             {at}::composite_sub_policy::2: \"rest\" is not in rate_allocation, so its share is 0 \
             and it keeps nothing, as in the Collector; give it a percentage, or set overflow"
        )
    );
    assert_eq!(
        warnings(&errors_slow_rest(", overflow: true, policy_order: [errors, slow, rest]")),
        ""
    );
    let with = |allocation: &str, more: &str| {
        format!(
            "{{name: c, type: composite, composite: {{max_total_spans_per_second: 10, \
             composite_sub_policy: [{{name: one, type: always_sample}}], \
             rate_allocation: [{allocation}]{more}}}}}"
        )
    };
    assert_eq!(
        warnings(&with("{policy: one, percent: 50}, {policy: oen, percent: 0}", "")),
        format!(
            "{at}::rate_allocation::1::policy: \"oen\" is no sub-policy of this composite, did you \
             mean \"one\"?\n\
             {at}::rate_allocation::1::percent: counts as an equal share for each of the 1 \
             sub-policies, as in the Collector"
        )
    );
    let sum = "the shares add up to 12 spans a second, and max_total_spans_per_second is 10";
    assert_eq!(
        warnings(&with("{policy: one, percent: 120}", "")),
        format!(
            "{at}::rate_allocation: {sum}: each sub-policy is only held to its own share, as in \
             the Collector, so the total may be passed"
        )
    );
    assert_eq!(
        problems(&with("{policy: one, percent: 120}", ", overflow: true")),
        format!("{at}::rate_allocation: {sum}")
    );
}

#[test]
fn a_budget_and_policies_must_be_there() {
    let at = "policies::0::composite";
    assert_eq!(
        problems("{name: a, type: composite}"),
        format!(
            "{at}::max_total_spans_per_second: must be above 0, or no trace can be kept\n\
             {at}::composite_sub_policy: must not be empty, or no trace can be kept"
        )
    );
}
