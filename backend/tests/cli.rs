//! The real binary: the sample configuration is valid, and mistakes are named.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

use std::process::{Command, Output};

fn backend(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_backend")).args(arguments).output().unwrap()
}

#[test]
fn the_sample_configuration_is_valid() {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/config/backend.yaml");
    let output = backend(&["validate", "--config", sample]);
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_component_of_the_other_tier_is_told_with_all_other_mistakes() {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/config/backend.yaml");
    let output = backend(&[
        "validate",
        "--config",
        sample,
        "--set=exporters.loadbalancing=",
        "--set=service.pipelines.metrics.exporters=[promtheus]",
    ]);
    let text = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines,
        [
            "backend: 2 problems in the configuration",
            "  --set exporters.loadbalancing: exporters::loadbalancing: component \
             \"loadbalancing\" belongs to the edge tier",
            "  --set service.pipelines.metrics.exporters: service::pipelines::metrics: references \
             exporter \"promtheus\" which is not configured, did you mean \"prometheus\"?",
        ]
    );
    assert_eq!(output.status.code(), Some(64));
}

#[test]
fn the_practical_example_of_the_collectors_documentation_is_valid() {
    let example =
        concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/tail_sampling/practical-example.yaml");
    let output = backend(&["validate", "--config", example]);
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn the_collectors_gates_set_keys_that_are_not_written() {
    let config = "yaml:{processors: {tail_sampling: , tail_sampling/own: {record_policy: span}}}";
    let gates = "processor.tailsamplingprocessor.recordpolicy,\
                 -processor.tailsamplingprocessor.usetracestate,\
                 +processor.tailsamplingprocessor.metricstatcountspanssampled";
    let output = backend(&[
        "print-config",
        "--validate=false",
        "--config",
        config,
        "--feature-gates",
        gates,
    ]);
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "processors:\n  tail_sampling:\n    record_policy: scope\n  tail_sampling/own:\n    \
         record_policy: span\n"
    );
}
