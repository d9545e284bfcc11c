//! Groups of texts: the context that is inferred, and what is wrong.

use super::*;
use crate::wire::Signal;

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[track_caller]
fn check(signal: Signal, conditions: &[&str], statements: &[&str], context: Context) {
    match Group::parse(signal, None, &texts(conditions), &texts(statements)) {
        Ok(group) => assert_eq!(group.context(), context),
        Err(faults) => panic!("{faults:?}"),
    }
}

/// What is wrong, each with the text that it is about.
fn faults(signal: Signal, context: Option<Context>, statements: &[&str]) -> Vec<String> {
    let faults = Group::parse(signal, context, &[], &texts(statements)).unwrap_err();
    faults.into_iter().map(|fault| format!("{:?}: {}", fault.at, fault.error)).collect()
}

#[test]
fn the_innermost_path_tells_the_context() {
    let all = |condition| check(Signal::Traces, &[condition], &[], Context::Span);
    all(r#"span.name == "x""#);
    all(r#"resource.attributes["a"] == span.attributes["a"]"#);
    check(Signal::Traces, &["spanevent.name == span.name"], &[], Context::SpanEvent);
    check(Signal::Traces, &[r#"resource.attributes["a"] == "b""#], &[], Context::Resource);
    check(Signal::Traces, &[r#"instrumentation_scope.name == "b""#], &[], Context::Scope);
    check(
        Signal::Metrics,
        &[r#"datapoint.attributes["a"] == metric.name"#],
        &[],
        Context::DataPoint,
    );
    check(Signal::Logs, &["log.severity_number < SEVERITY_NUMBER_INFO"], &[], Context::Log);
    check(
        Signal::Traces,
        &["IsRootSpan() and span.kind == SPAN_KIND_SERVER"],
        &[r#"set(resource.attributes["a"], "b")"#],
        Context::Span,
    );
    check(
        Signal::Metrics,
        &[],
        &["convert_sum_to_gauge() where metric.name == \"a\""],
        Context::Metric,
    );
    check(
        Signal::Traces,
        &[r#"Any(span.attributes["l"], (log, _) => log == 1) or span.name == "a""#],
        &[],
        Context::Span,
    );
}

#[test]
fn what_is_around_is_tried_when_a_function_is_not_known() {
    let statement = r"convert_sum_to_gauge() where datapoint.value_int == 5";
    let found = faults(Signal::Metrics, None, &[statement]);
    let unknown = "\"datapoint\" paths cannot be used in metric conditions (valid prefixes: metric, \
                   resource, scope, instrumentation_scope)";
    assert_eq!(found, [format!("Statement(0): {unknown}")]);
}

#[test]
fn without_a_prefix_there_is_no_context() {
    assert_eq!(
        faults(Signal::Traces, None, &["set_semconv_span_name(\"1.37.0\")"]),
        ["Group: no path tells the context by its prefix (one of spanevent, span, scope, \
             resource); give it with \"context\""]
    );
    assert_eq!(
        faults(Signal::Traces, None, &["set(span.name, \"a\")", "set(name, \"b\")"]),
        ["Statement(1): the path does not say whose it is, as span.name does"]
    );
    assert_eq!(
        faults(Signal::Traces, None, &["set(log.body, \"a\")"]),
        ["Group: \"log\" paths cannot be used with traces (the contexts are spanevent, span, \
             scope, resource)"]
    );
}

#[test]
fn statements_that_mean_nothing_are_refused_with_the_place() {
    let check = |statement: &str, message: &str| {
        let error = Statement::parse(statement, Context::Span).unwrap_err();
        assert_eq!(error.to_string(), message, "{statement}");
        assert!(error.caret(statement).contains('^'));
    };
    check("", "empty");
    check("set", "expected an editor, as in set(…), found \"set\"");
    check(
        "Concat([name], \"\")",
        "a statement begins with an editor such as set; \"Concat\" only gives a value",
    );
    check("ste(name, \"a\")", "unknown editor \"ste\", did you mean \"set\"?");
    check("set(name)", "1 arguments do not fit set(target, value)");
    check("set(name, \"a\") when true", "unexpected \"when\" behind the statement");
    check("set(\"name\", \"a\")", "must be a path that can be set");
    check("set(events, 1)", "events cannot be set as a whole");
    check("set(attributes[\"a\"], limit(attributes, 1, []))", {
        "functions that give a value start with a capital letter, \"limit\" does not"
    });
    check("limit(attributes, -1, [])", "must be 0 or more");
    check("limit(attributes, 1, [\"a\", \"b\"])", "must be at least the number of priority keys");
    check("merge_maps(attributes, attributes, \"x\")", {
        "must be one of \"insert\", \"update\", \"upsert\""
    });
    check("append(attributes[\"a\"])", {
        "at least one of \"value\" and \"values\" must be given"
    });
    check("replace_pattern(name, \"(\", \"a\")", "bad pattern: unclosed group");
    check("replace_match(name, \"[\", \"a\")", "a \"[\" of the pattern has no \"]\"");
    check(
        "replace_pattern(name, \"a\", \"b\", Sha)",
        "unknown function \"Sha\", did you mean \"SHA1\"?",
    );
    check("replace_pattern(name, \"a\", \"b\", Concat)", {
        "\"Concat\" does not take a string alone"
    });
    check("replace_pattern(name, \"a\", \"b\", SHA256, \"%d\")", {
        "must have one %s and no other verb"
    });
    check("set_semconv_span_name(\"1.0\")", "must be one of \"1.37.0\"");
    check("convert_sum_to_gauge()", "\"convert_sum_to_gauge\" cannot be used in span statements");
    check("merge_histogram(0.5)", "unknown editor \"merge_histogram\"");
    check("set(name, SHA256)", "unknown enum \"SHA256\"");
    check("set(name, Concat)", {
        "unexpected \"Concat\": a function needs parentheses, an enum is in capitals and a path in \
         lower case"
    });
}

#[test]
fn printed_statements_mean_the_same() {
    for text in [
        "set(attributes[\"a\"], 1)",
        "replace_pattern(name, \"a\", \"b\", function=ConvertCase) where name == \"a\" or true",
        "keep_keys(resource.attributes, [\"a\", \"b\"]) where not IsRootSpan()",
    ] {
        let written = parse::statement(text).unwrap();
        assert_eq!(parse::statement(&written.to_string()).unwrap(), written);
    }
}
