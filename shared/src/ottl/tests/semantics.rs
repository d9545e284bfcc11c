//! What operators and paths mean.

use super::*;

#[test]
fn every_path_of_a_span_is_read() {
    check_true(&[
        "trace_id == TraceID(0x0102030405060708090a0b0c0d0e0fff)",
        "trace_id.string == \"0102030405060708090a0b0c0d0e0fff\"",
        "span_id == SpanID(\"0a0b0c0d01020304\")",
        "span_id.string == \"0a0b0c0d01020304\"",
        "parent_span_id == SpanID(0x0000000000000000)",
        "parent_span_id.string == \"0000000000000000\"",
        "trace_state == \"ot=th:8,vendor=x\"",
        "trace_state[\"vendor\"] == \"x\"",
        "name == \"GET /cart\" and span.name == name",
        "kind == SPAN_KIND_SERVER and kind == 2",
        "kind.string == \"Server\"",
        "kind.deprecated_string == \"SPAN_KIND_SERVER\"",
        "start_time_unix_nano == 1700000000000000000",
        "end_time_unix_nano - start_time_unix_nano == 1500000000",
        "end_time - start_time == Duration(\"1.5s\")",
        "attributes[\"http.method\"] == \"GET\"",
        "span.attributes[\"http.status_code\"] == 503",
        "dropped_attributes_count == 3",
        "Len(events) == 2 and Len(links) == 1",
        "dropped_events_count == 4",
        "dropped_links_count == 5",
        "status.code == STATUS_CODE_ERROR",
        "status.message == \"boom\"",
        "flags == 257",
    ]);
}

#[test]
fn what_a_condition_needs_is_what_it_surely_does_not_hold_without() {
    let check = |text: &str, expected: &[&str]| {
        let condition = Condition::parse(text, Context::Span).unwrap();
        let needed = condition.needed_attributes();
        assert_eq!(needed, expected.iter().map(|key| key.as_bytes()).collect::<Vec<_>>(), "{text}");
    };
    check("attributes[\"a\"] == \"x\"", &["a"]);
    check("1 < attributes[\"a\"]", &["a"]);
    check("attributes[\"a\"] != nil", &["a"]);
    check("attributes[\"a\"] == 1 and span.attributes[\"b\"] > 2", &["a", "b"]);
    // What stands behind something that may fail may not be evaluated at all.
    check("attributes[\"a\"] == 1 and IsMatch(name, \"x\") and attributes[\"b\"] == 2", &["a"]);
    for text in [
        "attributes[\"a\"] == nil",
        "attributes[\"a\"] != \"x\"",
        "attributes[\"a\"][\"b\"] == \"x\"",
        "attributes[\"a\"] == attributes[\"b\"]",
        "attributes[\"a\"] == 1 or attributes[\"b\"] == 2",
        "not (attributes[\"a\"] == 1)",
        "resource.attributes[\"a\"] == 1",
    ] {
        check(text, &[]);
    }
    let of_event = Condition::parse("attributes[\"a\"] == 1", Context::SpanEvent).unwrap();
    assert!(of_event.needed_attributes().is_empty());
}

#[test]
fn resource_and_scope_are_read() {
    check_true(&[
        "resource.attributes[\"service.name\"] == \"checkout\"",
        "resource.dropped_attributes_count == 7",
        "resource.schema_url == \"https://resource\"",
        "instrumentation_scope.name == \"lib\" and scope.name == \"lib\"",
        "scope.version == \"1.2.3\"",
        "instrumentation_scope.attributes[\"team\"] == \"payments\"",
        "scope.dropped_attributes_count == 5",
        "scope.schema_url == \"https://scope\"",
        "Len(resource.attributes) == 2",
    ]);
}

#[test]
fn events_are_read_with_their_span() {
    let fixture = Fixture::usual();
    let scope = fixture.scope();
    let event = scope.span.events().next().unwrap();
    let scope = EventScope { span: &scope, event };
    for text in [
        "name == \"exception\" and spanevent.name == name",
        "attributes[\"exception.type\"] == \"Timeout\"",
        "spanevent.dropped_attributes_count == 2",
        "time_unix_nano == 1700000000100000000",
        "time - span.start_time == Duration(\"100ms\")",
        "span.name == \"GET /cart\" and resource.attributes[\"service.name\"] == \"checkout\"",
        "span.status.code == STATUS_CODE_ERROR and scope.name == \"lib\"",
    ] {
        let condition = Condition::parse(text, Context::SpanEvent).unwrap();
        assert_eq!(condition.matches(&scope), Ok(true), "{text}");
    }
    let condition = Condition::parse("spanevent.event_index == 0", Context::SpanEvent).unwrap();
    let error = condition.matches(&scope).unwrap_err().to_string();
    assert_eq!(error, "\"event_index\" is not set in this condition");
}

