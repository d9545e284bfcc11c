use serde_json::{Value, json};

use super::TransformConfig;
use crate::batch::Batch;
use crate::consumer::RejectedKind;
use crate::processor::ottl::testing::{batch, named, problems, process, records};
use crate::wire::{
    AnyValue, Fields, Layout, LogRecord, Metric, ResourceEntry, Signal, Span, Writer, resources,
};

/// What the processor makes of a batch.
async fn transformed(json: Value, batch: &Batch) -> Batch {
    process::<TransformConfig>(&json, batch).await.unwrap().unwrap()
}

fn names(batch: &Batch) -> Vec<&str> {
    let names = records(batch).into_iter().map(|span| Span::read(span).name);
    names.map(|name| str::from_utf8(name).unwrap()).collect()
}

fn spans() -> Batch {
    let services =
        [("cart", vec![named(5, "GET /1"), named(5, "query")]), ("shop", vec![named(5, "GET /2")])];
    batch(Signal::Traces, &services)
}

#[tokio::test]
async fn all_forms_of_a_statement_change_the_same() {
    let replace = r#"replace_pattern(span.name, "/\\d+", "/{id}")"#;
    for json in [
        json!({"trace_statements": [replace]}),
        json!({"trace_statements": [{"statements": [replace]}]}),
        json!({"trace_statements": [
            {"context": "span", "statements": [r#"replace_pattern(name, "/\\d+", "/{id}")"#]},
        ]}),
        json!({"trace_statements": [
            {"conditions": ["span.name != \"query\""], "statements": [replace]},
        ]}),
    ] {
        let done = transformed(json.clone(), &spans()).await;
        assert_eq!(names(&done), ["GET /{id}", "query", "GET /{id}"], "{json}");
    }
}

#[tokio::test]
async fn a_batch_that_no_statement_changes_goes_on_as_it_came() {
    let batch = spans();
    let statements = json!([r#"set(span.name, "x") where span.name == "absent""#]);
    let done = transformed(json!({"trace_statements": statements}), &batch).await;
    assert_eq!(done.bytes().as_ptr(), batch.bytes().as_ptr());
}

#[tokio::test]
async fn resources_and_scopes_are_changed_in_contexts_of_their_own() {
    let json = json!({"trace_statements": [
        r#"set(resource.attributes["env"], "prod") where resource.attributes["service.name"] == "cart""#,
    ]});
    let done = transformed(json, &spans()).await;
    let env: Vec<_> = resources(done.bytes())
        .map(|entry| entry.resource().attribute(b"env").and_then(AnyValue::as_string))
        .collect();
    assert_eq!(env, [Some(&b"prod"[..]), None]);
    let json = json!({"trace_statements": [
        {"context": "scope", "statements": [r#"set(version, "2")"#, r#"set(schema_url, "u")"#]},
        {"context": "resource", "statements": [r#"set(schema_url, "v")"#]},
    ]});
    let done = transformed(json, &spans()).await;
    for entry in resources(done.bytes()) {
        assert_eq!(entry.schema_url(), b"v");
        let scope = entry.scopes().next().unwrap();
        assert_eq!((scope.name(), scope.version()), (&b"lib"[..], &b"2"[..]));
        assert_eq!(scope.schema_url(), b"u");
    }
}

#[tokio::test]
async fn a_span_may_change_its_resource_and_those_behind_it_see_that() {
    let json = json!({"trace_statements": [
        r#"append(resource.attributes["seen"], span.name)"#,
        r#"set(span.attributes["before"], Len(resource.attributes["seen"]))"#,
        r#"set(scope.attributes["last"], span.name)"#,
    ]});
    let done = transformed(json, &spans()).await;
    let before: Vec<_> =
        records(&done).into_iter().map(|span| Span::read(span).attribute(b"before")).collect();
    assert_eq!(before, [1, 2, 1].map(|seen| Some(AnyValue::Int(seen))));
    let last: Vec<_> = resources(done.bytes())
        .flat_map(ResourceEntry::scopes)
        .map(|scope| scope.attribute(b"last").and_then(AnyValue::as_string).unwrap())
        .collect();
    assert_eq!(last, [&b"query"[..], b"GET /2"]);
}

#[tokio::test]
async fn events_and_their_span_are_changed_together() {
    let mut span = Writer::new();
    span.bytes(5, b"work");
    for name in ["a", "b", "c"] {
        span.message(11, |event| event.bytes(2, name.as_bytes()));
    }
    span.varint(99, 7);
    let batch = batch(Signal::Traces, &[("cart", vec![span.into_vec()])]);
    let json = json!({"trace_statements": [
        r#"set(spanevent.name, "B") where spanevent.name == "b""#,
        r#"set(span.attributes["last"], spanevent.event_index)"#,
    ]});
    let done = transformed(json, &batch).await;
    let [record] = records(&done)[..] else { panic!("one span") };
    let span = Span::read(record);
    let events: Vec<_> = span
        .events()
        .map(|event| Fields::new(event).next().unwrap().value.bytes().unwrap())
        .collect();
    assert_eq!(events, [b"a", b"B", b"c"]);
    assert_eq!(span.attribute(b"last"), Some(AnyValue::Int(2)));
    assert!(Fields::new(record).any(|field| field.number == 99), "unknown fields are kept");
}

fn metrics() -> Batch {
    let mut metric = Writer::new();
    metric.bytes(1, b"latency");
    metric.message(9, |histogram| {
        for count in [3, 4] {
            histogram.message(1, |point| {
                point.fixed64(4, count);
                point.double(5, 1.5);
            });
        }
        histogram.varint(2, 2);
    });
    batch(Signal::Metrics, &[("cart", vec![metric.into_vec()])])
}

#[tokio::test]
async fn data_points_and_their_metric_are_changed_together() {
    let json = json!({"metric_statements": [
        r#"set(datapoint.attributes["n"], datapoint.count) where datapoint.count == 4"#,
        r#"set(metric.unit, "s")"#,
    ]});
    let done = transformed(json, &metrics()).await;
    let [record] = records(&done)[..] else { panic!("one metric") };
    let metric = Metric::read(record);
    let points = metric.points().map(crate::wire::metric::HistogramDataPoint::read);
    let n: Vec<_> = points.map(|point| point.attributes().get(b"n")).collect();
    assert_eq!((metric.unit, n), (&b"s"[..], vec![None, Some(AnyValue::Int(4))]));
}

#[tokio::test]
async fn metrics_made_of_others_stand_behind_them_and_are_transformed_too() {
    let json = json!({"metric_statements": [
        r"extract_count_metric(true) where metric.type == METRIC_DATA_TYPE_HISTOGRAM",
        r#"set(metric.name, Concat(["app", metric.name], "."))"#,
    ]});
    let done = transformed(json, &metrics()).await;
    assert_eq!(done.items(), 4, "two points each");
    let names: Vec<_> = records(&done).into_iter().map(|raw| Metric::read(raw).name).collect();
    assert_eq!(names, [&b"app.latency"[..], b"app.latency_count"]);
}

#[tokio::test]
async fn a_copy_is_transformed_like_any_metric() {
    let json = json!({"metric_statements": [
        r#"copy_metric(name="second") where metric.name == "latency""#,
        r#"copy_metric(name="third") where metric.name == "second""#,
        r#"set(metric.unit, "s") where metric.name != "latency""#,
    ]});
    let done = transformed(json, &metrics()).await;
    let found: Vec<_> = records(&done).into_iter().map(Metric::read).collect();
    let found: Vec<_> = found.iter().map(|metric| (metric.name, metric.unit)).collect();
    assert_eq!(found, [(&b"latency"[..], &b""[..]), (b"second", b"s"), (b"third", b"s")]);
}

#[tokio::test]
async fn a_copy_that_would_be_copied_for_ever_fails_in_time() {
    let statements = json!(["copy_metric() where metric.unit == \"\""]);
    let done = transformed(json!({"metric_statements": statements}), &metrics()).await;
    assert_eq!(records(&done).len(), 65, "64 copies and no more");
    let json = json!({"error_mode": "propagate", "metric_statements": statements});
    let rejected = process::<TransformConfig>(&json, &metrics()).await.unwrap_err();
    assert_eq!(
        rejected.to_string(),
        "a statement failed: too many metrics were made of those of a scope: what a statement \
         makes must not fulfil its own condition"
    );
}

#[tokio::test]
async fn metrics_made_of_data_points_are_added_to_their_scope() {
    let mut summary = Writer::new();
    summary.bytes(1, b"latency");
    summary.message(11, |data| {
        for count in [3, 4] {
            data.message(1, |point| point.fixed64(4, count));
        }
    });
    let batch = batch(Signal::Metrics, &[("cart", vec![summary.into_vec()])]);
    let json = json!({"metric_statements": [{"context": "datapoint", "statements": [
        r#"convert_summary_count_val_to_sum("cumulative", true)"#,
        r#"set(attributes["seen"], metric.name)"#,
    ]}]});
    let done = transformed(json, &batch).await;
    let found: Vec<_> = records(&done).into_iter().map(Metric::read).collect();
    let sums = found.iter().filter(|metric| metric.name == b"latency_count");
    let seen = |raw| crate::wire::metric::NumberDataPoint::read(raw).attributes().get(b"seen");
    let seen: Vec<_> = sums.flat_map(Metric::points).map(seen).collect();
    assert_eq!(seen, vec![Some(AnyValue::String(b"latency_count")); 2]);
}

#[tokio::test]
async fn log_records_are_changed() {
    let mut log = Writer::new();
    log.message(5, |any| any.bytes(1, br#"{"user":{"id":17}}"#));
    let batch = batch(Signal::Logs, &[("cart", vec![log.into_vec()])]);
    let json = json!({"log_statements": [
        {"conditions": [r#"IsMatch(log.body, "^\\{")"#], "statements": [
            r#"merge_maps(log.cache, ParseJSON(log.body), "upsert")"#,
            r"flatten(log.cache)",
            r#"merge_maps(log.attributes, log.cache, "upsert")"#,
            r#"set(log.severity_text, "INFO")"#,
        ]},
    ]});
    let done = transformed(json, &batch).await;
    let [record] = records(&done)[..] else { panic!("one record") };
    let log = LogRecord::read(record);
    assert_eq!(log.attribute(b"user.id"), Some(AnyValue::Double(17.0)));
    assert_eq!(log.severity_text, b"INFO");
}

#[tokio::test]
async fn the_scratch_map_is_of_one_record() {
    let json = json!({"trace_statements": [
        r#"set(span.cache["x"], span.name) where span.name == "GET /1""#,
        r#"set(span.attributes["x"], span.cache["x"])"#,
    ]});
    let done = transformed(json, &spans()).await;
    let found =
        records(&done).into_iter().filter(|span| Span::read(span).attribute(b"x").is_some());
    assert_eq!(found.count(), 1);
}

#[tokio::test]
async fn a_statement_that_fails_is_passed_over_or_rejects_the_batch() {
    let statements = json!(["set(span.name, 1)", "set(span.kind, 3)"]);
    for mode in ["ignore", "silent"] {
        let json = json!({"error_mode": mode, "trace_statements": statements});
        let done = transformed(json, &spans()).await;
        assert!(records(&done).into_iter().all(|span| Span::read(span).kind == 3), "{mode}");
    }
    for json in [
        json!({"error_mode": "propagate", "trace_statements": statements}),
        json!({"trace_statements": [{"error_mode": "propagate", "statements": statements}]}),
    ] {
        let batch = spans();
        let rejected = process::<TransformConfig>(&json, &batch).await.unwrap_err();
        assert_eq!((rejected.kind, &rejected.batch), (RejectedKind::Permanent, &batch));
        let reason = "a statement failed: set: expected a string but got an integer";
        assert_eq!(rejected.to_string(), reason);
    }
}

#[tokio::test]
async fn trace_ids_are_found_where_they_were() {
    let span = |trailing: bool| {
        let mut span = Writer::new();
        if !trailing {
            span.bytes(1, &[7; 16]);
        }
        span.bytes(5, b"name");
        if trailing {
            span.bytes(1, &[7; 16]);
        }
        span.into_vec()
    };
    for (trailing, layout) in [(false, Layout::Leading), (true, Layout::Trailing)] {
        let batch = batch(Signal::Traces, &[("cart", vec![span(trailing)])]);
        let json = json!({"trace_statements": [r#"set(span.attributes["a"], "b")"#]});
        let done = transformed(json, &batch).await;
        assert_eq!((batch.layout(), done.layout()), (layout, layout));
        assert_eq!(done.trace_id(records(&done)[0]), [7; 16]);
    }
}

#[test]
fn everything_that_is_wrong_is_reported_with_its_place() {
    let found = problems::<TransformConfig>(&json!({
        "trace_statements": ["set(span.name, \"a\")", "ste(span.name, \"a\")"],
        "metric_statements": [
            {"context": "log", "statements": []},
            {"conditions": ["metric.nam == \"a\""], "statements": ["set(metric.type, 1)"]},
        ],
        "log_statements": ["set(body, \"a\")"],
    }));
    assert_eq!(
        found,
        [
            "a::trace_statements::1: unknown editor \"ste\", did you mean \"set\"?, at \
             `ste(span.name, \"a\")`",
            "a::metric_statements::0::context: metrics have no context \"log\"",
            "a::metric_statements::1::conditions::0: unknown path \"nam\" of a metric, did you mean \
             \"name\"?, at `metric.nam == \"a\"`",
            "a::metric_statements::1::statements::0: metric.type cannot be set: use \
             convert_sum_to_gauge or convert_gauge_to_sum, at `metric.type, 1)`",
            "a::log_statements: no path tells the context by its prefix (one of log, scope, \
             resource); give it with \"context\"",
        ]
    );
    let found = problems::<TransformConfig>(&json!({
        "trace_statements": [{"shared_cache": true}],
        "flatten_data": true,
    }));
    assert_eq!(
        found,
        [
            "a::flatten_data: not supported yet",
            "a::trace_statements::0::shared_cache: not supported yet"
        ]
    );
}
