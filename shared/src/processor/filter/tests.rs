use serde_json::{Value, json};

use super::FilterConfig;
use crate::batch::Batch;
use crate::consumer::RejectedKind;
use crate::processor::ottl::testing::{batch, named, problems, process, records};
use crate::wire::{LogRecord, Metric, Signal, Span, Writer, resources};

/// The names of the spans that are left.
async fn spans_left(json: Value, batch: &Batch) -> Vec<String> {
    match process::<FilterConfig>(&json, batch).await.unwrap() {
        Some(left) => records(&left).into_iter().map(|span| text(Span::read(span).name)).collect(),
        None => Vec::new(),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn spans() -> Batch {
    let server = |name: &str| {
        let mut span = Writer::new();
        span.bytes(5, name.as_bytes());
        span.varint(6, 2);
        span.into_vec()
    };
    let services = [
        ("cart", vec![server("GET /health"), server("GET /cart"), named(5, "query")]),
        ("shop", vec![server("GET /health")]),
    ];
    batch(Signal::Traces, &services)
}

#[tokio::test]
async fn spans_are_dropped_with_what_held_them() {
    let health = r#"IsMatch(span.name, "/health$") and span.kind == SPAN_KIND_SERVER"#;
    let json = json!({"trace_conditions": [health]});
    let left = process::<FilterConfig>(&json, &spans()).await.unwrap().unwrap();
    assert_eq!((left.items(), resources(left.bytes()).count()), (2, 1), "shop has nothing left");
    assert_eq!(spans_left(json, &spans()).await, ["GET /cart", "query"]);
}

#[tokio::test]
async fn a_batch_that_loses_nothing_goes_on_as_it_came() {
    let json = json!({"trace_conditions": ["span.name == \"absent\""]});
    let batch = spans();
    let left = process::<FilterConfig>(&json, &batch).await.unwrap().unwrap();
    assert_eq!(left.bytes().as_ptr(), batch.bytes().as_ptr());
}

#[tokio::test]
async fn a_batch_that_loses_everything_is_not_passed_on() {
    for condition in ["resource.attributes[\"service.name\"] != nil", "scope.name == \"lib\""] {
        let json = json!({"trace_conditions": [condition]});
        assert!(process::<FilterConfig>(&json, &spans()).await.unwrap().is_none(), "{condition}");
    }
}

#[tokio::test]
async fn all_forms_of_a_condition_drop_the_same() {
    for json in [
        json!({"trace_conditions": ["span.name == \"query\""]}),
        json!({"trace_conditions": [{"conditions": ["span.name == \"query\""]}]}),
        json!({"trace_conditions": [{"context": "Span", "conditions": ["name == \"query\""]}]}),
        json!({"traces": {"span": ["name == \"query\""]}}),
        json!({"traces": {"span": ["name == \"absent\"", "span.name == \"query\""]}}),
    ] {
        let left = spans_left(json.clone(), &spans()).await;
        assert_eq!(left, ["GET /health", "GET /cart", "GET /health"], "{json}");
    }
    let json = json!({"traces": {"resource": ["attributes[\"service.name\"] == \"cart\""]}});
    assert_eq!(spans_left(json, &spans()).await, ["GET /health"]);
    let groups = json!([
        {"context": "resource", "conditions": ["attributes[\"service.name\"] == \"shop\""]},
        {"conditions": ["span.kind == SPAN_KIND_SERVER", "span.name == \"x\""]},
    ]);
    assert_eq!(spans_left(json!({"trace_conditions": groups}), &spans()).await, ["query"]);
}

#[tokio::test]
async fn a_span_whose_events_are_all_dropped_stays() {
    let mut span = Writer::new();
    span.bytes(5, b"work");
    for name in ["retry", "exception"] {
        span.message(11, |event| event.bytes(2, name.as_bytes()));
    }
    let batch = batch(Signal::Traces, &[("cart", vec![span.into_vec()])]);
    for (json, events) in [
        (json!({"trace_conditions": ["spanevent.name == \"retry\""]}), 1),
        (json!({"traces": {"spanevent": ["name != nil and span.name == \"work\""]}}), 0),
    ] {
        let left = process::<FilterConfig>(&json, &batch).await.unwrap().unwrap();
        let [span] = records(&left)[..] else { panic!("one span") };
        assert_eq!(Span::read(span).events().count(), events);
    }
}

fn metrics() -> Batch {
    let sum = |name: &str, points: &[&str]| {
        let mut metric = Writer::new();
        metric.bytes(1, name.as_bytes());
        metric.message(7, |sum| {
            for method in points {
                sum.message(1, |point| point.string_attribute(7, b"method", method.as_bytes()));
            }
        });
        metric.into_vec()
    };
    let metrics = vec![sum("calls", &["GET", "PUT", "GET"]), sum("gets", &["GET"])];
    batch(Signal::Metrics, &[("cart", metrics)])
}

#[tokio::test]
async fn metrics_and_their_points_are_dropped() {
    for (json, expected) in [
        (json!({"metric_conditions": ["metric.name == \"calls\""]}), vec![("gets", 1)]),
        (json!({"metrics": {"metric": ["HasAttrOnDatapoint(\"method\", \"PUT\")"]}}), {
            vec![("gets", 1)]
        }),
        (json!({"metrics": {"metric": ["HasAttrKeyOnDatapoint(\"absent\")"]}}), {
            vec![("calls", 3), ("gets", 1)]
        }),
        (json!({"metric_conditions": ["datapoint.attributes[\"method\"] == \"GET\""]}), {
            vec![("calls", 1)]
        }),
        (json!({"metrics": {"datapoint": ["attributes[\"method\"] == \"PUT\""]}}), {
            vec![("calls", 2), ("gets", 1)]
        }),
        (json!({"metrics": {"resource": ["attributes[\"service.name\"] == \"cart\""]}}), vec![]),
    ] {
        let left = process::<FilterConfig>(&json, &metrics()).await.unwrap();
        let left = left.unwrap_or(Batch::empty(Signal::Metrics));
        let names = records(&left).into_iter().map(Metric::read);
        let found: Vec<_> =
            names.map(|metric| (text(metric.name), metric.points().count())).collect();
        let expected: Vec<_> =
            expected.into_iter().map(|(name, points)| (name.to_owned(), points)).collect();
        assert_eq!(found, expected, "{json}");
    }
}

#[tokio::test]
async fn log_records_are_dropped() {
    let log = |severity: u64, body: &str| {
        let mut log = Writer::new();
        log.varint(2, severity);
        log.message(5, |any| any.bytes(1, body.as_bytes()));
        log.into_vec()
    };
    let batch = batch(Signal::Logs, &[("cart", vec![log(5, "a"), log(17, "b"), log(9, "c")])]);
    for json in [
        json!({"log_conditions": ["log.severity_number < SEVERITY_NUMBER_WARN"]}),
        json!({"logs": {"log_record": ["severity_number == 5", "IsMatch(body, \"^c\")"]}}),
    ] {
        let left = process::<FilterConfig>(&json, &batch).await.unwrap().unwrap();
        let [log] = records(&left)[..] else { panic!("one record") };
        assert_eq!(LogRecord::read(log).severity_number, 17);
    }
}

#[tokio::test]
async fn a_condition_that_fails_does_not_hold_or_rejects_the_batch() {
    let fails = "HasPrefix(span.attributes[\"absent\"], \"x\")";
    for mode in ["ignore", "silent", "IGNORE"] {
        let conditions = json!([fails, "span.name == \"query\""]);
        let json = json!({"error_mode": mode, "trace_conditions": conditions});
        assert_eq!(spans_left(json, &spans()).await.len(), 3, "{mode}");
    }
    for json in [
        json!({"error_mode": "propagate", "trace_conditions": [fails]}),
        json!({"trace_conditions": [{"error_mode": "propagate", "conditions": [fails]}]}),
    ] {
        let batch = spans();
        let rejected = process::<FilterConfig>(&json, &batch).await.unwrap_err();
        assert_eq!((rejected.kind, &rejected.batch), (RejectedKind::Permanent, &batch));
        let reason = "a condition failed: HasPrefix: expected a string but got nil";
        assert_eq!(rejected.to_string(), reason);
    }
}

#[tokio::test]
async fn without_conditions_for_a_signal_it_passes() {
    let json = json!({"metric_conditions": ["metric.name == \"calls\""]});
    assert_eq!(spans_left(json, &spans()).await.len(), 4);
}

#[test]
fn everything_that_is_wrong_is_reported_with_its_place() {
    let found = problems::<FilterConfig>(&json!({
        "trace_conditions": ["span.name ==", "span.nam == \"a\""],
        "metric_conditions": [
            {"context": "span", "conditions": ["name == \"a\""]},
            {"conditions": ["metric.name == \"a\"", "name == \"b\""]},
        ],
        "log_conditions": ["attributes[\"a\"] == 1"],
        "traces": {"span": ["kind == 2", "kind == SERVER"]},
    }));
    assert_eq!(
        found,
        [
            "a::trace_conditions: cannot be used together with traces::span",
            "a::trace_conditions::0: expected a value or a condition, found the end, at the end of \
             `span.name ==`",
            "a::traces::span::1: unknown enum \"SERVER\", at `SERVER`",
            "a::metric_conditions::0::context: metrics have no context \"span\"",
            "a::metric_conditions::1::conditions::1: the path does not say whose it is, as \
             metric.name does, at `name == \"b\"`",
            "a::log_conditions: no path tells the context by its prefix (one of log, scope, \
             resource); give it with \"context\"",
        ]
    );
    let found = problems::<FilterConfig>(&json!({
        "trace_conditions": ["span.name == \"a\"", {"conditions": []}],
        "metric_conditions": [{"context": "exemplar"}],
        "log_conditions": [{"context": "lgo"}, 5],
        "error_mode": "loud",
    }));
    assert_eq!(
        found,
        [
            "a::error_mode: expected one of ignore, silent, propagate, got a string \"loud\"",
            "a::log_conditions::0::context: expected one of log, datapoint, metric, spanevent, span, \
             scope, resource, got a string \"lgo\"",
            "a::metric_conditions::0::context: the context \"exemplar\" is not supported yet",
            "a::trace_conditions: must have either texts or groups, not both",
        ]
    );
}
