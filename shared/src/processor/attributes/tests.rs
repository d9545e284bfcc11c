use serde_json::{Value, json};

use super::*;
use crate::config::testing::section;
use crate::processor::testing::{Probe, built, process};
use crate::queue::tests::context;
use crate::wire::{AnyValue, Attributes, LogRecord, Span, resources};

/// A request of two services, each with two records of `write`.
fn batch(signal: Signal, write: impl Fn(&mut Writer, &str, &[u8])) -> Batch {
    let mut writer = Writer::new();
    for service in ["cart", "shop"] {
        writer.message(1, |entry| {
            entry.message(1, |resource| {
                resource.string_attribute(1, b"service.name", service.as_bytes());
                resource.int_attribute(1, b"process.pid", 7);
            });
            entry.message(2, |scope| {
                scope.message(1, |scope| {
                    scope.bytes(1, b"http");
                    scope.bytes(2, b"1.0");
                });
                for name in [&b"one"[..], b"two"] {
                    scope.message(2, |record| write(record, service, name));
                }
            });
        });
    }
    Batch::parse(signal, writer.into_vec().into()).unwrap()
}

fn spans() -> Batch {
    batch(Signal::Traces, |span, _, name| {
        span.bytes(1, &[1; 16]);
        span.bytes(5, name);
        span.varint(6, if name == b"one" { 2 } else { 3 });
        span.int_attribute(9, b"http.status_code", if name == b"one" { 200 } else { 500 });
    })
}

fn logs() -> Batch {
    batch(Signal::Logs, |record, _, name| {
        record.varint(2, if name == b"one" { 9 } else { 0 });
        record.bytes(3, name);
        record.message(5, |body| body.bytes(1, name));
        record.string_attribute(6, b"file", b"x");
    })
}

fn metrics() -> Batch {
    batch(Signal::Metrics, |metric, _, name| {
        metric.bytes(1, name);
        metric.message(9, |histogram| {
            for _ in 0..2 {
                histogram.message(1, |point| point.string_attribute(9, b"zone", b"a"));
            }
        });
    })
}

/// Which records were marked, as `service/name`.
fn marked(batch: &Batch) -> Vec<String> {
    let mut marked = Vec::new();
    for entry in resources(batch.bytes()) {
        let service = entry.resource().attribute(b"service.name").and_then(AnyValue::as_string);
        let service = String::from_utf8_lossy(service.unwrap_or_default());
        for record in entry.scopes().flat_map(ScopeEntry::records) {
            let (name, mark) = match batch.signal() {
                Signal::Traces => {
                    let span = Span::read(record);
                    (span.name, span.attribute(b"mark").is_some())
                }
                Signal::Logs => {
                    let record = LogRecord::read(record);
                    (record.severity_text, record.attribute(b"mark").is_some())
                }
                Signal::Metrics => {
                    let metric = Metric::read(record);
                    let mut points = metric.points();
                    let is_marked =
                        |point| Attributes::new(point, 9).get(b"mark") == Some(AnyValue::Int(1));
                    (metric.name, points.all(is_marked))
                }
            };
            if mark {
                marked.push(format!("{service}/{}", String::from_utf8_lossy(name)));
            }
        }
    }
    marked
}

#[track_caller]
fn check(batch: Batch, selection: &Value, expected: &[&str]) {
    let mut json = selection.clone();
    json["actions"] = json!([{"key": "mark", "action": "insert", "value": 1}]);
    let items = batch.items();
    let taken = futures(process::<AttributesConfig>(&json, batch, &Probe::default())).unwrap();
    assert_eq!((marked(&taken), taken.items()), (strings(expected), items));
    assert_eq!(Batch::parse(taken.signal(), taken.bytes().clone()).unwrap(), taken);
}

fn futures<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

const ALL: [&str; 4] = ["cart/one", "cart/two", "shop/one", "shop/two"];

fn include(json: &Value) -> Value {
    let mut json = json.clone();
    if json.get("match_type").is_none() {
        json["match_type"] = json!("strict");
    }
    json!({"include": json})
}

#[test]
fn records_of_all_signals_are_changed() {
    for batch in [spans(), logs(), metrics()] {
        check(batch, &json!({}), &ALL);
    }
}

#[test]
fn spans_are_selected() {
    check(spans(), &include(&json!({"services": ["shop"]})), &["shop/one", "shop/two"]);
    check(spans(), &include(&json!({"span_names": ["two", "three"]})), &["cart/two", "shop/two"]);
    let kinds = json!({"span_kinds": ["SPAN_KIND_CLIENT"]});
    check(spans(), &include(&kinds), &["cart/two", "shop/two"]);
    let status = json!({"attributes": [{"key": "http.status_code", "value": 500}]});
    check(spans(), &include(&status), &["cart/two", "shop/two"]);
    let status = json!({"attributes": [{"key": "http.status_code", "value": "500"}]});
    check(spans(), &include(&status), &[]);
    check(spans(), &include(&json!({"attributes": [{"key": "http.status_code"}]})), &ALL);
    check(spans(), &include(&json!({"resources": [{"key": "process.pid", "value": 7}]})), &ALL);
    check(spans(), &include(&json!({"resources": [{"key": "process.pid", "value": 8}]})), &[]);
    check(spans(), &include(&json!({"libraries": [{"name": "http"}]})), &ALL);
    let library = json!({"libraries": [{"name": "http", "version": ""}]});
    check(spans(), &include(&library), &[]);
}

