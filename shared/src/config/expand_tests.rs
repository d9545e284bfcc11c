//! What placeholders bring: the rules of the Collector's docs/rfcs/env-vars.md.

use std::collections::BTreeMap;
use std::io;

use super::*;
use crate::config::print;

/// Variables, and files by the same names with a dot in them.
struct Given(BTreeMap<&'static str, &'static str>);

impl World for Given {
    fn variable(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|text| (*text).to_owned())
    }
    fn file(&self, path: &str) -> io::Result<String> {
        self.variable(path).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

const GIVEN: &[(&str, &str)] = &[
    ("PORT", "4317"),
    ("CODE", "0123"),
    ("FLAG", "true"),
    ("LIST", "[a, b]"),
    ("TEXT", "some text"),
    ("QUOTED", "\"0123\""),
    ("BROKEN", "[a"),
    ("EMPTY", ""),
    ("WHICH", "PORT"),
    ("AGAIN", "${env:PORT}"),
    ("SELF", "${env:SELF}"),
    ("DOLLARS", "a$$b"),
    ("token.txt", "secret\n"),
    ("part.yaml", "x: 1\ny:\n  z: ${env:PORT}\n"),
    ("loop.yaml", "a: ${file:loop.yaml}\nb: ${file:loop.yaml}\n"),
    ("bad.yaml", "a: [\n"),
];

fn expanded(text: &str) -> (Node, Problems) {
    let mut problems = Problems::default();
    let source = problems.add_source("config.yaml");
    let mut node = yaml::parse(text, source).unwrap();
    expand(&mut node, &Given(GIVEN.iter().copied().collect()), &mut problems);
    (node, problems)
}

#[track_caller]
fn check(value: &str, json: &str) {
    let (node, problems) = expanded(&format!("'{value}'"));
    assert_eq!(problems.errors(), [], "{value}");
    assert_eq!(print::json_line(&node), json, "{value}");
}

#[track_caller]
fn check_error(value: &str, message: &str) {
    let (_, problems) = expanded(&format!("a:\n  '{value}'"));
    let errors: Vec<String> = problems.errors().iter().map(ToString::to_string).collect();
    assert_eq!(errors, [format!("config.yaml:2: a: {message}")], "{value}");
}

#[test]
fn a_whole_value_has_the_type_of_its_text() {
    check("${env:PORT}", "4317");
    check("${PORT}", "4317");
    check("${env:CODE}", "83");
    check("${env:FLAG}", "true");
    check("${env:LIST}", r#"["a","b"]"#);
    check("${env:TEXT}", r#""some text""#);
    check("${env:QUOTED}", r#""\"0123\"""#);
    check("${env:BROKEN}", r#""[a""#);
    check("${env:EMPTY}", "null");
    check("${yaml:[1, {a: 2]}", r#""[1, {a: 2]""#);
    check("${yaml:a: [1, 2]}", r#"{"a":[1,2]}"#);
}

#[test]
fn a_whole_value_keeps_its_text_for_fields_that_want_text() {
    for (value, text) in [("${CODE}", "0123"), ("${FLAG}", "true"), ("${LIST}", "[a, b]")] {
        let (node, _) = expanded(value);
        assert_eq!(node.text.as_deref(), Some(text), "{value}");
    }
    let (node, _) = expanded("${EMPTY}");
    assert_eq!((node.data, node.text.as_deref()), (Data::Null, Some("")));
}

#[test]
fn within_a_text_a_placeholder_brings_its_text() {
    check("host:${env:PORT}/${CODE}", r#""host:4317/0123""#);
    check("<${env:EMPTY}>", r#""<>""#);
    check("${PORT}${PORT}", r#""43174317""#);
    check("Bearer ${file:token.txt}", r#""Bearer secret""#);
    check_error("x${env:LIST}", "expanding ${env:LIST} within a text: it is a list");
}

#[test]
fn a_default_stands_in_for_an_unset_variable_only() {
    check("${env:NONE:-7}", "7");
    check("${NONE:-a:-b}", r#""a:-b""#);
    check("${env:NONE:-}", r#""""#);
    check("${env:EMPTY:-7}", "null");
    let (node, problems) = expanded("a:\n  b: ${env:NONE}\n");
    assert_eq!(print::json_line(&node), r#"{"a":{"b":null}}"#);
    let warnings: Vec<String> = problems.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["config.yaml:2: a::b: env:NONE is not set"]);
}

#[test]
fn placeholders_nest_and_bring_placeholders() {
    check("${env:${env:WHICH}}", "4317");
    check("${env:NONE:-${env:PORT}}", "4317");
    check("${env:AGAIN}", "4317");
    check("p${env:AGAIN}", r#""p4317""#);
}

#[test]
fn doubled_dollars_are_one_and_start_nothing() {
    check("$${env:PORT}", r#""${env:PORT}""#);
    check("$$${env:PORT}", r#""$4317""#);
    check("$PORT a$ $$", r#""$PORT a$ $""#);
    check("${env:DOLLARS}", r#""a$b""#);
    check("$${a} ${PORT}", r#""${a} 4317""#);
}

#[test]
fn a_file_brings_a_section_with_its_own_lines() {
    let (node, problems) = expanded("a: ${file:part.yaml}\nb: ${env:LIST}\n");
    assert_eq!(problems.errors(), []);
    assert_eq!(print::json_line(&node), r#"{"a":{"x":1,"y":{"z":4317}},"b":["a","b"]}"#);
    let part = &node.entries()[0].value;
    assert_eq!(part.entries()[1].place, Place { source: 1, line: 2 });
    let Data::List(items) = &node.get("b").unwrap().data else { panic!("a list") };
    assert_eq!(items[1].place, Place { source: 0, line: 2 });
}

#[test]
fn what_cannot_be_expanded_says_why() {
    check_error("${env:PORT", "\"${env:PORT\" has a ${ without }; write $${ for the text itself");
    check_error("${env:a b}", {
        "environment variable \"a b\" has invalid name: must match regex ^[a-zA-Z_][a-zA-Z0-9_]*$"
    });
    check_error("${s3:x}", {
        "scheme \"s3\" is not supported for uri \"s3:x\" (known: env, file, yaml)"
    });
    check_error("${env:A$B}", "the uri \"env:A$B\" contains unsupported characters ('$')");
    check_error("${file:no.txt}", "cannot read \"no.txt\": entity not found");
    check_error("${env:SELF}", "too many recursive expansions");
    check_error("${file:bad.yaml}", {
        "bad.yaml:2: invalid YAML: while parsing a node, did not find expected node content"
    });
}

#[test]
fn files_that_bring_themselves_end() {
    let (_, problems) = expanded("a: ${file:loop.yaml}");
    assert!(!problems.is_empty());
    let limit = |error: &crate::config::Problem| error.message == "too many recursive expansions";
    assert!(problems.errors().iter().all(limit));
}
