//! What is said of configurations that are wrong: the texts of the Collector where it has them.

use std::io;

use super::*;
use crate::config::World;
use crate::service::testing::registry;

/// No files, no variables.
struct Nothing;

impl World for Nothing {
    fn variable(&self, _name: &str) -> Option<String> {
        None
    }
    fn file(&self, _path: &str) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }
}

fn read(text: &str) -> Result<Model, Vec<String>> {
    let texts = |problems: &Problems| problems.errors().iter().map(ToString::to_string).collect();
    let document = Document::parse(text, &Nothing).map_err(|problems| texts(&problems))?;
    Model::read(document, &registry()).map_err(|problems| texts(&problems))
}

#[track_caller]
fn check(text: &str, errors: &[&str]) {
    match read(text) {
        Ok(_) => assert!(errors.is_empty(), "nothing was found wrong"),
        Err(found) => assert_eq!(found, errors),
    }
}

/// A configuration with one pipeline, and `more` behind it.
fn with(more: &str) -> String {
    format!(
        "receivers: {{otlp: }}\nexporters: {{otlp: , debug: }}\nservice:\n  pipelines:\n    \
         traces:\n      receivers: [otlp]\n      exporters: [otlp]\n{more}"
    )
}

#[test]
fn the_smallest_configuration_is_read() {
    let model = read(&with("")).unwrap_or_else(|errors| panic!("{errors:?}"));
    let id = |kind: &str| ComponentId { kind: kind.into(), name: None };
    let expected = Pipeline {
        id: PipelineId { signal: Signal::Traces, name: None },
        receivers: vec![id("otlp")],
        processors: vec![],
        exporters: vec![id("otlp")],
    };
    assert_eq!(model.pipelines, [expected]);
    assert_eq!(model.components.len(), 3, "components that nothing uses are there too");
}

#[test]
fn an_empty_configuration_says_so() {
    check("", &["config.yaml: empty configuration file"]);
    check("{}", &["config.yaml:1: empty configuration file"]);
    check(
        "receivers:",
        &[
            "config.yaml:1: receivers: no receiver configuration specified in config",
            "config.yaml:1: exporters: no exporter configuration specified in config",
            "config.yaml:1: service::pipelines: service must have at least one pipeline",
        ],
    );
}

#[test]
fn root_keys_are_a_closed_set() {
    check(
        &with("exporter: {}\nx-shared: 1\n"),
        &[
            "config.yaml:8: exporter: unknown key, did you mean \"exporters\"?",
            "config.yaml:9: x-shared: unknown key (valid keys: receivers, processors, exporters, \
         connectors, extensions, service)",
        ],
    );
    check(
        &with("processors: [batch]\n"),
        &["config.yaml:8: processors: expected a map, got a list"],
    );
}

#[test]
fn unknown_types_say_where_they_belong() {
    check(
        &with("processors:\n  tail_sampling:\n  otlp:\n  debug/x:\n  bathc:\n  zap:\n"),
        &[
            "config.yaml:9: processors::tail_sampling: component \"tail_sampling\" belongs to the \
         backend tier",
            "config.yaml:10: processors::otlp: \"otlp\" is a receiver and an exporter, not a processor",
            "config.yaml:11: processors::debug/x: \"debug\" is an exporter, not a processor",
            "config.yaml:12: processors::bathc: unknown type: \"bathc\" for id: \"bathc\", did you \
         mean \"batch\"? (valid values: [batch spans])",
            "config.yaml:13: processors::zap: unknown type: \"zap\" for id: \"zap\" (valid values: \
         [batch spans])",
        ],
    );
    check(
        &with("connectors:\n  tail_sampling:\n"),
        &[
            "config.yaml:9: connectors::tail_sampling: \"tail_sampling\" is a processor of the backend \
         tier, not a connector",
        ],
    );
}

#[test]
fn ids_are_checked_and_unique() {
    check(
        &with("processors:\n  /x:\n  batch/:\n  b-t:\n  \"batch /a\":\n  batch/a:\n"),
        &[
            "config.yaml:9: processors::/x: in \"/x\" id: the part before / should not be empty",
            "config.yaml:10: processors::batch/: in \"batch/\" id: the part after / should not be empty",
            "config.yaml:11: processors::b-t: invalid character(s) in type \"b-t\"",
            "config.yaml:13: processors::batch/a: duplicate name \"batch/a\" after unmarshaling",
        ],
    );
}

#[test]
fn sections_are_checked_also_where_nothing_uses_them() {
    check(
        &with("processors:\n  batch:\n    size: 10\n  batch/x:\n    siez: 1\n    size: a\n"),
        &[
            "config.yaml:10: processors::batch::size: must be below 10",
            "config.yaml:12: processors::batch/x::siez: unknown key, did you mean \"size\"?",
            "config.yaml:13: processors::batch/x::size: expected an integer, got a string \"a\"",
        ],
    );
}

#[test]
fn a_section_is_checked_as_far_as_it_could_be_read() {
    let batch = |section: &str| with(&format!("processors:\n  batch: {section}\n"));
    let needed = "config.yaml:9: processors::batch::limit: must be set with this size";
    check(&batch("{size: 2, limit: 1}"), &[]);
    check(&batch("{size: 2}"), &[needed]);
    check(
        &batch("{bogus: 1, size: 2}"),
        &[
            "config.yaml:9: processors::batch::bogus: unknown key (valid keys: size, limit, endpoint, \
         linger)",
            needed,
        ],
    );
    // What could not be read is not missing on top of that.
    check(
        &batch("{size: 2, limit: x}"),
        &["config.yaml:9: processors::batch::limit: expected an integer, got a string \"x\""],
    );
    check(
        &batch("{size: 2, limti: 1}"),
        &["config.yaml:9: processors::batch::limti: unknown key, did you mean \"limit\"?"],
    );
}