#[test]
fn patterns_match_anywhere() {
    let pattern = |json: Value| {
        let mut json = json;
        json["match_type"] = json!("regexp");
        include(&json)
    };
    check(spans(), &pattern(json!({"services": ["^c", "x"]})), &["cart/one", "cart/two"]);
    check(spans(), &pattern(json!({"span_names": ["w"]})), &["cart/two", "shop/two"]);
    let status = json!({"attributes": [{"key": "http.status_code", "value": "^5..$"}]});
    check(spans(), &pattern(status), &["cart/two", "shop/two"]);
    check(spans(), &pattern(json!({"libraries": [{"name": "^h", "version": "^1\\."}]})), &ALL);
}

#[test]
fn all_that_is_asked_must_match_and_what_is_excluded_is_not() {
    let both = json!({"services": ["shop"], "span_names": ["two"]});
    check(spans(), &include(&both), &["shop/two"]);
    let exclude = json!({"exclude": {"match_type": "strict", "services": ["shop"]}});
    check(spans(), &exclude, &["cart/one", "cart/two"]);
    let both = json!({
        "include": {"match_type": "strict", "span_names": ["one"]},
        "exclude": {"match_type": "strict", "services": ["shop"], "span_names": ["one"]},
    });
    check(spans(), &both, &["cart/one"]);
}

#[test]
fn log_records_are_selected() {
    check(logs(), &include(&json!({"log_bodies": ["one"]})), &["cart/one", "shop/one"]);
    check(logs(), &include(&json!({"log_severity_texts": ["two"]})), &["cart/two", "shop/two"]);
    let severe = json!({"log_severity_number": {"min": 9}});
    check(logs(), &include(&severe), &["cart/one", "shop/one"]);
    check(logs(), &include(&json!({"log_severity_number": {"min": 10}})), &[]);
    let undefined = json!({"log_severity_number": {"min": 10, "match_undefined": true}});
    check(logs(), &include(&undefined), &["cart/two", "shop/two"]);
    check(logs(), &include(&json!({"attributes": [{"key": "file", "value": "x"}]})), &ALL);
}

#[test]
fn metrics_are_selected() {
    check(metrics(), &include(&json!({"metric_names": ["one"]})), &["cart/one", "shop/one"]);
    let shop = json!({"resources": [{"key": "service.name", "value": "shop"}]});
    check(metrics(), &include(&shop), &["shop/one", "shop/two"]);
}

#[test]
fn a_batch_without_changes_is_passed_on_as_it_is() {
    let batch = spans();
    let json = json!({"actions": [{"key": "absent", "action": "delete"}]});
    let bytes = batch.bytes().clone();
    let taken = futures(process::<AttributesConfig>(&json, batch, &Probe::default())).unwrap();
    assert_eq!(taken.bytes().as_ptr(), bytes.as_ptr());
}

#[test]
fn what_cannot_be_asked_of_a_signal_is_an_error() {
    let selection = json!({
        "actions": [{"key": "mark", "action": "insert", "value": 1}],
        "include": {"match_type": "strict", "services": ["shop"], "span_names": ["a"]},
    });
    let (config, problems, _) = section(&selection, AttributesConfig::validate);
    assert_eq!(problems, [""; 0]);
    let ctx = Context { signal: Signal::Logs, ..context() };
    let error = config.build(&ctx, Arc::new(Probe::default())).err().unwrap();
    assert_eq!(error.to_string(), "include: services, span_names cannot be asked of logs");
    built::<AttributesConfig>(&selection, &context(), &Probe::default());
}

#[test]
fn problems_are_named_by_their_key() {
    let check = |include: Value, expected: &str| {
        let json = json!({
            "actions": [{"key": "mark", "action": "insert", "value": 1}],
            "include": include,
        });
        let (_, problems, _) = section(&json, AttributesConfig::validate);
        assert_eq!(problems, [format!("a::include{expected}")]);
    };
    check(json!({"services": ["a"]}), "::match_type: must be one of strict, regexp");
    check(json!({"match_type": "strict"}), ": nothing is specified that could match");
    check(
        json!({"match_type": "strict", "span_kinds": ["SERVER"]}),
        "::span_kinds::0: must be one of SPAN_KIND_INTERNAL, SPAN_KIND_SERVER, SPAN_KIND_CLIENT, \
         SPAN_KIND_PRODUCER, SPAN_KIND_CONSUMER",
    );
    check(
        json!({"match_type": "regexp", "attributes": [{"key": "a", "value": 1}]}),
        "::attributes::0::value: match_type regexp wants a string",
    );
    check(
        json!({"match_type": "strict", "resources": [{"value": 1}]}),
        "::resources::0::key: must not be empty",
    );
    let (_, problems, _) = section(
        &json!({
            "actions": [{"key": "mark", "action": "insert", "value": 1}],
            "exclude": {"match_type": "regexp", "services": ["a", "("]},
        }),
        AttributesConfig::validate,
    );
    assert!(problems[0].starts_with("a::exclude::services::1: bad pattern"), "{problems:?}");
}
