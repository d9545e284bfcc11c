use super::super::testing::{Subject, check, check_all, problems, warnings};
use super::*;
use Decision::{NotSampled, Sampled};

/// A policy with these conditions, each in single quotes.
fn config(span: &str, spanevent: &str, more: &str) -> String {
    format!(
        "{{name: a, type: ottl_condition, ottl_condition: \
         {{span: [{span}], spanevent: [{spanevent}]{more}}}}}"
    )
}

#[test]
fn one_condition_that_holds_for_one_span_is_enough() {
    let config = config("'attributes[\"k\"] == \"a\"', 'name == \"n\"'", "", "");
    check(&config, "0..1; 0..1 k=a", Sampled);
    check(&config, "0..1 name:n; 0..1", Sampled);
    check(&config, "0..1 k=b name:m", NotSampled);
}

#[test]
fn resources_count_with_each_span() {
    let config =
        config("'resource.attributes[\"r\"] == \"a\" and attributes[\"k\"] == \"b\"'", "", "");
    check(&config, "0..1 @r=a k=b", Sampled);
    check(&config, "0..1 @r=a; 0..1 k=b", NotSampled);
}

#[test]
fn events_have_conditions_of_their_own() {
    let config = config(
        "'name == \"n\"'",
        "'name == \"exception\" and attributes[\"k\"] == \"a\" and span.name == \"m\"'",
        "",
    );
    check(&config, "0..1 name:m event:exception,k=a", Sampled);
    check(&config, "0..1 name:m event:other event:exception,k=a", Sampled);
    check(&config, "0..1 name:m event:exception event:other,k=a", NotSampled);
    check(&config, "0..1 event:exception,k=a", NotSampled);
    check(&config, "0..1 name:exception k=a", NotSampled);
}

#[test]
fn spans_without_an_attribute_are_shown_where_that_matters() {
    let check = |conditions: &str, trace: &str, expected| {
        for mode in ["", ", error_mode: propagate"] {
            check(&config(conditions, "", mode), trace, expected);
        }
    };
    check("'attributes[\"k\"] == nil'", "0..1", Sampled);
    check("'attributes[\"k\"] == \"a\"', 'attributes[\"l\"] == \"b\"'", "0..1 l=b", Sampled);
    check("'attributes[\"k\"] == \"a\" or attributes[\"l\"] == \"b\"'", "0..1 l=b", Sampled);
    check(
        "'attributes[\"k\"] == \"a\" and attributes[\"l\"] == \"b\"'",
        "0..1 k=a; 0..1 l=b",
        NotSampled,
    );
    check("'attributes[\"k\"] == \"a\" and attributes[\"l\"] == \"b\"'", "0..1 k=a l=b", Sampled);
}

#[test]
fn differently_anything_differs() {
    check(&config("'attributes[\"k\"] != \"a\"'", "", ""), "0..1 k=a; 0..1", Sampled);
    check(&config("'attributes[\"k\"] != \"a\"'", "", ""), "0..1 k=a", NotSampled);
}

/// Fails on spans without the attribute, and on those where it is no string.
const FAILS: &str = "'HasPrefix(attributes[\"k\"], \"a\")'";

#[test]
fn what_cannot_be_evaluated_does_not_hold_unless_errors_propagate() {
    for mode in ["", ", error_mode: silent", ", error_mode: ignore", ", error_mode: IGNORE"] {
        let policy = config(FAILS, "", mode);
        check(&policy, "0..1; 0..1 k=abc", Sampled);
        check(&policy, "0..1", NotSampled);
    }
    let both = |first: &str, second: &str| {
        config(&format!("{first}, {second}"), "", ", error_mode: propagate")
    };
    let vote = |policy: &str, trace: &str| Subject::new(policy).vote(0, trace);
    let policy = config(FAILS, "", ", error_mode: propagate");
    assert_eq!(vote(&policy, "0..1"), Err(Failed));
    // The first span to settle it does so for good.
    assert_eq!(vote(&policy, "0..1; 0..1 k=abc"), Err(Failed));
    assert_eq!(vote(&policy, "0..1 k=abc; 0..1"), Ok(Vote::of(Sampled)));
    assert_eq!(vote(&policy, "0..1 k=b; 0..1 k=c"), Ok(Vote::of(NotSampled)));
    // And so does the first condition of a span.
    let named = "'name == \"n\"'";
    assert_eq!(vote(&both(FAILS, named), "0..1 name:n"), Err(Failed));
    assert_eq!(vote(&both(named, FAILS), "0..1 name:n"), Ok(Vote::of(Sampled)));
}

