use super::*;
use crate::wire::{Fields, Signal, Writer, check};

fn traces(span: &str) -> String {
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span}]}}]}}]}}"#)
}

fn gauge(point: &str) -> String {
    format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"gauge":{{"dataPoints":[{point}]}}}}]}}]}}]}}"#
    )
}

fn logs(record: &str) -> String {
    format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{record}]}}]}}]}}"#)
}

/// What was read from `json`, written again.
#[track_caller]
fn written_again(signal: Signal, json: &str) -> String {
    let request = decode(signal, json.as_bytes()).unwrap();
    check(signal, &request).unwrap();
    let mut again = Vec::new();
    encode(signal, &request, &mut again).unwrap();
    String::from_utf8(again).unwrap()
}

#[track_caller]
fn reads_as(signal: Signal, request: fn(&str) -> String, read: &str, written: &str) {
    assert_eq!(written_again(signal, &request(read)), request(written));
}

#[track_caller]
fn fails(signal: Signal, json: &str, error: &str) {
    let found = decode(signal, json.as_bytes()).unwrap_err().to_string();
    assert!(found.starts_with(error), "{found:?} should start with {error:?}");
}

#[test]
fn the_specifications_form_is_kept() {
    let span = r#"{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","traceState":"a=b","parentSpanId":"eee19b7ec3c1b173","flags":257,"name":"say \"hi\" ☃","kind":2,"startTimeUnixNano":"1544712660000000000","endTimeUnixNano":"18446744073709551615","attributes":[{"key":"s","value":{"stringValue":"v"}},{"key":"b","value":{"boolValue":true}},{"key":"i","value":{"intValue":"-9223372036854775808"}},{"key":"d","value":{"doubleValue":0.1}},{"key":"a","value":{"arrayValue":{"values":[{"stringValue":"x"},{}]}}},{"key":"m","value":{"kvlistValue":{"values":[{"key":"k","value":{"bytesValue":"AAEC/w=="}}]}}},{"key":"none"}],"droppedAttributesCount":1,"events":[{"timeUnixNano":"5","name":"e","attributes":[],"droppedAttributesCount":2}],"links":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","flags":1}],"status":{"message":"no","code":2}}"#;
    reads_as(Signal::Traces, traces, span, &span.replace(r#""attributes":[],"#, ""));
    let resource = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"cart"}}],"entityRefs":[{"schemaUrl":"u","type":"service","idKeys":["service.name"]}]},"scopeLogs":[{"scope":{"name":"lib","version":"1"},"logRecords":[{"timeUnixNano":"1","observedTimeUnixNano":"2","severityNumber":13,"severityText":"WARN","body":{"stringValue":"b"},"eventName":"e"}],"schemaUrl":"s"}],"schemaUrl":"r"}]}"#;
    assert_eq!(written_again(Signal::Logs, resource), resource);
    let metric = r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m","unit":"s","exponentialHistogram":{"dataPoints":[{"count":"3","sum":0.0,"scale":-3,"zeroCount":"1","positive":{"offset":-7,"bucketCounts":["1","300"]},"min":-1.5,"zeroThreshold":1e-300}],"aggregationTemporality":2}},{"histogram":{"dataPoints":[{"bucketCounts":["0","18446744073709551615"],"explicitBounds":[0.5,"Infinity"]}]}},{"summary":{"dataPoints":[{"quantileValues":[{"quantile":0.5,"value":"NaN"}]}]}},{"sum":{"dataPoints":[{"asInt":"0","exemplars":[{"asDouble":"-Infinity"}]}],"isMonotonic":true}}]}]}]}"#;
    assert_eq!(written_again(Signal::Metrics, metric), metric);
}

