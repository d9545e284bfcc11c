use shared::config::{Decode, yaml};

use super::*;

fn problems(text: &str) -> Vec<String> {
    let mut problems = Problems::default();
    let node = yaml::parse(text, 0).unwrap();
    if let Some(config) = TailSamplingConfig::decode(&node, &Path::ROOT, &mut problems) {
        config.validate(&Path::ROOT, &mut problems);
    }
    problems.errors().iter().map(ToString::to_string).collect()
}

const POLICY: &str = "policies: [{name: a, type: always_sample}]";

#[test]
fn a_wait_may_be_shorter_than_a_second() {
    assert!(problems(&format!("decision_wait: 1ms\n{POLICY}")).is_empty());
    assert_eq!(
        problems(&format!("decision_wait: 0s\nnum_traces: 0\nmax_buffer_bytes: 0\n{POLICY}")),
        [
            "decision_wait: must be above 0",
            "num_traces: must be above 0",
            "max_buffer_bytes: must be above 0"
        ]
    );
}

#[test]
fn a_size_that_is_not_remembered_is_warned_of() {
    let mut problems = Problems::default();
    let decision_cache =
        DecisionCacheConfig { non_sampled_cache_size: 0, ..DecisionCacheConfig::default() };
    let config = TailSamplingConfig {
        maximum_trace_size_bytes: 1000,
        decision_cache,
        ..TailSamplingConfig::default()
    };
    config.warn_of_idle_keys(&Path::ROOT, &mut problems);
    let warnings: Vec<String> = problems.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        ["maximum_trace_size_bytes: a trace that was too large begins anew with its next span, \
          because decision_cache::non_sampled_cache_size is 0"]
    );
}

#[test]
fn waits_and_sizes_that_never_matter_are_warned_of() {
    let mut problems = Problems::default();
    let config = TailSamplingConfig {
        decision_wait: Duration::from_secs(5),
        decision_wait_after_root_received: Duration::from_secs(5),
        decision_wait_after_idle: Duration::from_millis(4999),
        decision_after_bytes: Some(1000),
        maximum_trace_size_bytes: 1000,
        ..TailSamplingConfig::default()
    };
    config.warn_of_idle_keys(&Path::ROOT, &mut problems);
    let warnings: Vec<String> = problems.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "decision_wait_after_root_received: has no effect: it is not below decision_wait (5s)",
            "maximum_trace_size_bytes: has no effect: traces are judged at \
             decision_after_bytes (1000), before they grow so large"
        ]
    );
}

#[test]
fn a_part_of_the_tier_needs_to_know_the_tier() {
    let limiter = "type: rate_limiting, rate_limiting: {spans_per_second: 9, cluster: true}";
    let sampler = "type: ema_throughput, ema_throughput: \
                   {cluster: true, fingerprint_attributes: [k]}";
    let lists = [
        format!("[{{name: a, {limiter}}}]"),
        format!("[{{name: a, type: and, and: {{and_sub_policy: [{{{limiter}}}]}}}}]"),
        format!(
            "[{{name: a, type: rules, rules: {{rules: [{{name: b, sampler: {{{sampler}}}}}]}}}}]"
        ),
    ];
    for policies in lists {
        assert_eq!(
            problems(&format!("policies: {policies}")),
            ["policies::0: has cluster: true, which needs to know how many backends there \
              are: set tier"]
        );
        for tier in ["{size: 3}", "{dns: {hostname: backend}}"] {
            assert!(problems(&format!("tier: {tier}\npolicies: {policies}")).is_empty());
        }
    }
}

#[test]
fn policies_need_names_of_their_own() {
    assert_eq!(problems("{}"), ["policies: must not be empty, or every trace would be dropped"]);
    assert_eq!(
        problems(
            "policies: [{type: always_sample}, {name: a, type: always_sample}, \
             {name: a, type: latency}]"
        ),
        [
            "policies::0: name must be set",
            "policies::2::name: \"a\" is the name of an earlier policy too"
        ]
    );
}

#[test]
fn more_policies_than_marks_are_refused() {
    let policy = |number| {
        format!("{{name: p{number}, type: status_code, status_code: {{status_codes: [OK]}}}}")
    };
    let list = |count| {
        let policies: Vec<String> = (0..count).map(policy).collect();
        problems(&format!("policies: [{}]", policies.join(", ")))
    };
    assert!(list(128).is_empty());
    assert_eq!(
        list(129),
        ["policies: policies look for 129 things in spans, sub-policies included; there can \
             be 128 at most"]
    );
}

#[test]
fn unknown_and_unsupported_keys_are_errors() {
    assert_eq!(
        problems(&format!("decision_wiat: 1s\n{POLICY}")),
        ["decision_wiat: unknown key, did you mean \"decision_wait\"?"]
    );
    assert_eq!(
        problems(&format!("num_shards: 0\ntail_storage: pebble\n{POLICY}")),
        [
            "num_shards: must be from 1 to 256",
            "tail_storage: is not supported: the buffer is in memory, within \
             max_buffer_bytes; buffer_compression makes it smaller",
        ]
    );
}

#[test]
fn only_policies_without_a_state_judge_pieces() {
    let policies = "policies:
  - {name: a, type: latency, latency: {threshold_ms: 5, upper_threshold_ms: 9}}
  - {name: b, type: span_count, span_count: {min_spans: 2, max_spans: 3}}
  - {name: c, type: rate_limiting, rate_limiting: {spans_per_second: 9}}
  - {name: d, type: and, and: {and_sub_policy: [{name: x, type: bytes_limiting, bytes_limiting: {bytes_per_second: 9}}]}}
  - {name: e, type: latency, latency: {threshold_ms: 5}}
  - {name: f, type: span_count, span_count: {min_spans: 2}}";
    let message = "cannot be used with sampling_strategy: span-ingest, because what it says of \
                   a piece does not hold for the trace";
    let expected = [0, 1, 2, 3].map(|index| format!("policies::{index}: {message}"));
    let found = problems(&format!("sampling_strategy: span-ingest\n{policies}"));
    let found: Vec<_> = found.into_iter().filter(|line| line.contains("span-ingest")).collect();
    assert_eq!(found, expected);
    assert!(!problems(policies).iter().any(|line| line.contains("span-ingest")));
}
