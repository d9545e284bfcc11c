//! The real binary: what it prints, and how it exits.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

use std::io::Write as _;
use std::process::{Command, Output};

fn edge(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_edge")).args(arguments).output().unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// A file with `text` whose name stays the same: messages name it.
fn file(text: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("edge.yaml");
    std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (directory, path)
}

/// The file that a Collector's user brings along.
const BROUGHT_ALONG: &str = "
receivers:
  otlp:
    protocols:
      grpc:
processors:
exporters:
  loadbalancing:
    protocol:
      otlp:
    resolver:
      dns:
        hostname: otelcol.observability.svc.cluster.local
service:
  pipelines:
    traces:
      receivers:
        - otlp
      processors: []
      exporters:
        - loadbalancing
";

const FIVE_MISTAKES: &str = "\
receivers:
  otlp:
    protocols:
      grpcc:
processors:
  tail_sampling:
exporters:
  otpl:
    endpoint: localhost:4317
service:
  telemetry:
    logs: {level: loud}
  pipelines:
    traces:
      receivers: [otlp]
      processors: [batch]
      exporters: [otpl]
";

#[test]
fn the_collectors_file_is_valid_and_validate_is_silent() {
    let (_directory, path) = file(BROUGHT_ALONG);
    let output = edge(&["validate", "--config", &path]);
    assert_eq!(stderr(&output), "");
    assert!(output.stdout.is_empty());
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn validate_warns_of_what_does_not_mean_what_it_seems_to() {
    let early =
        BROUGHT_ALONG.replace("otlp:\n    resolver", "otlp: {sending_queue: {}}\n    resolver");
    assert_ne!(early, BROUGHT_ALONG);
    let (_directory, path) = file(&early);
    let output = edge(&["validate", "--config", &path]);
    assert_eq!(output.status.code(), Some(0));
    let text = stderr(&output).replace(&path, "edge.yaml");
    let start = "edge: warning: edge.yaml:10: exporters::loadbalancing::protocol::otlp::\
                 sending_queue: requests are acknowledged before a backend has them";
    assert!(text.starts_with(start), "{text}");
}

#[test]
fn the_sample_configuration_is_valid() {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/config/edge.yaml");
    let output = edge(&["validate", "--config", sample]);
    assert_eq!(stderr(&output), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn five_mistakes_are_five_errors_with_their_paths_and_lines() {
    let (_directory, path) = file(FIVE_MISTAKES);
    for arguments in [&["validate", "--config", &path][..], &["--config", &path]] {
        let output = edge(arguments);
        assert_eq!(output.status.code(), Some(64));
        let text = stderr(&output).replace(&path, "edge.yaml");
        let lines: Vec<&str> = text.lines().collect();
        let starts = [
            "edge: 5 problems in the configuration",
            "  edge.yaml:4: receivers::otlp::protocols::grpcc: unknown key, did you mean \"grpc\"?",
            "  edge.yaml:6: processors::tail_sampling: component \"tail_sampling\" belongs to the \
             backend tier",
            "  edge.yaml:8: exporters::otpl: unknown type: \"otpl\" for id: \"otpl\", did you mean \
             \"otlp\"?",
            "  edge.yaml:12: service::telemetry::logs::level: expected one of ",
            "  edge.yaml:16: service::pipelines::traces: references processor \"batch\" which is \
             not configured",
        ];
        assert_eq!(lines.len(), starts.len(), "{text}");
        for (line, start) in lines.iter().zip(starts) {
            assert!(line.starts_with(start), "{line}");
        }
    }
}

#[test]
fn without_a_configuration_it_says_how_to_give_one() {
    for arguments in [&[][..], &["validate"], &["print-config"]] {
        let output = edge(arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        let text = stderr(&output);
        assert!(text.contains("give at least one --config"), "{text}");
        assert!(text.contains("Usage: edge"), "{text}");
    }
}

#[test]
fn a_file_that_is_not_there_and_unknown_flags_are_wrong_usage() {
    let output = edge(&["--config", "/nonexistent.yaml"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(stderr(&output).contains("cannot read \"/nonexistent.yaml\""), "{output:?}");
    assert_eq!(edge(&["--cofnig", "x"]).status.code(), Some(64));
    let output = edge(&["--config", "yaml:", "--feature-gates", "+no.such"]);
    assert!(stderr(&output).contains("no such feature gate \"no.such\""), "{output:?}");
}

#[test]
fn print_config_shows_what_is_left_without_secrets() {
    let arguments = [
        "print-config",
        "--validate=false",
        "--config",
        "yaml:exporters::a: {headers: {x: secret}, n: '${NO_SUCH_VARIABLE:-0x10}'}",
        "--set",
        "exporters.a.list=[a, 1]",
    ];
    let output = edge(&arguments);
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "exporters:\n  a:\n    headers:\n      x: \"[REDACTED]\"\n    n: 0x10\n    list:\n      \
         - a\n      - 1\n"
    );
    let json = edge(&[&arguments[..], &["--format", "json", "--mode", "unredacted"]].concat());
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(
        json,
        serde_json::json!({"exporters": {"a": {"headers": {"x": "secret"}, "n": 16, "list": ["a", 1]}}})
    );
}

#[test]
fn components_help_and_version_are_for_people() {
    let components = edge(&["components"]);
    let text = String::from_utf8(components.stdout).unwrap();
    assert!(text.starts_with("buildinfo:\n  command: edge\n"), "{text}");
    let sections =
        ["\nreceivers:", "\nprocessors:", "\nexporters:", "\nconnectors:", "\nextensions:"];
    assert!(sections.iter().all(|section| text.contains(section)), "{text}");
    assert!(!text.contains("name: loadbalancing\n"), "former names are not listed: {text}");
    let help = String::from_utf8(edge(&["--help"]).stdout).unwrap();
    assert!(help.contains("Examples:") && help.contains("edge validate --config"), "{help}");
    let version = String::from_utf8(edge(&["--version"]).stdout).unwrap();
    assert_eq!(version, format!("edge {}\n", env!("CARGO_PKG_VERSION")));
}
