//! The real binary: what it prints, and how it exits.

use std::process::{Command, Output};

fn edge(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_edge")).args(arguments).output().unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
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
