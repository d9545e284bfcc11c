//! What statements change, by what conditions then say.

use std::ops::ControlFlow;

use super::*;
use crate::wire::{Fields, LogRecord, Metric, Signal};

/// A record after statements, and what surrounds it.
pub(super) struct After {
    pub(super) draft: Draft<'static>,
    context: Context,
}

/// Runs statements on the usual record of `context`; `Err` has the first failure.
pub(super) fn run(context: Context, statements: &[&str]) -> Result<After, String> {
    run_on(context, usual(context), statements)
}

fn usual(context: Context) -> Vec<u8> {
    match context {
        Context::Metric | Context::DataPoint => {
            let mut metric = Writer::new();
            metric.bytes(1, b"requests");
            metric.message(7, |sum| {
                sum.message(1, |point| {
                    point.fixed64(3, 10);
                    point.fixed64(6, 5);
                    point.string_attribute(7, b"method", b"GET");
                });
                sum.varint(2, 1);
                sum.varint(3, 1);
            });
            metric.into_vec()
        }
        Context::Log => {
            let mut log = Writer::new();
            log.varint(2, 9);
            log.message(5, |body| body.bytes(1, b"user 17 came"));
            log.string_attribute(6, b"file", b"a.rs");
            log.into_vec()
        }
        _ => usual_span(),
    }
}

pub(super) fn run_on(
    context: Context,
    record: Vec<u8>,
    statements: &[&str],
) -> Result<After, String> {
    let fixture = Fixture::usual();
    let mut draft = Draft::new(context);
    draft.enter_resource(ResourceEntry { content: &fixture.resource });
    draft.enter_scope(ScopeEntry { content: &fixture.scope });
    // The tests have few records, and the draft wants to outlive them.
    let record: &'static [u8] = record.leak();
    draft.set_record(record);
    match context {
        Context::SpanEvent => draft.set_inner(Span::read(record).events().next().unwrap(), 0),
        Context::DataPoint => draft.set_inner(Metric::read(record).points().next().unwrap(), 0),
        _ => {}
    }
    let signal = match context {
        Context::Metric | Context::DataPoint => Signal::Metrics,
        Context::Log => Signal::Logs,
        _ => Signal::Traces,
    };
    let texts: Vec<String> = statements.iter().map(|text| (*text).to_owned()).collect();
    let group = Group::parse(signal, Some(context), &[], &texts)
        .unwrap_or_else(|faults| panic!("{statements:?}: {faults:?}"));
    match group.run(&mut draft, &mut |_, _| ControlFlow::Break(())) {
        Ok(()) => Ok(After { draft, context }),
        Err(error) => Err(error.to_string()),
    }
}

/// Checks that conditions hold after a statement.
#[track_caller]
pub(super) fn check_in(context: Context, statement: &str, conditions: &[&str]) {
    let after = run(context, &[statement]).unwrap_or_else(|error| panic!("{statement}: {error}"));
    after.check(statement, conditions);
}

#[track_caller]
fn check(statement: &str, conditions: &[&str]) {
    check_in(Context::Span, statement, conditions);
}

#[track_caller]
fn check_fails(statement: &str, message: &str) {
    let error = run(Context::Span, &[statement]).err();
    assert_eq!(error.as_deref(), Some(message), "{statement}");
}

impl After {
    #[track_caller]
    pub(super) fn check(&self, what: &str, conditions: &[&str]) {
        for text in conditions {
            let condition = Condition::parse(text, self.context)
                .unwrap_or_else(|error| panic!("{error}\n{}", error.caret(text)));
            let verdict = self.draft.with_view(|view| condition.matches(view));
            assert_eq!(verdict, Ok(true), "{text}, after {what}");
        }
    }

    pub(super) fn is_changed(&self) -> bool {
        [Part::Resource, Part::Scope, Part::Record, Part::Inner]
            .into_iter()
            .any(|part| self.draft.changed(part).is_some())
    }
}

