//! The paths of the contexts besides spans.

use super::*;
use crate::wire::{LogRecord, Metric};

fn resource() -> Vec<u8> {
    let mut resource = Writer::new();
    resource.message(1, |resource| {
        resource.string_attribute(1, b"service.name", b"checkout");
        resource.varint(2, 7);
    });
    resource.bytes(3, b"https://resource");
    resource.into_vec()
}

fn scope() -> Vec<u8> {
    let mut scope = Writer::new();
    scope.message(1, |scope| {
        scope.bytes(1, b"lib");
        scope.bytes(2, b"1.2.3");
        scope.string_attribute(3, b"team", b"payments");
        scope.varint(4, 5);
    });
    scope.bytes(3, b"https://scope");
    scope.into_vec()
}

/// Checks that conditions hold for a record of `context`.
#[track_caller]
fn check(context: Context, record: &[u8], conditions: &[&str]) {
    let (resource, scope) = (resource(), scope());
    let resource = ResourceEntry { content: &resource };
    let scope = ScopeEntry { content: &scope };
    for text in conditions {
        let condition = Condition::parse(text, context)
            .unwrap_or_else(|error| panic!("{error}\n{}", error.caret(text)));
        let metric = MetricScope { resource, scope, metric: Metric::read(record) };
        let verdict = match context {
            Context::Resource => condition.matches(&ResourceScope { resource }),
            Context::Scope => condition.matches(&ScopeScope { resource, scope }),
            Context::Metric => condition.matches(&metric),
            Context::DataPoint => {
                let point = metric.metric.points().next().unwrap();
                condition.matches(&PointScope { metric: &metric, point })
            }
            Context::Log => {
                condition.matches(&LogScope { resource, scope, log: LogRecord::read(record) })
            }
            Context::Span | Context::SpanEvent => panic!("has tests of its own"),
        };
        assert_eq!(verdict, Ok(true), "{text}");
    }
}

#[test]
fn resources_and_scopes_have_paths() {
    check(
        Context::Resource,
        b"",
        &[
            r#"attributes["service.name"] == "checkout""#,
            r#"resource.attributes["absent"] == nil"#,
            "dropped_attributes_count == 7",
            r#"schema_url == "https://resource""#,
        ],
    );
    check(
        Context::Scope,
        b"",
        &[
            r#"name == "lib" and scope.version == "1.2.3""#,
            r#"instrumentation_scope.attributes["team"] == "payments""#,
            r#"dropped_attributes_count == 5 and schema_url == "https://scope""#,
            r#"resource.attributes["service.name"] == "checkout""#,
        ],
    );
}

fn metric(field: u32, fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut metric = Writer::new();
    metric.bytes(1, b"requests");
    metric.bytes(2, b"how many");
    metric.bytes(3, b"{request}");
    metric.message(field, fill);
    metric.string_attribute(12, b"source", b"test");
    metric.into_vec()
}

#[test]
fn metrics_have_paths() {
    let sum = metric(7, |sum| {
        sum.message(1, |point| point.string_attribute(7, b"method", b"GET"));
        sum.message(1, |point| point.string_attribute(7, b"method", b"PUT"));
        sum.varint(2, 2);
        sum.varint(3, 1);
    });
    check(
        Context::Metric,
        &sum,
        &[
            r#"name == "requests" and description == "how many" and unit == "{request}""#,
            "type == METRIC_DATA_TYPE_SUM",
            "aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE",
            "is_monotonic == true and Len(data_points) == 2",
            r#"metric.metadata["source"] == "test""#,
            r#"HasAttrKeyOnDatapoint("method") and not HasAttrKeyOnDatapoint("m")"#,
            r#"HasAttrOnDatapoint("method", "PUT") and not HasAttrOnDatapoint("method", "X")"#,
            r#"scope.name == "lib" and resource.attributes["service.name"] == "checkout""#,
        ],
    );
    let gauge = metric(5, |gauge| gauge.bytes(1, b""));
    check(
        Context::Metric,
        &gauge,
        &[
            "type == METRIC_DATA_TYPE_GAUGE and is_monotonic == nil",
            "aggregation_temporality == nil",
        ],
    );
    check(Context::Metric, b"", &["type == METRIC_DATA_TYPE_NONE and data_points == nil"]);
}

#[test]
fn numbers_have_paths() {
    let sum = metric(7, |sum| {
        sum.message(1, |point| {
            point.fixed64(2, 1_000);
            point.fixed64(3, 2_000);
            point.fixed64(6, 5);
            point.message(5, |_| {});
            point.string_attribute(7, b"method", b"GET");
            point.varint(8, 1);
        });
    });
    check(
        Context::DataPoint,
        &sum,
        &[
            r#"attributes["method"] == "GET" and value_int == 5"#,
            "value_double == 0.0 and flags == FLAG_NO_RECORDED_VALUE",
            "start_time_unix_nano == 1000 and time_unix_nano == 2000",
            "time - start_time == Duration(\"1us\")",
            "Len(exemplars) == 1 and count == nil and sum == nil and scale == nil",
            r#"metric.name == "requests" and metric.type == METRIC_DATA_TYPE_SUM"#,
        ],
    );
    let gauge = metric(5, |gauge| gauge.message(1, |point| point.double(4, 2.5)));
    check(Context::DataPoint, &gauge, &["value_double == 2.5 and value_int == 0"]);
}

