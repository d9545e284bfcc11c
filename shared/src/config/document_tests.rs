//! Sources in their order, and what is said of those that cannot be read.

use std::io;

use super::*;
use crate::config::print;

/// Two files; no variables but `SECTION`.
struct Given;

impl World for Given {
    fn variable(&self, name: &str) -> Option<String> {
        (name == "SECTION").then(|| "service: {extensions: [b]}".to_owned())
    }
    fn file(&self, path: &str) -> io::Result<String> {
        match path {
            "one.yaml" => Ok("receivers:\n  otlp:\nservice:\n  extensions: [a]\n".to_owned()),
            "two.yaml" => Ok("receivers:\n  otlp:\n    x: ${NONE:-5}\n".to_owned()),
            "broken.yaml" => Ok("a: 1\na: 2\n".to_owned()),
            "list.yaml" => Ok("\n- 1\n".to_owned()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

fn load(configs: &[&str], sets: &[&str]) -> Result<Document, Problems> {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    Document::load(&owned(configs), &owned(sets), &Given)
}

#[track_caller]
fn check(configs: &[&str], sets: &[&str], json: &str) {
    let document = load(configs, sets).unwrap_or_else(|problems| panic!("{problems:?}"));
    assert_eq!(print::json_line(&document.root), json);
}

#[test]
fn later_sources_lie_over_earlier_ones_and_settings_over_all() {
    check(&["one.yaml", "two.yaml"], &[], {
        r#"{"receivers":{"otlp":{"x":5}},"service":{"extensions":["a"]}}"#
    });
    check(&["one.yaml", "env:SECTION"], &[], {
        r#"{"receivers":{"otlp":null},"service":{"extensions":["b"]}}"#
    });
    check(&["yaml:a::b::c: 1", "yaml:{a: {b: {d: 2}}}"], &[], r#"{"a":{"b":{"c":1,"d":2}}}"#);
    check(&["two.yaml"], &["receivers.otlp.x=[7]", "a::b=", "c.d=x=y"], {
        r#"{"receivers":{"otlp":{"x":[7]}},"a":{"b":null},"c":{"d":"x=y"}}"#
    });
    check(&["yaml:"], &[], "null");
}

#[test]
fn every_source_that_cannot_be_read_is_told() {
    let problems = load(
        &["none.yaml", "broken.yaml", "list.yaml", "https://a/b", "env:NONE"],
        &["a", "a..b=1", "b=[1"],
    )
    .unwrap_err();
    let errors: Vec<String> = problems.errors().iter().map(ToString::to_string).collect();
    assert_eq!(
        errors,
        [
            "cannot read \"none.yaml\": entity not found",
            "broken.yaml:2: the key \"a\" is already defined at line 1",
            "list.yaml:2: expected a map, got a list",
            "https://a/b: configuration is not read over the network; fetch it into a file",
            "env:NONE is not set",
            "--set a: missing equal sign",
            "--set a..b: the key has an empty part",
            "--set b: invalid YAML: while parsing a flow sequence, expected ',' or ']'",
        ]
    );
}

#[test]
fn problems_found_later_know_where_a_value_was_set_last() {
    let Document { mut problems, .. } =
        load(&["one.yaml", "two.yaml"], &["service.extensions=[c]"]).unwrap();
    let (receivers, service) = (Path::ROOT.key("receivers"), Path::ROOT.key("service"));
    problems.report(&receivers.key("otlp").key("x"), "wrong");
    problems.report(&receivers.key("otlp"), "wrong");
    problems.report(&service.key("extensions").index(0), "wrong");
    let errors: Vec<String> = problems.errors().iter().map(ToString::to_string).collect();
    assert_eq!(
        errors,
        [
            "two.yaml:3: receivers::otlp::x: wrong",
            "two.yaml:2: receivers::otlp: wrong",
            "--set service.extensions: service::extensions::0: wrong",
        ]
    );
}
