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