#[test]
fn a_span_without_fields_reads_as_zeros() {
    let fixture = Fixture::with_span(Vec::new());
    for text in [
        "trace_id.string == \"00000000000000000000000000000000\"",
        "name == \"\" and trace_state == \"\" and status.message == \"\"",
        "kind == SPAN_KIND_UNSPECIFIED and kind.string == \"Unspecified\"",
        "status.code == STATUS_CODE_UNSET",
        "start_time == end_time and Len(events) == 0",
        "attributes[\"x\"] == nil and Len(attributes) == 0 and IsRootSpan()",
        "trace_state[\"x\"] == \"\"",
    ] {
        assert_eq!(verdict_on(text, &fixture), Ok(true), "{text}");
    }
    let mut span = Writer::new();
    span.varint(6, 9);
    span.bytes(3, b"not valid");
    let fixture = Fixture::with_span(span.into_vec());
    for text in ["kind == 9 and kind.string == \"\"", "trace_state[\"x\"] == nil"] {
        assert_eq!(verdict_on(text, &fixture), Ok(true), "{text}");
    }
}

#[test]
fn nil_equals_only_nil() {
    check_true(&[
        "attributes[\"absent\"] == nil",
        "attributes[\"empty\"] == nil",
        "attributes[\"no_blob\"] == nil",
        "attributes[\"no_blob\"] == attributes[\"absent\"]",
        "nil == attributes[\"absent\"]",
        "nil <= nil and nil >= nil",
        "attributes[\"absent\"] != 0 and attributes[\"absent\"] != \"\"",
        "attributes[\"http.method\"] != nil",
        "cache[\"x\"] == nil and Len(cache) == 0",
    ]);
    check_false(&[
        "nil != nil",
        "nil < nil or nil > nil",
        "attributes[\"absent\"] == \"\"",
        "attributes[\"absent\"] < 1 or attributes[\"absent\"] > 1",
        "parent_span_id == nil",
        "name == nil",
    ]);
}

#[test]
fn numbers_of_different_types_compare_as_doubles() {
    check_true(&[
        "attributes[\"http.status_code\"] == 503.0",
        "503.5 > attributes[\"http.status_code\"]",
        "attributes[\"ratio\"] < 1 and attributes[\"ratio\"] >= 0.25",
        "9007199254740993 == 9007199254740992.0",
        "-0.0 == 0",
    ]);
}

#[test]
fn of_other_mixed_types_only_not_equal_is_true() {
    for pair in ["\"1\" {} 1", "true {} 1", "0x01 {} \"01\"", "Duration(\"1s\") {} 1000000000"] {
        for operator in ["==", "<", "<=", ">", ">="] {
            check_false(&[&pair.replace("{}", operator)]);
        }
        check_true(&[&pair.replace("{}", "!=")]);
    }
    check_false(&["trace_id == 0x0102030405060708090a0b0c0d0e0fff"]);
    check_false(&["span_id == \"0a0b0c0d01020304\""]);
    check_true(&["trace_id != span_id", "start_time != start_time_unix_nano"]);
}

#[test]
fn booleans_strings_and_bytes_have_an_order() {
    check_true(&[
        "attributes[\"retried\"] == true and attributes[\"retried\"] > false",
        "false <= false and false < true and not true < false",
        "\"a\" < \"b\" and \"a\" < \"aa\" and \"Z\" < \"a\"",
        "attributes[\"blob\"] == 0xcafe and attributes[\"blob\"] > 0xca",
    ]);
}

#[test]
fn ids_maps_lists_and_messages_have_none() {
    check_true(&[
        "trace_id == trace_id and not trace_id != trace_id",
        "status == status and events == events and events != links",
        "attributes[\"map\"] == {\"count\": 3, \"name\": \"inner\"}",
        "attributes[\"list\"] == [\"a\", 2, {\"deep\": 9}]",
        "[1] != [1.0] and [1, 2] != [2, 1] and {\"a\": 1} != {}",
        "Split(\"a,b\", \",\") == [\"a\", \"b\"]",
        "attributes == attributes and attributes != resource.attributes",
    ]);
    check_false(&[
        "trace_id < trace_id or trace_id <= trace_id",
        "attributes[\"map\"] <= attributes[\"map\"]",
        "[1] >= [1]",
    ]);
}

