//! `edge route` and `edge ring` of the real binary.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn edge(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_edge")).args(arguments).output().unwrap()
}

/// Two exporters: by trace id with our ring, by attributes with the Collector's.
const CONFIG: &str = "yaml:
receivers: {otlp: {protocols: {grpc: {endpoint: '127.0.0.1:0'}}}}
exporters:
  loadbalancing:
    protocol: {otlp: {tls: {insecure: true}, headers: {authorization: Bearer-secret}}}
    resolver: {static: {hostnames: [10.0.0.1, '10.0.0.2:4317', 10.0.0.3]}}
  loadbalancing/tenants:
    routing_key: attributes
    routing_attributes: [tenant, region]
    ring: otelcol_v0_156
    protocol: {otlp: {tls: {insecure: true}}}
    resolver: {static: {hostnames: ['backend-1:4317', 'backend-2:4317', 'backend-3:4317']}}
service:
  telemetry: {metrics: {level: none}}
  pipelines:
    traces: {receivers: [otlp], exporters: [loadbalancing, loadbalancing/tenants]}
    logs: {receivers: [otlp], exporters: [loadbalancing]}
    metrics: {receivers: [otlp], exporters: [loadbalancing]}
";

/// What a command prints when all is well.
#[track_caller]
fn text(arguments: &[&str]) -> String {
    let output = edge(&[arguments, &["--config", CONFIG]].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains("secret"), "{text}");
    text
}

/// The same for programs.
#[track_caller]
fn json(arguments: &[&str]) -> Vec<Value> {
    let text = text(&[arguments, &["--format", "json"]].concat());
    serde_json::from_str(&text).unwrap()
}