#[test]
fn integers_are_read_from_numbers_and_strings() {
    for json in ["7", r#""7""#, "7.0", "0.7e1"] {
        reads_as(
            Signal::Traces,
            traces,
            &format!(r#"{{"startTimeUnixNano":{json}}}"#),
            r#"{"startTimeUnixNano":"7"}"#,
        );
        reads_as(Signal::Traces, traces, &format!(r#"{{"flags":{json}}}"#), r#"{"flags":7}"#);
        reads_as(Signal::Metrics, gauge, &format!(r#"{{"asInt":{json}}}"#), r#"{"asInt":"7"}"#);
        reads_as(
            Signal::Metrics,
            gauge,
            &format!(r#"{{"asDouble":{json}}}"#),
            r#"{"asDouble":7.0}"#,
        );
    }
    reads_as(Signal::Metrics, gauge, r#"{"asInt":"-7"}"#, r#"{"asInt":"-7"}"#);
}

#[test]
fn numbers_out_of_range_are_refused_with_their_path() {
    let path = "resourceSpans[0].scopeSpans[0].spans[0]";
    for json in ["-1", r#""18446744073709551616""#, "18446744073709551616", "0.5", r#""x""#, "{}"] {
        let span = traces(&format!(r#"{{"startTimeUnixNano":{json}}}"#));
        fails(Signal::Traces, &span, &format!("{path}.startTimeUnixNano: invalid "));
    }
    let span = traces(r#"{"name":"ok","flags":4294967296}"#);
    fails(Signal::Traces, &span, &format!("{path}.flags: invalid value"));
    let point = gauge(r#"{"asDouble":"1e999"}"#);
    fails(
        Signal::Metrics,
        &point,
        "resourceMetrics[0].scopeMetrics[0].metrics[0].gauge.dataPoints[0].asDouble: invalid value",
    );
}

#[test]
fn doubles_are_read_from_words() {
    for (read, written) in [("NaN", "NaN"), ("Infinity", "Infinity"), ("-inf", "-Infinity")] {
        reads_as(
            Signal::Metrics,
            gauge,
            &format!(r#"{{"asDouble":"{read}"}}"#),
            &format!(r#"{{"asDouble":"{written}"}}"#),
        );
    }
    reads_as(Signal::Metrics, gauge, r#"{"asDouble":"1.5e3"}"#, r#"{"asDouble":1500.0}"#);
}

#[test]
fn enums_are_read_from_numbers_and_names() {
    reads_as(Signal::Traces, traces, r#"{"kind":"SPAN_KIND_SERVER"}"#, r#"{"kind":2}"#);
    reads_as(
        Signal::Traces,
        traces,
        r#"{"status":{"code":"STATUS_CODE_ERROR"}}"#,
        r#"{"status":{"code":2}}"#,
    );
    reads_as(Signal::Traces, traces, r#"{"kind":-5}"#, r#"{"kind":-5}"#);
    reads_as(
        Signal::Logs,
        logs,
        r#"{"severityNumber":"SEVERITY_NUMBER_FATAL4"}"#,
        r#"{"severityNumber":24}"#,
    );
    fails(
        Signal::Traces,
        &traces(r#"{"kind":"SERVER"}"#),
        r#"resourceSpans[0].scopeSpans[0].spans[0].kind: invalid value: string "SERVER", expected a known name"#,
    );
}

#[test]
fn ids_are_hex_of_any_case_and_the_right_length() {
    let upper = r#"{"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":""}"#;
    reads_as(
        Signal::Traces,
        traces,
        upper,
        &upper.to_lowercase().replace("traceid", "traceId").replace("spanid", "spanId"),
    );
    let path = "resourceSpans[0].scopeSpans[0].spans[0]";
    for id in [
        "5b",
        "5b8efff798038103d269b633813fc60",
        "W47/95gDgQPSabYzgT/GDA==",
        "zz8efff798038103d269b633813fc60c",
    ] {
        fails(
            Signal::Traces,
            &traces(&format!(r#"{{"traceId":"{id}"}}"#)),
            &format!("{path}.traceId: invalid "),
        );
    }
    fails(
        Signal::Traces,
        &traces(r#"{"events":[],"links":[{},{"spanId":"00"}]}"#),
        &format!("{path}.links[1].spanId: invalid length 2, expected an id of 16 hex digits"),
    );
}

#[test]
fn names_are_read_in_both_forms_and_unknown_ones_ignored() {
    let json = r#"{"resource_logs":[{"scope_logs":[{"log_records":[{"time_unix_nano":1,"severity_number":1,"new":{"a":[1,{"b":null}]},"TraceId":"x","trace_Id":"x","body":{"kvlist_value":{}}}]}]}],"more":1}"#;
    let expected = logs(r#"{"timeUnixNano":"1","severityNumber":1,"body":{"kvlistValue":{}}}"#);
    assert_eq!(written_again(Signal::Logs, json), expected);
}

#[test]
fn null_is_as_if_absent() {
    let nulls = r#"{"traceId":null,"kind":null,"attributes":null,"status":null,"startTimeUnixNano":null,"links":null}"#;
    reads_as(Signal::Traces, traces, nulls, "{}");
    assert_eq!(decode(Signal::Traces, b"null"), Ok(Vec::new()));
}

#[test]
fn null_in_an_array_is_empty() {
    reads_as(Signal::Traces, traces, r#"{"links":[null,{}]}"#, r#"{"links":[{},{}]}"#);
    assert_eq!(written_again(Signal::Traces, &traces("null")), traces("{}"));
    let json = r#"{"resourceLogs":[{"resource":{"entityRefs":[{"idKeys":[null,"a"]}]}}]}"#;
    assert_eq!(written_again(Signal::Logs, json), json.replace("null", r#""""#));
    let counts = gauge("{}").replace("gauge", "histogram");
    let counts = counts.replace("{}", r#"{"bucketCounts":[null]}"#);
    let path = "resourceMetrics[0].scopeMetrics[0].metrics[0].histogram.dataPoints[0]";
    fails(Signal::Metrics, &counts, &format!("{path}.bucketCounts[0]: invalid type: null"));
}

#[test]
fn bytes_are_read_from_every_base64_that_is_seen() {
    let record = |text: &str| format!(r#"{{"body":{{"bytesValue":"{text}"}}}}"#);
    let spellings =
        ["+/+/8A==", "-_-_8A==", "+/+/8A", "+/+/8B==", "+/+/\\r\\n8A==", "+\\/+\\/8A=="];
    for text in spellings {
        reads_as(Signal::Logs, logs, &record(text), &record("+/+/8A=="));
    }
    reads_as(Signal::Logs, logs, &record(""), &record(""));
    let path = "resourceLogs[0].scopeLogs[0].logRecords[0].body.bytesValue";
    for text in ["+/+/8", "+/+/=8A=", "+ /"] {
        let error = format!(r#"{path}: invalid value: string "{text}", expected base64"#);
        fails(Signal::Logs, &logs(&record(text)), &error);
    }
}

#[test]
fn half_a_character_is_replaced_and_not_refused() {
    let replaced = |text: &str, written: &str| {
        let span = |name: &str| format!(r#"{{"name":"{name}"}}"#);
        assert_eq!(written_again(Signal::Traces, &traces(&span(text))), traces(&span(written)));
    };
    replaced(r"cut \ud83d", "cut \u{fffd}");
    replaced(r"\ude00 cut \ud83dx", "\u{fffd} cut \u{fffd}x");
    replaced(r"whole \ud83d\ude00", "whole 😀");
    let latin_1 = traces(r#"{"name":"caf~"}"#).replace('~', "\u{7f}").into_bytes();
    let latin_1: Vec<u8> =
        latin_1.into_iter().map(|byte| if byte == 0x7f { 0xe9 } else { byte }).collect();
    let request = decode(Signal::Traces, &latin_1).unwrap();
    let mut again = Vec::new();
    encode(Signal::Traces, &request, &mut again).unwrap();
    assert_eq!(String::from_utf8(again).unwrap(), traces("{\"name\":\"caf\u{fffd}\"}"));
}

#[test]
fn names_are_not_read_in_another_case() {
    reads_as(
        Signal::Traces,
        traces,
        r#"{"Name":"x","NAME":"x","traceid":"x","name":"n"}"#,
        r#"{"name":"n"}"#,
    );
}

#[test]
fn of_a_oneof_the_last_counts() {
    reads_as(Signal::Metrics, gauge, r#"{"asInt":1,"asDouble":2.5}"#, r#"{"asDouble":2.5}"#);
    reads_as(
        Signal::Logs,
        logs,
        r#"{"body":{"stringValue":"a","intValue":1}}"#,
        r#"{"body":{"intValue":"1"}}"#,
    );
    let arrays = r#"{"body":{"arrayValue":{"values":[{"intValue":1}]},"boolValue":true,"arrayValue":{"values":[{"intValue":2}]},"arrayValue":{"values":[{"intValue":3}]}}}"#;
    let last = r#"{"body":{"arrayValue":{"values":[{"intValue":"2"},{"intValue":"3"}]}}}"#;
    reads_as(Signal::Logs, logs, arrays, last);
}

#[test]
fn text_that_is_no_request_is_refused() {
    for (json, error) in [
        ("", "EOF while parsing"),
        ("[]", "invalid type: sequence, expected an object (ExportTraceServiceRequest)"),
        ("{", "EOF while parsing"),
        ("{} {}", "trailing characters"),
        (r#"{"resourceSpans":{}}"#, "resourceSpans: invalid type: map, expected an array"),
        (r#"{"resourceSpans":[1]}"#, "resourceSpans[0]: invalid type: integer `1`"),
        (r#"{"resourceSpans":[{"schemaUrl":7}]}"#, "resourceSpans[0].schemaUrl: invalid type"),
    ] {
        fails(Signal::Traces, json, error);
    }
    assert_eq!(decode(Signal::Traces, b"{}"), Ok(Vec::new()));
}

#[test]
fn nesting_is_bounded_both_ways() {
    let nested = |depth: usize| {
        let (open, close) = (r#"{"arrayValue":{"values":["#, "]}}");
        logs(&format!(r#"{{"body":{}{{}}{}}}"#, open.repeat(depth), close.repeat(depth)))
    };
    assert_eq!(written_again(Signal::Logs, &nested(35)), nested(35));
    let error = decode(Signal::Logs, nested(50).as_bytes()).unwrap_err();
    assert!(error.reason.starts_with("recursion limit exceeded"), "{error}");

    let mut value = Vec::new();
    for _ in 0..200 {
        let mut writer = Writer::new();
        writer.message(5, |array| array.bytes(1, &value));
        value = writer.into_vec();
    }
    let mut writer = Writer::new();
    writer.message(1, |entry| {
        entry.message(2, |scope| scope.message(2, |record| record.bytes(5, &value)));
    });
    let mut json = b"before".to_vec();
    let error = encode(Signal::Logs, writer.as_slice(), &mut json).unwrap_err();
    assert_eq!(error.reason, "nested deeper than 126 levels");
    assert_eq!(json, b"before");
}

#[test]
fn a_malformed_message_inside_is_not_written() {
    let mut writer = Writer::new();
    writer.message(1, |entry| {
        entry.message(2, |scope| scope.message(2, |span| span.bytes(9, &[0x0a, 5])));
    });
    let error = encode(Signal::Traces, writer.as_slice(), &mut Vec::new()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "resourceSpans[0].scopeSpans[0].spans[0].attributes[0]: truncated or corrupt KeyValue"
    );
}

#[test]
fn numbers_are_packed() {
    let json =
        gauge("{}").replace("gauge", "histogram").replace("{}", r#"{"bucketCounts":[1,"2"]}"#);
    let mut content = decode(Signal::Metrics, json.as_bytes()).unwrap();
    for number in [1, 2, 2, 9, 1, 6] {
        let field = Fields::new(&content).next().unwrap();
        assert_eq!(field.number, number);
        content = field.value.bytes().unwrap().to_vec();
    }
    assert_eq!(content, [1_u64.to_le_bytes(), 2_u64.to_le_bytes()].concat());
}
