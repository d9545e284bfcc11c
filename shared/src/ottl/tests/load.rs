//! What is found when a condition is read.

use super::*;

#[track_caller]
fn check_refused(text: &str, message: &str, caret: &str) {
    let error = Condition::parse(text, Context::Span).unwrap_err();
    assert_eq!(error.message, message);
    assert_eq!(error.caret(text), format!("{text}\n{caret}"));
}

#[test]
fn unknown_names_get_a_hint() {
    check_refused(
        "IsMtach(name, \"x\")",
        "unknown function \"IsMtach\", did you mean \"IsMatch\"?",
        "^^^^^^^",
    );
    check_refused(
        "kind == SPAN_KIND_SERVR",
        "unknown enum \"SPAN_KIND_SERVR\", did you mean \"SPAN_KIND_SERVER\"?",
        "        ^^^^^^^^^^^^^^^",
    );
    check_refused(
        "atributes[\"x\"] == 1",
        "unknown path \"atributes\" of a span, did you mean \"attributes\"?",
        "^^^^^^^^^^^^^^",
    );
    check_refused(
        "resource.attribute[\"x\"] == 1",
        "unknown path \"attribute\" of a resource, did you mean \"resource.attributes\"?",
        "^^^^^^^^^^^^^^^^^^^^^^^",
    );
    check_refused(
        "Substring(name, begin=1, length=2) == \"\"",
        "\"Substring\" has no parameter \"begin\" (valid names: target, start, length, utf8_safe)",
        "                      ^",
    );
}

#[test]
fn paths_are_those_of_the_context() {
    check_refused(
        "spanevent.name == \"x\"",
        "\"spanevent\" paths cannot be used in span conditions (valid prefixes: span, resource, scope, instrumentation_scope)",
        "^^^^^^^^^^^^^^",
    );
    check_refused("resource == 1", "unknown path \"resource\" of a span", "^^^^^^^^");
    check_refused("name[\"x\"] == 1", "\"name\" has no keys", "^^^^^^^^^");
    check_refused(
        "attributes[\"x\"].y == 1",
        "unknown path \"attributes.y\" of a span, did you mean \"attributes\"?",
        "^^^^^^^^^^^^^^^^^",
    );
    check_refused(
        "trace_state[\"x\"][\"y\"] == 1",
        "\"trace_state\" takes exactly one key",
        "^^^^^^^^^^^^^^^^^^^^^",
    );
    let error = Condition::parse("IsRootSpan()", Context::SpanEvent).unwrap_err();
    assert_eq!(error.message, "\"IsRootSpan\" cannot be used in spanevent conditions");
}

#[test]
fn literals_of_the_wrong_type_are_refused() {
    check_refused(
        "HasPrefix(name, 1)",
        "expected a string but got an integer",
        "                ^",
    );
    check_refused("IsString(1)", "expected a string but got an integer", "         ^");
    check_refused("Double(\"x\") == 1", "the string is no double", "       ^^^");
    check_refused("SpanID(0x01) == span_id", "an id has 8 bytes or 16 hex digits", "       ^^^^");
    check_refused("IsMatch(name, \"(\")", "bad pattern: unclosed group", "              ^^^");
    check_refused("Concat(name, \"\") == \"\"", "must be a list, as in [a, b]", "       ^^^^");
    check_refused(
        "Concat([name]) == \"\"",
        "1 arguments do not fit Concat(vals, delimiter)",
        "^^^^^^",
    );
    check_refused("Now(1) == nil", "1 arguments do not fit Now()", "^^^");
    check_refused(
        "ConvertCase(name, \"x\") == \"\"",
        "must be \"lower\", \"upper\", \"snake\" or \"camel\"",
        "                  ^^^",
    );
    check_refused(
        "Substring(name, 0, 1, flags) == \"\"",
        "must be true or false",
        "                      ^^^^^",
    );
    check_refused(
        "Any(attributes, (a) => true)",
        "the lambda must have 2 parameters, not 1",
        "                ^^^^^^^^^^^",
    );
    check_refused(
        "Any(attributes, true)",
        "must be a lambda, as in (a, b) => …",
        "                ^^^^",
    );
    check_refused("() => true == 1", "expected a condition, found a lambda", "^^^^^^^^^^^^^^^");
    check_refused("F(target=1, 2)", "unknown function \"F\"", "^");
    check_refused(
        "HasPrefix(target=name, \"x\")",
        "an argument without a name behind one with a name",
        "                       ^^^",
    );
    check_refused(
        "HasPrefix(name, target=name)",
        "\"target\" is given twice",
        "                       ^^^^",
    );
}

#[test]
fn what_is_constant_is_computed_once() {
    let constant = |text: &str| Condition::parse(text, Context::Span).unwrap().constant();
    for text in [
        "true",
        "not false",
        "1 < 2",
        "Len(\"abc\") == 1 + 2",
        "name == \"x\" or true",
        "(name == \"x\" or 2 > 1) and true",
        "IsMatch(Concat([\"a\", \"b\"], \"\"), \"^ab$\")",
        "Split(\"a,b\", \",\")[1] == \"b\" and {\"a\": [1]} == {\"a\": [1]}",
    ] {
        assert_eq!(constant(text), Some(true), "{text}");
    }
    for text in ["name == \"x\" and false", "STATUS_CODE_OK == STATUS_CODE_ERROR", "not (1 == 1)"] {
        assert_eq!(constant(text), Some(false), "{text}");
    }
    for text in ["name == \"x\"", "1 / 0 == 1", "Now() == Now()", "IsRootSpan()", "Len(true)"] {
        assert_eq!(constant(text), None, "{text}");
    }
}

#[test]
fn a_condition_tells_what_it_reads() {
    let uses = |text: &str| Condition::parse(text, Context::SpanEvent).unwrap().uses().clone();
    let all = uses(
        "attributes[resource.attributes[\"key\"]] == span.name or scope.name == \"x\" or \
         span.name == \"y\" or Now() > time",
    );
    assert_eq!(
        all.paths,
        [
            "resource.attributes",
            "scope.name",
            "span.name",
            "spanevent.attributes",
            "spanevent.time"
        ]
    );
    assert!(all.resource && all.scope && all.span && all.event && all.clock);
    assert_eq!(uses("true"), Uses::default());
    let root = Condition::parse("IsRootSpan()", Context::Span).unwrap();
    assert!(root.uses().span && root.uses().paths.is_empty());
}