/// The exit code and what is said when something is wrong.
#[track_caller]
fn wrong(arguments: &[&str]) -> (i32, String) {
    let output = edge(&[arguments, &["--config", CONFIG]].concat());
    assert!(output.stdout.is_empty(), "{output:?}");
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_ring_is_shown_with_its_members_shares_and_digest() {
    let text = text(&["ring"]);
    assert!(text.starts_with("loadbalancing: ring xxh3, 3 backends, digest "), "{text}");
    assert!(text.contains("\nloadbalancing/tenants: ring otelcol_v0_156, 3 backends"), "{text}");
    assert_eq!(text.matches("  10.0.0.").count(), 3, "{text}");

    let rings = json(&["ring", "--exporter", "loadbalancing"]);
    let [ring] = &rings[..] else { panic!("one ring: {rings:?}") };
    let slots: Vec<u64> = ring["backends"]
        .as_array()
        .unwrap()
        .iter()
        .map(|backend| backend["slots"].as_u64().unwrap())
        .collect();
    assert_eq!(slots.iter().sum::<u64>(), 1 << 18);
    assert_eq!(Some(slots.iter().sum()), ring["slots"].as_u64());
    assert!(ring["largest_of_mean"].as_f64().unwrap() < 1.05);
    let digest = u64::from_str_radix(ring["digest"].as_str().unwrap(), 16).unwrap();
    assert_eq!(ring["digest_metric"].as_u64(), Some(digest >> 11));
}

#[test]
fn the_digest_is_that_of_a_running_edge() {
    let ring = &json(&["ring", "--exporter", "loadbalancing"])[0];
    let mut child = Command::new(env!("CARGO_BIN_EXE_edge"))
        .args(["--config", CONFIG])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let is_of = |line: &String| line.contains("routes changed") && !line.contains("tenants");
    let line = lines.take_while(|line| !line.contains("shutdown")).find(is_of);
    child.kill().unwrap();
    child.wait().unwrap();
    let line = line.unwrap();
    assert!(line.contains(ring["digest"].as_str().unwrap()), "{line}");
}

#[test]
fn a_trace_id_has_one_backend_and_only_moves_if_that_one_leaves() {
    let id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let route = ["route", "--exporter", "loadbalancing", "--trace-id", id];
    let routes = json(&route);
    let [of_traces] = &routes[..] else { panic!("logs go by service: {routes:?}") };
    assert_eq!((&of_traces["key"], &of_traces["signal"]), (&id.into(), &"traces".into()));
    let backend = of_traces["backend"].as_str().unwrap();

    for other in ["10.0.0.1", "10.0.0.2", "10.0.0.3"] {
        let route = json(&[&route[..], &["--without", other]].concat());
        let stays = route[0]["then"] == *backend;
        // The second is known with its port, which makes no difference.
        assert_eq!(stays, !backend.starts_with(other), "{route:?}");
    }
    let joined = text(&[&route[..], &["--with", "10.0.0.9", "--without", backend]].concat());
    assert!(joined.contains("moves to 10.0.0."), "{joined}");
    assert!(joined.contains(&format!("(without {backend}, with 10.0.0.9)")), "{joined}");
    assert!(joined.contains(&format!("  key      0x{id} (16 bytes)")), "{joined}");
}

#[test]
fn a_service_has_one_backend_in_all_signals() {
    let routes = json(&["route", "--exporter", "loadbalancing", "--service", "cart"]);
    let by_signal: Vec<_> = routes.iter().map(|route| route["signal"].as_str().unwrap()).collect();
    assert_eq!(by_signal, ["metrics", "logs"]);
    assert_eq!(routes[0]["backend"], routes[1]["backend"]);
    assert_eq!(routes[0]["key_text"], "cart");
}

#[test]
fn attributes_are_placed_as_the_collector_places_them() {
    let route = &json(&["route", "--attribute", "tenant=acme"])[0];
    assert_eq!(route["key_text"], "tenant=acme|region=|");
    assert_eq!(route["missing"], serde_json::json!(["region"]));
    assert_eq!((&route["hash"], &route["slot"]), (&"ca59b8bc".into(), &5628.into()));
    assert_eq!(route["backend"], "backend-1:4317");
    let route = &json(&["route", "--attribute-json", "tenant=7", "--attribute", "region=eu"])[0];
    assert_eq!(route["key_text"], "tenant=7|region=eu|");
}

#[test]
fn what_cannot_be_told_is_said_and_exits_with_64() {
    let (code, text) = wrong(&["route", "--metric", "requests"]);
    assert_eq!(code, 64);
    assert!(
        text.contains("loadbalancing: traces are routed by traceID: give --trace-id"),
        "{text}"
    );
    assert!(text.contains("routed by attributes: give --attribute, of tenant, region"), "{text}");
    let (code, text) = wrong(&["route", "--service", "cart", "--without", "10.0.0.7"]);
    assert_eq!(code, 64);
    assert!(text.contains("--without 10.0.0.7: not a backend (there are: 10.0.0.1, "), "{text}");
    let (code, text) = wrong(&["ring", "--exporter", "loadbalancing/other"]);
    assert_eq!(code, 64);
    assert!(text.contains("(there are: loadbalancing, loadbalancing/tenants)"), "{text}");
    let (code, text) = wrong(&["route", "--trace-id", "4bf9"]);
    assert_eq!(code, 64);
    assert!(text.contains("expected 32 hex digits"), "{text}");
    let (code, _) = wrong(&["route"]);
    assert_eq!(code, 64);
    let output = edge(&["ring", "--config", "yaml:receivers: {otlp: {protocols: {grpc: }}}"]);
    assert_eq!(output.status.code(), Some(64));
}

#[test]
fn a_resolver_without_an_answer_fails_in_time() {
    let nobody = "exporters.loadbalancing.resolver={dns: {hostname: backend.invalid, \
                  nameservers: ['127.0.0.1:1']}}";
    let (code, text) = wrong(&[
        "ring",
        "--timeout",
        "50ms",
        "--set",
        "exporters.loadbalancing.resolver=",
        "--set",
        nobody,
    ]);
    assert_eq!(code, 1);
    assert_eq!(text, "edge: exporters::loadbalancing::resolver: no backend was found in 50ms\n");
}

#[test]
fn help_has_examples() {
    for (command, example) in [
        ("route", "edge route --config edge.yaml --trace-id"),
        ("ring", "edge ring --config edge.yaml"),
    ] {
        let help = String::from_utf8(edge(&[command, "--help"]).stdout).unwrap();
        assert!(help.contains("Examples:") && help.contains(example), "{help}");
        assert!(String::from_utf8(edge(&["--help"]).stdout).unwrap().contains(command));
    }
}

/// The key and the backend of a data point with this `tenant` and value, by time series.
#[track_caller]
fn route_of_point(tenant: &str, value: f64) -> (String, String) {
    let by_stream = "yaml:
receivers: {otlp: {protocols: {grpc: {endpoint: '127.0.0.1:0'}}}}
exporters:
  loadbalancing:
    routing_key: streamID
    protocol: {otlp: {tls: {insecure: true}}}
    resolver: {static: {hostnames: [10.0.0.1, 10.0.0.2, 10.0.0.3]}}
service:
  telemetry: {metrics: {level: none}}
  pipelines: {metrics: {receivers: [otlp], exporters: [loadbalancing]}}
";
    let tenant = serde_json::json!([{"key": "tenant", "value": {"stringValue": tenant}}]);
    let point = serde_json::json!({"attributes": tenant, "asDouble": value});
    let record = serde_json::json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [
        {"name": "orders", "gauge": {"dataPoints": [point]}},
    ]}]}]});
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), record.to_string()).unwrap();
    let path = file.path().to_str().unwrap();
    let output = edge(&["route", "--record", path, "--format", "json", "--config", by_stream]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let routes: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let text = |key: &str| routes[0][key].as_str().unwrap().to_owned();
    (text("key"), text("backend"))
}

#[test]
fn a_whole_record_has_every_key_also_a_time_series() {
    assert_eq!(route_of_point("acme", 1.0), route_of_point("acme", 2.5));
    assert_ne!(route_of_point("acme", 1.0).0, route_of_point("bolt", 1.0).0);
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let spans = |count: usize| {
        let spans = vec![serde_json::json!({"traceId": "0af7651916cd43dd8448eb211c80319c"}); count];
        let scope = serde_json::json!([{"spans": spans}]);
        let record = serde_json::json!({"resourceSpans": [{"scopeSpans": scope}]});
        std::fs::write(path, record.to_string()).unwrap();
    };
    spans(1);
    let whole = &json(&["route", "--exporter", "loadbalancing", "--record", path])[0];
    let id = "0af7651916cd43dd8448eb211c80319c";
    let by_id = &json(&["route", "--exporter", "loadbalancing", "--trace-id", id])[0];
    assert_eq!(whole, by_id);
    spans(2);
    let (code, text) = wrong(&["route", "--record", path]);
    assert_eq!(code, 64);
    assert!(text.contains("give a record by itself: there are 2"), "{text}");
}
