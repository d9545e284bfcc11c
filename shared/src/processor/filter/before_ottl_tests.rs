use serde_json::{Value, json};

use super::FilterConfig;
use crate::batch::Batch;
use crate::processor::ottl::testing::{batch, named, problems, process, records};
use crate::wire::{LogRecord, Metric, Signal, Span, Writer};

/// The names of the spans or metrics, or the bodies of the log records, that are left.
#[track_caller]
fn check(json: &Value, batch: &Batch, expected: &[&str]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let left = runtime.block_on(process::<FilterConfig>(json, batch)).unwrap();
    let left = left.unwrap_or(Batch::empty(batch.signal()));
    let text = |record| match left.signal() {
        Signal::Traces => Span::read(record).name,
        Signal::Metrics => Metric::read(record).name,
        Signal::Logs => LogRecord::read(record).body().as_string().unwrap(),
    };
    let found: Vec<_> =
        records(&left).into_iter().map(|record| str::from_utf8(text(record)).unwrap()).collect();
    assert_eq!(found, expected, "{json}");
}

fn spans() -> Batch {
    let span = |name: &str, method: &str| {
        let mut span = Writer::new();
        span.bytes(5, name.as_bytes());
        span.string_attribute(9, b"method", method.as_bytes());
        span.into_vec()
    };
    let cart = vec![span("health", "GET"), span("add", "POST")];
    batch(Signal::Traces, &[("cart", cart), ("pay", vec![span("charge", "POST")])])
}

#[test]
fn spans_are_kept_by_include_and_dropped_by_exclude() {
    for (spans_section, left) in [
        (json!({"include": {"match_type": "strict", "services": ["cart"]}}), vec!["health", "add"]),
        (json!({"exclude": {"match_type": "strict", "services": ["cart"]}}), vec!["charge"]),
        (
            json!({"include": {"match_type": "regexp", "services": ["ca.t"], "span_names": ["^a"]}}),
            vec!["add"],
        ),
        (
            json!({
                "include": {"match_type": "strict", "attributes": [{"key": "method", "value": "POST"}]},
                "exclude": {"match_type": "regexp", "span_names": ["arg"]},
            }),
            vec!["add"],
        ),
        (json!({"exclude": {"match_type": "strict", "libraries": [{"name": "lib"}]}}), vec![]),
    ] {
        check(&json!({"spans": spans_section}), &spans(), &left);
    }
    check(
        &json!({"metrics": {"include": {"match_type": "strict", "metric_names": ["x"]}}}),
        &spans(),
        &["health", "add", "charge"],
    );
}

#[test]
fn metrics_are_excluded_by_their_name_or_their_resource() {
    let names = |names: &[&str]| names.iter().map(|name| named(1, name)).collect::<Vec<_>>();
    let services = [("cart", names(&["calls", "up"])), ("pay", names(&["calls", "latency"]))];
    let metrics = batch(Signal::Metrics, &services);
    let resource = json!([{"key": "service.name", "value": "cart"}]);
    for (section, left) in [
        (
            json!({"include": {"match_type": "regexp", "metric_names": ["^(up|lat)"]}}),
            vec!["up", "latency"],
        ),
        (
            json!({"exclude": {"match_type": "strict", "metric_names": ["calls"]}}),
            vec!["up", "latency"],
        ),
        (
            json!({"include": {
                "match_type": "strict", "metric_names": ["calls"], "resource_attributes": resource,
            }}),
            vec!["calls"],
        ),
        (
            json!({"exclude": {
                "match_type": "strict", "metric_names": ["calls"], "resource_attributes": resource,
            }}),
            vec!["latency"],
        ),
    ] {
        check(&json!({"metrics": section}), &metrics, &left);
    }
}

#[test]
fn log_records_are_told_by_severity_body_and_attributes() {
    let log = |severity: u64, text: &str, body: &str| {
        let mut log = Writer::new();
        log.varint(2, severity);
        log.bytes(3, text.as_bytes());
        log.message(5, |any| any.bytes(1, body.as_bytes()));
        log.string_attribute(6, b"file", body.as_bytes());
        log.into_vec()
    };
    let records = vec![log(5, "DEBUG", "a"), log(17, "ERROR", "b"), log(0, "", "c")];
    let logs = batch(Signal::Logs, &[("cart", records)]);
    let severity = |min: Value, match_undefined: bool| {
        let number = json!({"min": min, "match_undefined": match_undefined});
        json!({"include": {"match_type": "strict", "severity_number": number}})
    };
    for (section, left) in [
        (severity(json!("info"), false), vec!["b"]),
        (severity(json!("ERROR2"), true), vec!["c"]),
        (severity(json!(5), false), vec!["a", "b"]),
        (json!({"exclude": {"match_type": "regexp", "severity_texts": ["^E"]}}), vec!["a", "c"]),
        (json!({"include": {"match_type": "strict", "bodies": ["a", "c"]}}), vec!["a", "c"]),
        (
            json!({"exclude": {
                "match_type": "strict", "record_attributes": [{"key": "file", "value": "b"}],
            }}),
            vec!["a", "c"],
        ),
    ] {
        check(&json!({"logs": section}), &logs, &left);
    }
}

#[test]
fn what_is_wrong_with_it_is_reported_by_its_own_keys() {
    let found = problems::<FilterConfig>(&json!({
        "spans": {"include": {"match_type": "strict", "metric_names": ["a"]}},
        "metrics": {"exclude": {
            "match_type": "regexp", "resource_attributes": [{"key": "a", "value": "("}],
        }},
        "logs": {
            "include": {"match_type": "regexp", "bodies": ["("]},
            "log_record": ["severity_number == 5"],
        },
    }));
    assert_eq!(found.len(), 4, "{found:#?}");
    assert!(
        found[0].starts_with("a::spans::include: metric_names cannot be asked of"),
        "{found:#?}"
    );
    let place = "a::metrics::exclude::resource_attributes::0::value: ";
    assert!(found[1].starts_with(place), "{found:#?}");
    assert_eq!(found[2], "a::logs::log_record: cannot be used together with logs::include");
    assert!(found[3].starts_with("a::logs::include::bodies::0: "), "{found:#?}");
    let found = problems::<FilterConfig>(&json!({
        "trace_conditions": ["span.name == \"a\""],
        "spans": {"exclude": {"span_names": ["a"]}},
    }));
    assert_eq!(
        found,
        [
            "a::trace_conditions: cannot be used together with spans::exclude",
            "a::spans::exclude::match_type: must be one of strict, regexp",
        ]
    );
    let found = problems::<FilterConfig>(&json!({
        "metrics": {"include": {"match_type": "expr", "expressions": ["MetricName == \"a\""]}},
        "logs": {"include": {"match_type": "strict", "severity_number": {"min": "LOUD"}}},
    }));
    let instead = "the language of expressions is not supported; name what is to be dropped in OTTL: \
                   metric_conditions: ['metric.name == \"example\"']";
    assert_eq!(
        found,
        [
            "a::logs::include::severity_number::min: expected a severity, as INFO, WARN2 or 9, got a \
             string \"LOUD\""
                .to_owned(),
            format!("a::metrics::include::expressions: {instead}"),
            format!("a::metrics::include::match_type: {instead}"),
        ]
    );
}
