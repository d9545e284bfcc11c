use serde_json::json;

use super::*;
use crate::config::testing::section;
use crate::queue::tests::{context, spans};
use crate::wire::Writer;

fn traces() -> Batch {
    let mut writer = Writer::new();
    writer.message(1, |entry| {
        entry.message(1, |resource| resource.string_attribute(1, b"service.name", b"cart"));
        entry.message(2, |scope| {
            scope.message(1, |scope| scope.bytes(1, b"lib"));
            scope.message(2, |span| {
                span.bytes(1, &[10; 16]);
                span.bytes(2, &[1; 8]);
                span.bytes(5, b"GET /");
                span.varint(6, 2);
                span.fixed64(7, 1_000_000_000);
                span.fixed64(8, 1_012_000_000);
                span.int_attribute(9, b"code", 500);
                span.message(11, |event| event.bytes(2, b"boom"));
                span.message(15, |status| status.varint(3, 2));
            });
        });
    });
    Batch::parse(Signal::Traces, writer.into_vec().into()).unwrap()
}

#[test]
fn spans_are_told_with_all_that_is_in_them() {
    let expected = "\
resource service.name=\"cart\"
  scope lib\u{20}
    span \"GET /\" trace=0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a id=0101010101010101 parent= server \
1970-01-01T00:00:01Z 12ms error code=500
      event \"boom\" 1970-01-01T00:00:00Z
";
    assert_eq!(dump::everything(&traces()), expected);
    let lines = dump::lines(&traces());
    assert!(!lines.contains("event") && lines.contains("GET /"), "{lines}");
}

#[test]
fn metrics_and_logs_are_told_too() {
    let mut writer = Writer::new();
    writer.message(1, |entry| {
        entry.message(2, |scope| {
            scope.message(2, |metric| {
                metric.bytes(1, b"calls");
                metric.message(7, |sum| sum.message(1, |point| point.fixed64(6, 3)));
            });
        });
    });
    let metrics = Batch::parse(Signal::Metrics, writer.into_vec().into()).unwrap();
    let dump = dump::everything(&metrics);
    assert!(dump.contains("metric calls  Sum 1 points\n      1970-01-01T00:00:00Z 3\n"), "{dump}");
    assert_eq!(Counts::of(&metrics), Counts { resources: 1, metrics: 1, items: 1 });
    let mut writer = Writer::new();
    writer.message(1, |entry| {
        entry.message(2, |scope| {
            scope.message(2, |record| {
                record.message(5, |body| body.bytes(1, b"out of milk"));
            });
        });
    });
    let logs = Batch::parse(Signal::Logs, writer.into_vec().into()).unwrap();
    assert!(dump::lines(&logs).contains("\"out of milk\""));
}

#[test]
fn a_value_nested_without_end_is_cut() {
    let mut value = Writer::new();
    value.bytes(1, b"core");
    for _ in 0..500 {
        let inner = value.into_vec();
        value = Writer::new();
        value.message(5, |array| array.bytes(1, &inner));
    }
    let mut writer = Writer::new();
    writer.message(1, |entry| {
        entry.message(2, |scope| {
            scope.message(2, |record| record.bytes(5, value.as_slice()));
        });
    });
    let logs = Batch::parse(Signal::Logs, writer.into_vec().into()).unwrap();
    assert!(dump::everything(&logs).contains("[[…]]"));
}

#[tokio::test]
async fn everything_is_taken() {
    let (config, problems, _) = section(&json!({"verbosity": "detailed"}), DebugConfig::validate);
    assert_eq!(problems, [""; 0]);
    let exporter = config.build(&context()).unwrap();
    assert!(exporter.consume(traces()).await.is_ok());
    assert!(exporter.consume(spans(3)).await.is_ok());
}

#[test]
fn every_problem_is_named() {
    let json = json!({"output_paths": ["stdout", "/x"], "sending_queue": {"queue_size": 0}});
    assert_eq!(
        section(&json, DebugConfig::validate).1,
        [
            "a::output_paths: output_paths is not supported when use_internal_logger is true",
            "a::output_paths::1: only stdout and stderr are supported",
            "a::sending_queue::queue_size: `queue_size` must be positive",
        ]
    );
}