#[test]
fn references_must_lead_somewhere() {
    check(
        &with("    logs/a:\n      receivers: [otpl]\n      exporters: [kafka, otlp_grpc]\n"),
        &[
            "config.yaml:9: service::pipelines::logs/a: references receiver \"otpl\" which is not \
         configured, did you mean \"otlp\"?",
            "config.yaml:10: service::pipelines::logs/a: references exporter \"kafka\" which is not \
         configured",
            "config.yaml:10: service::pipelines::logs/a: references exporter \"otlp_grpc\" which is \
         not configured, did you mean \"otlp\"?",
        ],
    );
    check(
        &with("  extensions: [health]\nprocessors: {batch: }\n"),
        &["config.yaml:8: service::extensions: references extension \"health\" which is not \
         configured"],
    );
    let twice = "      processors: [batch, batch]\nprocessors: {batch: }\n";
    check(
        &with(twice),
        &[
            "config.yaml:8: service::pipelines::traces: references processor \"batch\" multiple times",
        ],
    );
}

#[test]
fn pipelines_have_a_signal_a_receiver_and_an_exporter() {
    check(
        &with("    trace:\n    logs:\n      processors: []\n    profiles: {x: 1}\n"),
        &[
            "config.yaml:8: service::pipelines::trace: unknown signal \"trace\", did you mean \
         \"traces\"?",
            "config.yaml:9: service::pipelines::logs: must have at least one receiver",
            "config.yaml:9: service::pipelines::logs: must have at least one exporter",
            "config.yaml:11: service::pipelines::profiles: unknown signal \"profiles\" (valid values: \
         [traces metrics logs])",
            "config.yaml:11: service::pipelines::profiles::x: unknown key (valid keys: receivers, \
         processors, exporters)",
        ],
    );
    check(
        "receivers: {otlp: }\nexporters: {debug: }\nservice: {pipelines: [1]}\n",
        &["config.yaml:3: service::pipelines: expected a map, got a list"],
    );
}

#[test]
fn components_must_support_the_signal() {
    let logs = "    logs:\n      receivers: [otlp]\n      processors: [spans]\n      exporters: \
                [span_metrics]\nprocessors: {spans: }\nconnectors: {span_metrics: }\n";
    check(
        &with(logs),
        &[
            "config.yaml:10: service::pipelines::logs: processor \"spans\" does not support logs",
            "config.yaml:11: service::pipelines::logs: connector \"span_metrics\" does not support \
         logs as exporter",
        ],
    );
}

#[test]
fn connectors_join_two_pipelines() {
    check(
        &with(
            "    traces/b:\n      receivers: [otlp]\n      exporters: [span_metrics]\n\
                 connectors: {span_metrics: }\n",
        ),
        &[
            "config.yaml:11: connectors::span_metrics: connector \"span_metrics\" used as exporter in \
         [traces/b] pipeline but not used in any supported receiver pipeline",
        ],
    );
    check(
        &with(
            "    metrics:\n      receivers: [span_metrics]\n      exporters: [debug]\n\
                 connectors: {span_metrics: }\n",
        ),
        &[
            "config.yaml:11: connectors::span_metrics: connector \"span_metrics\" used as receiver in \
         [metrics] pipeline but not used in any supported exporter pipeline",
        ],
    );
    check(&with("connectors: {forward: }\n"), &[]);
}

#[test]
fn a_connector_does_not_share_its_id() {
    let text = with("connectors:\n  forward/x:\n  forward:\n");
    check(
        &text.replace("debug: ", "debug: , forward: "),
        &[
            "config.yaml:2: exporters::forward: \"forward\" is a connector, not an exporter",
            "config.yaml:10: connectors::forward: ambiguous ID: Found both \"forward\" exporter and \
         \"forward\" connector. Change one of the components' IDs to eliminate ambiguity (e.g. \
         rename \"forward\" connector to \"forward/connector\")",
        ],
    );
}

#[test]
fn pipelines_form_no_circle() {
    let text = "    traces/a:\n      receivers: [forward/b, otlp]\n      processors: [batch]\n      \
                exporters: [forward/a]\n    traces/b:\n      receivers: [forward/a]\n      \
                exporters: [forward/b, debug]\nprocessors: {batch: }\n\
                connectors: {forward/a: , forward/b: }\n";
    check(
        &with(text),
        &[
            "config.yaml:16: connectors::forward/a: cycle detected: connector \"forward/a\" (traces \
         to traces) -> connector \"forward/b\" (traces to traces) -> processor \"batch\" in \
         pipeline \"traces/a\" -> connector \"forward/a\" (traces to traces)",
        ],
    );
}

#[test]
fn former_names_are_warned_of() {
    let model = read(&with("processors:\n")).unwrap_or_else(|errors| panic!("{errors:?}"));
    let names: Vec<String> = model.former_names.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["config.yaml:2: exporters::otlp: \"otlp\" is now called \"otlp_grpc\""]);
}

#[test]
fn placeholders_that_cannot_be_replaced_are_told_with_all_the_rest() {
    check(
        &with("extensions: ${file:none.yaml}\nexporter:\n"),
        &[
            "config.yaml:8: extensions: cannot read \"none.yaml\": entity not found",
            "config.yaml:9: exporter: unknown key, did you mean \"exporters\"?",
        ],
    );
}