#[test]
fn scalars_of_spans_are_set() {
    for (statement, condition) in [
        (r#"set(name, "new")"#, r#"name == "new""#),
        (r#"set(span.name, Concat(["a", name], " "))"#, r#"name == "a GET /cart""#),
        ("set(kind, SPAN_KIND_CLIENT)", "kind == 3"),
        (r#"set(kind.string, "Server")"#, "kind == SPAN_KIND_SERVER"),
        (r#"set(kind.deprecated_string, "SPAN_KIND_PRODUCER")"#, "kind == 4"),
        ("set(start_time_unix_nano, 5)", "start_time_unix_nano == 5"),
        ("set(end_time, start_time)", "end_time_unix_nano == 1700000000000000000"),
        ("set(status.code, STATUS_CODE_OK)", r#"status.code == 1 and status.message == "boom""#),
        (r#"set(status.message, "fine")"#, r#"status.code == 2 and status.message == "fine""#),
        ("set(flags, 257)", "flags == 257"),
        ("set(dropped_attributes_count, 9)", "dropped_attributes_count == 9"),
        ("set(dropped_events_count, 9)", "dropped_events_count == 9"),
        ("set(dropped_links_count, 9)", "dropped_links_count == 9"),
        ("set(trace_id, TraceID(0x00000000000000000000000000000001))", {
            r#"trace_id.string == "00000000000000000000000000000001""#
        }),
        (r#"set(span_id.string, "00000000000000ab")"#, "span_id == SpanID(0x00000000000000ab)"),
        ("set(parent_span_id, span_id)", "parent_span_id == span_id"),
        (r#"set(trace_state, "a=b")"#, r#"trace_state == "a=b""#),
        (r#"set(trace_state["vendor"], "y")"#, r#"trace_state == "vendor=y,ot=th:8""#),
        (r#"set(trace_state["new"], "z")"#, r#"trace_state == "new=z,ot=th:8,vendor=x""#),
        (r#"set(trace_state["no"], "a,b")"#, r#"trace_state == "ot=th:8,vendor=x""#),
    ] {
        check(statement, &[condition, r#"attributes["http.method"] == "GET""#]);
    }
}

#[test]
fn attributes_are_set_at_any_depth() {
    for (statement, condition) in [
        (r#"set(attributes["new"], 1.5)"#, r#"attributes["new"] == 1.5"#),
        (r#"set(attributes["http.method"], kind)"#, r#"attributes["http.method"] == 2"#),
        (r#"set(attributes["retried"], false)"#, r#"attributes["retried"] == false"#),
        (r#"set(attributes["map"]["name"], "x")"#, {
            r#"attributes["map"]["name"] == "x" and attributes["map"]["count"] == 3"#
        }),
        (r#"set(attributes["map"]["a"]["b"], "x")"#, r#"attributes["map"]["a"]["b"] == "x""#),
        (r#"set(attributes["list"][2]["deep"], 8)"#, r#"attributes["list"][2]["deep"] == 8"#),
        (r#"set(attributes["list"][1], "b")"#, r#"attributes["list"][1] == "b""#),
        (
            r#"set(attributes["l"][2], 7)"#,
            r#"Len(attributes["l"]) == 3 and attributes["l"][2] == 7"#,
        ),
        (r#"set(attributes["m"], {"a": [1, {"b": true}]})"#, {
            r#"attributes["m"]["a"][1]["b"] == true"#
        }),
        (r#"set(attributes["b"], 0xcafe)"#, r#"attributes["b"] == attributes["blob"]"#),
        (r#"set(attributes, {"a": 1})"#, r#"Len(attributes) == 1 and attributes["a"] == 1"#),
        (r#"set(attributes[Concat(["a", "b"], "")], 1)"#, r#"attributes["ab"] == 1"#),
        (r#"set(attributes["copy"], attributes["list"])"#, {
            r#"attributes["copy"] == attributes["list"]"#
        }),
        (r#"set(resource.attributes["env"], "prod")"#, {
            r#"resource.attributes["env"] == "prod" and resource.dropped_attributes_count == 7"#
        }),
        (r#"set(resource.schema_url, "u")"#, r#"resource.schema_url == "u""#),
        ("set(resource.dropped_attributes_count, 1)", "resource.dropped_attributes_count == 1"),
        (r#"set(scope.name, "l")"#, r#"scope.name == "l" and scope.version == "1.2.3""#),
        (r#"set(scope.attributes["team"], "x")"#, r#"scope.attributes["team"] == "x""#),
        (r#"set(cache["k"], "v")"#, r#"cache["k"] == "v""#),
    ] {
        check(statement, &[condition, r#"scope.version == "1.2.3""#]);
    }
}

#[test]
fn what_cannot_be_set_is_an_error() {
    check_fails(r"set(name, 1)", "set: expected a string but got an integer");
    check_fails(r#"set(kind, "a")"#, "set: expected an integer but got a string");
    check_fails(r#"set(kind.string, "a")"#, "set: there is no such kind of span");
    check_fails(r#"set(trace_id.string, "a")"#, "set: the id must have 32 hex digits");
    check_fails("set(trace_id, span_id)", "set: expected a trace id but got a span id");
    check_fails("set(flags, -1)", "set: flags have 32 bits");
    check_fails("set(attributes, 1)", "set: expected a map but got an integer");
    check_fails(r#"set(attributes["a"], trace_id)"#, {
        "set: expected a value that can be stored but got a trace id"
    });
    check_fails(r#"set(attributes["http.method"]["a"], 1)"#, {
        "set: expected a map or a list to set something in but got a string"
    });
    check_fails(r#"set(attributes["list"][3], 1)"#, "set: the index is out of bounds");
    check_fails(r#"set(attributes["list"]["a"], 1)"#, {
        "set: expected an integer as key of a list but got a string"
    });
    check_fails(r#"delete_key(attributes["absent"], "a")"#, {
        "delete_key: expected a map but got nil"
    });
}

#[test]
fn what_is_nil_or_equal_changes_nothing() {
    for statement in [
        r#"set(attributes["a"], attributes["absent"])"#,
        r#"set(name, "GET /cart")"#,
        r#"set(name, "x") where kind == SPAN_KIND_CLIENT"#,
        r#"delete_key(attributes, "absent")"#,
        r#"delete_matching_keys(attributes, "^absent")"#,
        r#"keep_matching_keys(attributes, ".*")"#,
        "limit(attributes, 100, [])",
        "truncate_all(attributes, 100)",
        r#"replace_pattern(name, "absent", "x")"#,
        r#"replace_pattern(attributes["http.status_code"], "5", "x")"#,
        r#"replace_match(name, "x*", "y")"#,
        r#"merge_maps(attributes, {}, "upsert")"#,
        r#"set(attributes["map"]["count"], 3)"#,
        "set_semconv_span_name(\"1.37.0\") where false",
    ] {
        assert!(!run(Context::Span, &[statement]).unwrap().is_changed(), "{statement}");
    }
}

#[test]
fn maps_are_cut_down() {
    check(
        r#"delete_key(attributes, "list")"#,
        &[r#"attributes["list"] == nil and attributes["map"] != nil"#],
    );
    check(r#"delete_key(attributes["map"], "name")"#, &[r#"attributes["map"] == {"count": 3}"#]);
    check(
        r#"delete_key(resource.attributes, "service.name")"#,
        &[
            r#"resource.attributes["service.name"] == nil and resource.dropped_attributes_count == 7"#,
        ],
    );
    check(
        r#"delete_matching_keys(attributes, "^http\\.")"#,
        &[r#"attributes["http.method"] == nil and attributes["retried"] == true"#],
    );
    check(r#"keep_keys(attributes, ["ratio", name, "retried"])"#, &["Len(attributes) == 2"]);
    check(r"keep_keys(attributes, [])", &["Len(attributes) == 0"]);
    check(r#"keep_matching_keys(attributes, "^http")"#, &["Len(attributes) == 2"]);
    check(
        r#"limit(attributes, 3, ["map"])"#,
        &[r#"Keys(attributes) == ["http.method", "http.status_code", "map"]"#],
    );
}

#[test]
fn values_are_cut_and_written_anew() {
    check(
        "truncate_all(attributes, 2)",
        &[r#"attributes["http.method"] == "GE" and attributes["http.status_code"] == 503"#],
    );
    let after =
        run(Context::Span, &[r#"set(attributes["u"], "aéb")"#, "truncate_all(attributes, 2)"]);
    after.unwrap().check("cutting a character", &[r#"attributes["u"] == "a""#]);
    check("truncate_all(attributes, 0, utf8_safe=false)", &[r#"attributes["http.method"] == """#]);
    check(
        "stringify_all(attributes)",
        &[
            r#"attributes["http.status_code"] == "503" and attributes["retried"] == "true""#,
            r#"attributes["map"] == "{\"count\":3,\"name\":\"inner\"}" and attributes["empty"] == """#,
            r#"attributes["blob"] == "yv4=" and attributes["ratio"] == "0.25""#,
        ],
    );
}

#[test]
fn text_is_replaced_by_pattern() {
    for (statement, condition) in [
        (r#"replace_pattern(name, "/[a-z]+", "/{}")"#, r#"name == "GET /{}""#),
        (r#"replace_pattern(name, "(\\w+) /(\\w+)", "$2:$1")"#, r#"name == "cart:GET""#),
        (r#"replace_pattern(name, "(?P<verb>[A-Z]+)", "${verb}x")"#, r#"name == "GETx /cart""#),
        (r#"replace_pattern(name, "[aeiou]", "_")"#, r#"name == "GET /c_rt""#),
        (
            r#"replace_pattern(name, "cart", "CART", ToLowerCase, "<%s>")"#,
            r#"name == "GET /<cart>""#,
        ),
        (r#"replace_pattern(name, "cart", "$0", function=SHA256)"#, {
            r#"name == Concat(["GET /", SHA256("cart")], "")"#
        }),
        (r#"replace_all_patterns(attributes, "value", "^G", "P")"#, {
            r#"attributes["http.method"] == "PET""#
        }),
        (r#"replace_all_patterns(attributes, "key", "^http\\.", "h_")"#, {
            r#"attributes["h_method"] == "GET" and attributes["http.method"] == nil"#
        }),
        (r#"replace_match(name, "GET *", "GET *")"#, r#"name == "GET *""#),
        (r#"replace_match(attributes["http.method"], "G?T", "a", SHA1)"#, {
            r#"attributes["http.method"] == SHA1("a")"#
        }),
        (
            r#"replace_all_matches(attributes, "G*", "any")"#,
            r#"attributes["http.method"] == "any""#,
        ),
    ] {
        check(statement, &[condition, r#"attributes["retried"] == true"#]);
    }
}

#[test]
fn keys_that_become_equal_are_one() {
    check(
        r#"replace_all_patterns(attributes, "key", "^http\\..*", "h")"#,
        &[r#"attributes["h"] == 503 and Len(attributes) == 8"#],
    );
}

#[test]
fn maps_are_merged_by_strategy() {
    let merged = |strategy: &str, conditions: &[&str]| {
        let source = r#"{"http.method": "PUT", "new": 1}"#;
        check(&format!(r#"merge_maps(attributes, {source}, "{strategy}")"#), conditions);
    };
    merged("insert", &[r#"attributes["http.method"] == "GET" and attributes["new"] == 1"#]);
    merged("update", &[r#"attributes["http.method"] == "PUT" and attributes["new"] == nil"#]);
    merged("upsert", &[r#"attributes["http.method"] == "PUT" and attributes["new"] == 1"#]);
    check(
        r#"merge_maps(attributes, attributes["map"], "upsert")"#,
        &[r#"attributes["name"] == "inner" and attributes["map"]["name"] == "inner""#],
    );
}

#[test]
fn maps_are_flattened() {
    check(
        "flatten(attributes)",
        &[
            r#"attributes["map.name"] == "inner" and attributes["map"] == nil"#,
            r#"attributes["list.0"] == "a" and attributes["list.2.deep"] == 9"#,
        ],
    );
    check(
        r#"flatten(attributes, "p", 1)"#,
        &[
            r#"attributes["p.map.name"] == "inner" and attributes["p.http.method"] == "GET""#,
            r#"attributes["p.list.2"] == {"deep": 9}"#,
        ],
    );
    check(
        "flatten(attributes, resolve_conflicts=true)",
        &[r#"attributes["list"] == "a" and attributes["list.0"] == 2"#],
    );
    check(r#"flatten(attributes["map"], "x")"#, &[r#"attributes["map"]["x.name"] == "inner""#]);
}

#[test]
fn lists_grow_and_shrink() {
    check(
        r#"append(attributes["list"], "b")"#,
        &[r#"Len(attributes["list"]) == 4 and attributes["list"][3] == "b""#],
    );
    check(
        r#"append(attributes["http.method"], values=["b", 3])"#,
        &[r#"attributes["http.method"] == ["GET", "b", 3]"#],
    );
    check(r#"append(attributes["new"], 1)"#, &[r#"attributes["new"] == [1]"#]);
    check(
        r#"delete_index(attributes["list"], 0)"#,
        &[r#"Len(attributes["list"]) == 2 and attributes["list"][0] == 2"#],
    );
    check(r#"delete_index(attributes["list"], 0, 3)"#, &[r#"attributes["list"] == []"#]);
    check_fails(r#"delete_index(attributes["list"], 3)"#, {
        "delete_index: the index is out of bounds"
    });
    check_fails(r#"append(attributes["map"], 1)"#, {
        "append: expected a list or a scalar but got a map"
    });
}

#[test]
fn a_span_gets_its_conventional_name() {
    check(
        r#"set_semconv_span_name("1.37.0", "was")"#,
        &[r#"name == "GET" and attributes["was"] == "GET /cart""#],
    );
    check(r#"set_semconv_span_name("1.37.0")"#, &[r#"name == "GET" and attributes["was"] == nil"#]);
}

#[test]
fn a_statement_sees_what_those_before_it_did() {
    let after = run(
        Context::Span,
        &[
            r#"set(cache["parts"], Split(name, " "))"#,
            r#"set(attributes["verb"], cache["parts"][0])"#,
            r#"set(name, attributes["verb"]) where attributes["verb"] != nil"#,
            r#"set(resource.attributes["verb"], name)"#,
            r#"delete_key(attributes, "verb") where resource.attributes["verb"] == "GET""#,
        ],
    );
    after.unwrap().check("all", &[
        r#"name == "GET" and attributes["verb"] == nil and resource.attributes["verb"] == "GET""#,
    ]);
}

#[test]
fn events_and_their_span_are_changed() {
    let check = |statement, conditions| check_in(Context::SpanEvent, statement, conditions);
    check(r#"set(name, "e")"#, &[r#"name == "e" and span.name == "GET /cart""#]);
    check("set(time_unix_nano, 3)", &["time_unix_nano == 3 and event_index == 0"]);
    check("set(time, span.start_time)", &["time == span.start_time"]);
    check("set(dropped_attributes_count, 8)", &["dropped_attributes_count == 8"]);
    check(r#"set(attributes["i"], event_index)"#, &[r#"attributes["i"] == 0"#]);
    check(r#"set(span.attributes["e"], name)"#, &[r#"span.attributes["e"] == "exception""#]);
}

#[test]
fn log_records_are_changed() {
    let check = |statement, conditions| check_in(Context::Log, statement, conditions);
    check(r#"set(body, "x")"#, &[r#"body == "x" and severity_number == 9"#]);
    check(r#"set(body, {"a": {"b": 1}})"#, &[r#"body["a"]["b"] == 1"#]);
    check(r#"set(body.string, "x")"#, &[r#"body == "x""#]);
    check("set(severity_number, SEVERITY_NUMBER_ERROR)", &["severity_number == 17"]);
    check(r#"set(severity_text, "E")"#, &[r#"severity_text == "E""#]);
    check("set(time_unix_nano, 4)", &["time_unix_nano == 4"]);
    check("set(observed_time, time)", &["observed_time_unix_nano == 0"]);
    check("set(observed_time_unix_nano, 4)", &["observed_time_unix_nano == 4"]);
    check("set(flags, 1)", &["flags == 1"]);
    check("set(dropped_attributes_count, 1)", &["dropped_attributes_count == 1"]);
    check(r#"set(event_name, "e")"#, &[r#"event_name == "e""#]);
    check(
        r#"set(trace_id.string, "000000000000000000000000000000ff")"#,
        &[r#"trace_id.string == "000000000000000000000000000000ff""#],
    );
    check(
        r"set(span_id, SpanID(0x00000000000000ff))",
        &[r#"span_id.string == "00000000000000ff""#],
    );
    check(r#"replace_pattern(body, "user \\d+", "user {}")"#, &[r#"body == "user {} came""#]);
    check(
        r#"merge_maps(attributes, ExtractPatterns(body, "user (?P<user>\\d+)"), "upsert")"#,
        &[r#"attributes["user"] == "17" and attributes["file"] == "a.rs""#],
    );
    let after = run(
        Context::Log,
        &[
            r#"set(body, {"a": 1, "l": [1]})"#,
            r#"set(body["a"], 2)"#,
            r#"set(body["l"][0], 3)"#,
            r#"delete_key(body, "absent")"#,
        ],
    );
    after.unwrap().check("all", &[r#"body["a"] == 2 and body["l"][0] == 3"#]);
    let error = run(Context::Log, &[r#"set(body["a"], 1)"#]).err().unwrap();
    assert_eq!(error, "set: expected a body that is a map or a list but got a string");
}

#[test]
fn resources_and_scopes_are_changed() {
    check_in(Context::Resource, r#"set(attributes["a"], "b")"#, &[r#"attributes["a"] == "b""#]);
    check_in(Context::Scope, r#"set(version, "2")"#, &[r#"version == "2" and name == "lib""#]);
    check_in(Context::Scope, r#"set(schema_url, "u")"#, &[r#"schema_url == "u""#]);
    check_in(
        Context::Scope,
        "set(dropped_attributes_count, 2)",
        &["dropped_attributes_count == 2"],
    );
    check_in(
        Context::Scope,
        r#"delete_key(resource.attributes, "service.name")"#,
        &[r#"resource.attributes["service.name"] == nil"#],
    );
}

#[test]
fn what_a_statement_does_not_name_stays_byte_for_byte() {
    let mut span = Writer::new();
    span.bytes(1, &TRACE_ID);
    span.bytes(100, b"unknown");
    span.message(9, |entry| {
        // The value first, and a field that OTLP does not know.
        entry.message(2, |any| any.bytes(1, b"v"));
        entry.bytes(1, b"kept");
        entry.varint(77, 1);
    });
    span.string_attribute(9, b"gone", b"x");
    span.varint(101, 5);
    let span = span.into_vec();
    let after = run_on(
        Context::Span,
        span.clone(),
        &[
            r#"delete_key(attributes, "gone")"#,
            r#"set(attributes["new"], 1)"#,
            r"set(status.code, 1)",
        ],
    );
    let after = after.unwrap();
    let changed = after.draft.changed(Part::Record).unwrap();
    let old: Vec<_> = Fields::new(&span).map(|field| field.raw).collect();
    let new: Vec<_> = Fields::new(changed).map(|field| field.raw).collect();
    let kept: Vec<_> = old.iter().filter(|raw| new.contains(raw)).collect();
    assert_eq!(kept.len(), old.len() - 1, "only one attribute is gone");
    assert_eq!(new.first(), old.first(), "the trace id is still the first field");
    assert_eq!(new.last(), old.last());
}

#[test]
fn errors_are_passed_over_or_end_the_run() {
    let texts = [r"set(name, 1)", r#"set(name, "b")"#].map(str::to_owned);
    let group = Group::parse(Signal::Traces, Some(Context::Span), &[], &texts).unwrap();
    for (flow, name) in [(ControlFlow::Continue(()), &b"b"[..]), (ControlFlow::Break(()), b"a")] {
        let mut span = Writer::new();
        span.bytes(5, b"a");
        let mut draft = Draft::new(Context::Span);
        draft.set_record(span.as_slice());
        let mut failed = Vec::new();
        let result = group.run(&mut draft, &mut |text, error| {
            failed.push(format!("{text}: {error}"));
            flow
        });
        assert_eq!(result.is_err(), flow.is_break());
        assert_eq!(failed, ["set(name, 1): set: expected a string but got an integer"]);
        assert_eq!(Span::read(draft.record()).name, name);
    }
}

#[test]
fn a_group_runs_only_where_a_condition_holds() {
    let conditions = [r#"name == "x""#, "kind == SPAN_KIND_SERVER"].map(str::to_owned);
    let statements = [r#"set(name, "done")"#.to_owned(), r"set(kind, 1)".to_owned()];
    let group =
        Group::parse(Signal::Traces, Some(Context::Span), &conditions, &statements).unwrap();
    let run = |kind| {
        let mut span = Writer::new();
        span.varint(6, kind);
        let mut draft = Draft::new(Context::Span);
        draft.set_record(span.into_vec());
        group.run(&mut draft, &mut |_, _| ControlFlow::Break(())).unwrap();
        let span = Span::read(draft.record());
        (span.name.to_vec(), span.kind)
    };
    assert_eq!(run(2), (b"done".to_vec(), 1));
    assert_eq!(run(3), (b"".to_vec(), 3));
}

#[test]
fn a_log_record_is_read_as_it_was_written() {
    let after = run(Context::Log, &[r#"set(attributes["n"], 1)"#]).unwrap();
    let log = LogRecord::read(after.draft.record());
    assert_eq!(log.attributes().count(), 2);
}
