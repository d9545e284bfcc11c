//! The example of rules that the Collector's documentation gives for `tail_sampling`, and what it
//! says of their outcomes. Source: contrib processor/tailsamplingprocessor/README.md, "A Practical
//! Example".

use shared::config::{Decode, Node, Path, Problems, yaml};
use shared::service::ProcessorConfig;

use super::super::config::TailSamplingConfig;
use super::testing::judged;
use super::{Decision, Names, Terms};
use crate::tail_sampling::evaluate::Policies;

const RULES: &str = include_str!("../../../testdata/tail_sampling/practical-example.yaml");

/// The section of the processor.
fn section(text: &str) -> Node {
    let config = yaml::parse(text, 0).unwrap();
    config.get("processors").and_then(|of| of.get("tail_sampling")).unwrap().clone()
}

/// Asserts which policy decides about a trace, and what; or that none does.
#[track_caller]
fn check<'a>(id: u128, trace: &str, expected: impl Into<Option<(Decision, &'a str)>>) {
    let expected = expected.into();
    let mut problems = Problems::default();
    let config = TailSamplingConfig::decode(&section(RULES), &Path::ROOT, &mut problems).unwrap();
    config.validate(&Path::ROOT, &mut problems);
    assert!(problems.errors().is_empty() && problems.warnings().is_empty(), "{problems:?}");
    let mut names = Names::default();
    let policies = Policies::build(&config, &Terms::default(), &mut names);
    let verdict = judged(&policies, id.to_be_bytes(), trace);
    let by = verdict.by.map(|id| (verdict.decision, &**names.get(id)));
    assert_eq!(by, expected, "{trace}");
    assert_eq!(expected.is_none(), verdict.decision == Decision::NotSampled);
}

fn kept_by(policy: &str) -> (Decision, &str) {
    (Decision::Sampled, policy)
}

/// Hashes to 0.074 % of the range, so that it is kept at 0.1 and at 1 percent.
const LUCKY: u128 = 0x98bd_6520_7ee8_3bfd_17eb_b0db_971e_ddf9;
/// Hashes to 0.51 %: kept at 1 percent only.
const FAIR: u128 = 0x0777_d5c1_7d40_66b8_2ab8_6dff_8a46_af6f;
/// Hashes to 88.1 %: kept at neither.
const UNLUCKY: u128 = 1;

const OF_SERVICE_1: &str = "@service.name=service-1";

#[test]
fn rule_1_teams_that_are_not_ready_keep_all() {
    check(UNLUCKY, "0..1 @service.name=billing", kept_by("backwards-compatibility-policy"));
    check(UNLUCKY, "0..1", kept_by("backwards-compatibility-policy"));
    check(UNLUCKY, "0..1 @service.name=service-2", None);
}

#[test]
fn rule_2_probes_are_kept_to_a_tenth_of_a_percent() {
    for route in ["/live", "/ready", "/internal/ready"] {
        let probe = format!("0..1 @service.name=service-2 http.route={route}");
        check(LUCKY, &probe, kept_by("team_a-probe"));
        check(FAIR, &probe, None);
        check(UNLUCKY, &probe, None);
    }
}

#[test]
fn rule_3_a_noisy_endpoint_is_kept_to_a_percent() {
    let noisy = format!("0..1 {OF_SERVICE_1} http.route=/v1/name/17");
    check(LUCKY, &noisy, kept_by("team_a-noisy-endpoint-1"));
    check(FAIR, &noisy, kept_by("team_a-noisy-endpoint-1"));
    check(UNLUCKY, &noisy, None);
}

#[test]
fn rule_4_other_traces_of_that_service_are_all_kept() {
    check(
        UNLUCKY,
        &format!("0..1 {OF_SERVICE_1} http.route=/v1/cart"),
        kept_by("team_a-service-1"),
    );
    check(UNLUCKY, &format!("0..1 {OF_SERVICE_1}"), kept_by("team_a-service-1"));
}

#[test]
fn rule_5_an_error_in_any_span_keeps_the_trace() {
    check(
        UNLUCKY,
        "0..1 @service.name=service-3; 0..1 @service.name=service-3 error",
        kept_by("team_a-status-policy"),
    );
    check(
        UNLUCKY,
        &format!("0..1 {OF_SERVICE_1} http.route=/v1/name/17 error"),
        kept_by("team_a-status-policy"),
    );
}

#[test]
fn rule_6_a_trace_may_ask_to_be_kept() {
    let trace = |value| format!("0..1 @service.name=service-2 app.force_sample=?{value}");
    check(UNLUCKY, &trace(true), kept_by("team_a-force-sample"));
    check(UNLUCKY, &trace(false), None);
}

#[test]
fn rule_7_a_trace_may_ask_not_to_be_kept_whatever_the_other_rules_say() {
    for trace in [
        "0..1 @service.name=billing app.do_not_sample=?true",
        "0..1 @service.name=service-1; 0..1 error app.do_not_sample=?true app.force_sample=?true",
    ] {
        check(LUCKY, trace, (Decision::Dropped, "do-not-sample"));
    }
    check(
        UNLUCKY,
        "0..1 @service.name=billing app.do_not_sample=?false",
        kept_by("backwards-compatibility-policy"),
    );
}

/// The documentation prints rule 7 with the block of another type, which no Collector loads.
#[test]
fn rule_7_as_it_is_printed_is_refused_with_what_to_change() {
    let right = "boolean_attribute: {key: app.do_not_sample, value: true}";
    assert!(RULES.contains(right));
    let printed = RULES.replace(right, "string_attribute: {key: app.do_not_sample, value: true}");
    let mut problems = Problems::default();
    assert!(TailSamplingConfig::decode(&section(&printed), &Path::ROOT, &mut problems).is_none());
    let found: Vec<String> = problems.errors().iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "policies::6::drop::drop_sub_policy::0::string_attribute: is the block of another policy \
          type; type is \"boolean_attribute\": call the block boolean_attribute, whose keys it has"
        ]
    );
}