#[test]
fn histograms_have_paths() {
    let histogram = metric(9, |histogram| {
        histogram.message(1, |point| {
            point.fixed64(4, 3);
            point.double(5, 7.5);
            point.packed_fixed64(6, [1, 2].into_iter());
            point.packed_fixed64(7, [4.0_f64.to_bits()].into_iter());
            point.string_attribute(9, b"method", b"GET");
            point.varint(10, 1);
        });
    });
    check(
        Context::DataPoint,
        &histogram,
        &[
            r#"count == 3 and sum == 7.5 and flags == 1 and attributes["method"] == "GET""#,
            "bucket_counts == [1, 2] and explicit_bounds == [4.0]",
            "value_int == nil and zero_count == nil and quantile_values == nil",
        ],
    );
    let exponential = metric(10, |histogram| {
        histogram.message(1, |point| {
            point.string_attribute(1, b"method", b"GET");
            point.fixed64(4, 6);
            point.double(5, 7.5);
            point.zigzag(6, -1);
            point.fixed64(7, 2);
            point.message(8, |buckets| {
                buckets.zigzag(1, -3);
                buckets.packed_varint(2, [1, 0, 3].into_iter());
            });
        });
    });
    check(
        Context::DataPoint,
        &exponential,
        &[
            r#"count == 6 and sum == 7.5 and attributes["method"] == "GET""#,
            "scale == -1 and zero_count == 2 and positive.offset == -3",
            "positive.bucket_counts == [1, 0, 3] and negative.bucket_counts == []",
            "negative.offset == 0 and positive != negative and positive == positive",
        ],
    );
    let summary = metric(11, |summary| {
        summary.message(1, |point| {
            point.fixed64(4, 6);
            point.double(5, 7.5);
            point.message(6, |quantile| quantile.double(1, 0.5));
        });
    });
    check(
        Context::DataPoint,
        &summary,
        &["count == 6 and sum == 7.5 and Len(quantile_values) == 1 and exemplars == nil"],
    );
}

#[test]
fn log_records_have_paths() {
    let log = |body: fn(&mut Writer)| {
        let mut log = Writer::new();
        log.fixed64(1, 1_000);
        log.varint(2, 17);
        log.bytes(3, b"ERROR");
        log.message(5, body);
        log.string_attribute(6, b"file", b"a.rs");
        log.varint(7, 4);
        log.fixed32(8, 1);
        log.bytes(9, &TRACE_ID);
        log.bytes(10, &SPAN_ID);
        log.fixed64(11, 2_000);
        log.bytes(12, b"device.crash");
        log.into_vec()
    };
    check(
        Context::Log,
        &log(|body| body.bytes(1, b"it broke")),
        &[
            r#"body == "it broke" and body.string == "it broke""#,
            "severity_number == SEVERITY_NUMBER_ERROR and severity_number >= SEVERITY_NUMBER_WARN",
            r#"severity_text == "ERROR" and attributes["file"] == "a.rs""#,
            "time_unix_nano == 1000 and observed_time_unix_nano == 2000 and time < observed_time",
            "dropped_attributes_count == 4 and flags == 1",
            r#"trace_id.string == "0102030405060708090a0b0c0d0e0fff" and trace_id == TraceID(0x0102030405060708090a0b0c0d0e0fff)"#,
            r#"span_id.string == "0a0b0c0d01020304" and event_name == "device.crash""#,
            r#"scope.name == "lib""#,
        ],
    );
    let list = |body: &mut Writer| {
        body.message(6, |map| {
            map.attribute(1, b"list", |any| {
                any.message(5, |list| list.message(1, |item| item.varint(3, 8)));
            });
        });
    };
    check(
        Context::Log,
        &log(list),
        &[
            r#"body["list"][0] == 8 and body["absent"] == nil and IsMap(body)"#,
            r#"body.string == "{\"list\":[8]}""#,
        ],
    );
    check(Context::Log, &log(|body| body.bytes(7, b"ab")), &[r#"body.string == "YWI=""#]);
    check(Context::Log, b"", &[r#"body == nil and body.string == """#]);
}

#[test]
fn a_body_that_holds_nothing_more_has_no_keys() {
    let mut log = Writer::new();
    log.message(5, |body| body.bytes(1, b"text"));
    let condition = Condition::parse(r#"body["a"] == 1"#, Context::Log).unwrap();
    let entry = ResourceEntry { content: b"" };
    let scope = LogScope {
        resource: entry,
        scope: ScopeEntry { content: b"" },
        log: LogRecord::read(log.as_slice()),
    };
    let error = condition.matches(&scope).unwrap_err().to_string();
    assert_eq!(error, "expected a map or a list to look into but got a string");
}