#[test]
fn a_policy_that_fails_is_passed_over() {
    let failing = config(FAILS, "", ", error_mode: propagate");
    let all = "{name: all, type: always_sample}";
    check_all("", &[&failing, all], "0..1", Sampled);
    check_all("", &[&failing], "0..1", NotSampled);
    // In an `and` and in a `not` it leaves nothing to decide.
    let and = format!("{{name: b, type: and, and: {{and_sub_policy: [{failing}]}}}}");
    assert_eq!(Subject::new(&and).vote(0, "0..1"), Err(Failed));
    let not = format!("{{name: b, type: not, not: {{not_sub_policy: {failing}}}}}");
    assert_eq!(Subject::new(&not).vote(0, "0..1"), Err(Failed));
}

#[test]
fn the_mode_that_is_not_set_follows_the_release() {
    let drop = format!(
        "{{name: d, type: drop, drop: {{drop_sub_policy: [{{type: not, not: {{not_sub_policy: {}}}}}]}}}}",
        config(FAILS, "", "")
    );
    let all = "{name: all, type: always_sample}";
    check_all("compat: v0.156\n", &[&drop, all], "0..1", Decision::Dropped);
    check_all("compat: latest\n", &[&drop, all], "0..1", Sampled);
}

#[test]
fn mistakes_are_told_with_their_place() {
    let at = "policies::0::ottl_condition";
    assert_eq!(
        problems("{name: a, type: ottl_condition, ottl_condition: {error_mode: loud}}"),
        format!(
            "{at}::error_mode: expected one of ignore, silent, propagate, got a string \"loud\""
        )
    );
    assert_eq!(
        problems("{name: a, type: ottl_condition, ottl_condition: {error_mode: ignore}}"),
        format!("{at}: span or spanevent must have a condition")
    );
    let found = problems(&config("'name == \"n\"', 'nmae == \"n\"'", "'name =='", ""));
    let lines: Vec<&str> = found.lines().collect();
    assert_eq!(lines.len(), 2, "{found}");
    assert!(lines[0].starts_with(&format!("{at}::span::1: ")), "{found}");
    assert!(lines[0].ends_with(", at `nmae == \"n\"`"), "{found}");
    assert!(lines[1].starts_with(&format!("{at}::spanevent::0: ")), "{found}");
    assert!(lines[1].ends_with(", at the end of `name ==`"), "{found}");
}

#[test]
fn a_mode_that_is_not_set_is_warned_about() {
    assert_eq!(
        warnings(&config("'name == \"n\"'", "", "")),
        "policies::0::ottl_condition::error_mode: is not set: conditions that cannot be evaluated \
         do not hold (compat: v0.156), or keep the policy from deciding (compat: latest)"
    );
}

#[test]
fn conditions_that_hold_for_nearly_anything_are_warned_about() {
    let warnings = |span, event| warnings(&config(span, event, ", error_mode: ignore"));
    let at = "policies::0::ottl_condition";
    let advice = "without attributes, so nearly every trace has one that it keeps; a comparison \
                  with != holds wherever the attribute is missing";
    for condition in [
        "'attributes[\"k\"] != \"a\"'",
        "'status.code != STATUS_CODE_OK'",
        "'IsRootSpan()'",
        "'parent_span_id.string != \"0000000000000000\"'",
    ] {
        assert_eq!(
            warnings(condition, ""),
            format!("{at}::span::0: holds for a span {advice}"),
            "{condition}"
        );
    }
    assert_eq!(
        warnings("", "'name != \"exception\"'"),
        format!("{at}::spanevent::0: holds for a span event {advice}")
    );
    assert_eq!(
        warnings("'1 == 1'", ""),
        format!("{at}::span::0: always holds, so every trace is kept")
    );
    assert_eq!(warnings("'1 == 2'", ""), format!("{at}::span::0: never holds"));
    for condition in [
        "'attributes[\"k\"] != nil'",
        "'attributes[\"k\"] == \"a\"'",
        "'end_time_unix_nano - start_time_unix_nano > 1000000000'",
        "'end_time_unix_nano - start_time_unix_nano < 1000000000'",
        "'IsRootSpan() and attributes[\"k\"] == \"a\"'",
    ] {
        assert_eq!(warnings(condition, ""), "", "{condition}");
    }
}
