use super::super::testing::registry;
use super::*;
use crate::config::{Document, Process};

const CONFIG: &str = "
receivers: {otlp: {size: 3}}
processors: {batch: {limit: 5, size: 1}, batch/unused: {size: 1}}
exporters: {debug: {endpoint: here}}
service: {pipelines: {traces: {receivers: [otlp], processors: [batch], exporters: [debug]}}}
";

fn model(text: &str) -> Model {
    let document = Document::parse(text, &Process).unwrap();
    Model::read(document, &registry()).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// What is found when `from` becomes `to` in the configuration: paths that can change and their
/// components, or paths that cannot.
#[track_caller]
fn check(from: &str, to: &str, expected: Result<&[&str], &[&str]>) {
    assert!(CONFIG.contains(from));
    let outcome = compare(&model(CONFIG).root, &model(&CONFIG.replacen(from, to, 1)));
    let told = match &outcome {
        Ok(changes) => Ok(&changes.paths[..]),
        Err(paths) => Err(&paths[..]),
    };
    let told = told.map(|paths| paths.iter().map(String::as_str).collect::<Vec<_>>());
    let told = told.map_err(|paths| paths.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(told, expected.map(<[_]>::to_vec).map_err(<[_]>::to_vec));
    if let Ok(changes) = outcome {
        assert_eq!(changes.components().count(), usize::from(!changes.paths.is_empty()));
    }
}

#[test]
fn live_keys_of_components_in_use_can_change() {
    check("limit: 5", "limit: 6", Ok(&["processors::batch::limit"]));
    check(
        "limit: 5",
        "endpoint: there",
        Ok(&["processors::batch::limit", "processors::batch::endpoint"]),
    );
}

#[test]
fn what_says_the_same_is_no_change() {
    check("limit: 5, size: 1", "size: 1, limit: 5", Ok(&[]));
    check("{otlp: {size: 3}}", "\n  otlp:\n    # a comment\n    size: 3", Ok(&[]));
    check("{endpoint: here}", "{endpoint: here, limit: }", Ok(&[]));
    check("batch/unused: {size: 1}", "batch/unused: {size: 7}", Ok(&[]));
    check(", batch/unused: {size: 1}", "", Ok(&[]));
}

#[test]
fn everything_else_needs_a_restart_and_then_nothing_changes() {
    check("size: 3", "size: 4", Err(&["receivers::otlp::size"]));
    check("limit: 5, size: 1", "limit: 6, size: 3", Err(&["processors::batch::size"]));
    check("endpoint: here", "", Err(&["exporters::debug::endpoint"]));
    let pipeline = "service::pipelines::traces::processors";
    check("processors: [batch]", "processors: [batch/unused]", Err(&[pipeline]));
    check(
        "service: {",
        "service: {telemetry: {logs: {level: warn}}, ",
        Err(&["service::telemetry::logs::level"]),
    );
}

#[test]
fn values_are_compared_as_they_are_written() {
    check("size: 3", "size: 0x3", Err(&["receivers::otlp::size"]));
}