#[test]
fn keys_go_into_maps_and_lists() {
    check_true(&[
        "attributes[\"map\"][\"name\"] == \"inner\"",
        "attributes[\"map\"][\"absent\"] == nil",
        "attributes[\"map\"][\"absent\"][\"deeper\"] == nil",
        "attributes[\"absent\"][\"deeper\"] == nil",
        "attributes[\"list\"][0] == \"a\"",
        "attributes[\"list\"][2][\"deep\"] == 9",
        "attributes[\"list\"][attributes[\"map\"][\"count\"] - 2] == 2",
        "attributes[Concat([\"http\", \"method\"], \".\")] == \"GET\"",
        "Split(name, \" \")[1] == \"/cart\"",
        "{\"a\": 1} == {\"a\": 2, \"a\": 1}",
    ]);
    check_error("attributes[\"list\"][3] == 1", "the index is out of bounds");
    check_error("attributes[\"list\"][-1] == 1", "the index is out of bounds");
    check_error(
        "attributes[\"list\"][\"x\"] == 1",
        "expected an integer as key of a list but got a string",
    );
    check_error(
        "attributes[\"map\"][0] == 1",
        "expected a string as key of a map but got an integer",
    );
    check_error(
        "attributes[\"http.method\"][\"x\"] == 1",
        "expected a map or a list to look into but got a string",
    );
    check_error("attributes[0] == 1", "expected a string as key but got an integer");
    check_error(
        "attributes[name][\"x\"] == attributes[kind]",
        "expected a string as key but got an integer",
    );
    check_error("Split(name, \" \")[2] == \"\"", "the index is out of bounds");
    check_error("ParseJSON(\"{}\")[\"x\"] == nil", "the key is not in the map");
}

#[test]
fn arithmetic_follows_go() {
    check_true(&[
        "1 + 2 * 3 == 7 and (1 + 2) * 3 == 9 and 7 / 2 == 3 and -7 / 2 == -3",
        "7 / 2.0 == 3.5 and 1 + 0.5 == 1.5",
        "-attributes[\"http.status_code\"] == -503",
        "-(2 + 3) == -5 and 1 - -1 == 2",
        "9223372036854775807 + 1 == -9223372036854775807 - 1",
        "end_time == start_time + Duration(\"1500ms\")",
        "Duration(\"1s\") + start_time == end_time - Duration(\"500ms\")",
        "Duration(\"1m\") - Duration(\"30s\") == Duration(\"30s\")",
    ]);
    check_error("flags / 0 == 1", "divided by zero");
    check_error("1 / 0 == 1", "divided by zero");
    check_error("flags / 0.0 == 1", "divided by zero");
    check_error(
        "attributes[\"absent\"] + 1 == 1",
        "expected a number, a time or a duration but got nil",
    );
    check_error("1 + name == 1", "expected a number but got a string");
    check_error("-name == 1", "expected a number but got a string");
    check_error(
        "start_time * Duration(\"1s\") == 1",
        "times and durations can only be added and subtracted",
    );
    check_error("start_time + start_time == 1", "expected a duration but got a time");
    check_error("Duration(\"1s\") - start_time == 1", "expected a duration but got a time");
}

#[test]
fn errors_reach_the_caller_unless_the_verdict_is_clear_before() {
    check_true(&["true or HasPrefix(attributes[\"absent\"], \"x\")"]);
    check_true(&["name != \"\" or HasPrefix(attributes[\"absent\"], \"x\")"]);
    check_false(&["name == \"\" and HasPrefix(attributes[\"absent\"], \"x\")"]);
    check_error(
        "HasPrefix(attributes[\"absent\"], \"x\") or true == attributes[\"retried\"]",
        "HasPrefix: expected a string but got nil",
    );
    check_error(
        "not HasPrefix(nil_free, \"x\")".replace("nil_free", "kind").as_str(),
        "HasPrefix: expected a string but got an integer",
    );
    // A literal decides wherever it stands; what is found to be constant does not.
    check_false(&["HasPrefix(attributes[\"absent\"], \"x\") and false"]);
    check_true(&["HasPrefix(attributes[\"absent\"], \"x\") or 1 == 1"]);
    check_error(
        "HasPrefix(attributes[\"absent\"], \"x\") and IsMatch(\"a\", \"b\")",
        "HasPrefix: expected a string but got nil",
    );
}

#[test]
fn a_condition_must_give_a_boolean() {
    check_error("Len(name)", "expected a boolean but got an integer");
    check_error("Coalesce([nil])", "expected a boolean but got nil");
    check_true(&["Coalesce([attributes[\"absent\"], true])"]);
}

#[test]
fn a_condition_on_another_record_is_an_error_not_a_panic() {
    let fixture = Fixture::usual();
    let condition = Condition::parse("name == \"x\"", Context::SpanEvent).unwrap();
    let error = condition.matches(&fixture.scope()).unwrap_err();
    assert_eq!(error.to_string(), "the condition was parsed for another kind of record");
}
