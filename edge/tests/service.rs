//! The real binary as a process: it starts as a whole, and stops without loss or says so.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStderr, Command, Stdio};

/// A process that is ended with the test.
struct Edge {
    child: Child,
    log: BufReader<ChildStderr>,
    directory: tempfile::TempDir,
}

impl Edge {
    fn start(config: &str, flags: &[&str]) -> Edge {
        let directory = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_edge"))
            .args(["--config", &format!("yaml:{config}")])
            .arg("--ports-file")
            .arg(directory.path().join("ports.json"))
            .args(flags)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Edge { child, log, directory }
    }

    /// Reads the log up to a line with `text`.
    #[track_caller]
    fn wait_for(&mut self, text: &str) {
        let mut seen = String::new();
        while self.log.read_line(&mut seen).unwrap() > 0 {
            if seen.lines().last().is_some_and(|line| line.contains(text)) {
                return;
            }
        }
        panic!("{text:?} is not in the log:\n{seen}");
    }

    fn address(&self, path: &str) -> String {
        let ports = std::fs::read_to_string(self.directory.path().join("ports.json")).unwrap();
        let ports: serde_json::Value = serde_json::from_str(&ports).unwrap();
        ports[path][0].as_str().unwrap_or_else(|| panic!("{path} is not in {ports}")).to_owned()
    }

    fn terminate(&self) {
        let kill = format!("kill -TERM {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// The exit code, and what was logged since.
    fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        // It has ended already, unless the test failed.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The status line that `request` is answered with.
fn ask(address: &str, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    answer.trim_end().to_owned()
}

/// Sends one span.
fn send_a_span(address: &str) -> String {
    let mut request = b"POST /v1/traces HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\
        content-type: application/x-protobuf\r\ncontent-length: 9\r\n\r\n"
        .to_vec();
    // A resource with a scope with a span with the name "a".
    request.extend([0x0a, 7, 0x12, 5, 0x12, 3, 0x2a, 1, b'a']);
    ask(address, &request)
}

fn config(exporter: &str) -> String {
    format!(
        "
receivers:
  otlp: {{protocols: {{http: {{endpoint: '127.0.0.1:0'}}}}}}
exporters: {{{exporter}}}
extensions: {{health_check: {{endpoint: '127.0.0.1:0'}}}}
service:
  extensions: [health_check]
  telemetry:
    metrics: {{readers: [{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: 0}}}}}}}}]}}
  pipelines:
    traces: {{receivers: [otlp], exporters: [out]}}
"
    )
    .replace(
        "exporters: [out]",
        match exporter.starts_with("debug") {
            true => "exporters: [debug]",
            false => "exporters: [otlp_grpc]",
        },
    )
}

/// An exporter with a queue, to this endpoint.
fn queued(endpoint: &str) -> String {
    config(&format!(
        "otlp_grpc: {{endpoint: '{endpoint}', tls: {{insecure: true}}, timeout: 60s, \
         sending_queue: {{num_consumers: 1}}}}"
    ))
}

#[test]
fn it_serves_until_it_is_told_to_stop() {
    let mut edge = Edge::start(&config("debug: "), &[]);
    edge.wait_for("everything is ready");
    assert_eq!(send_a_span(&edge.address("receivers::otlp")), "HTTP/1.1 200 OK");
    let health = edge.address("extensions::health_check");
    assert_eq!(ask(&health, b"GET / HTTP/1.0\r\n\r\n"), "HTTP/1.0 200 OK");
    let metrics = edge.address("service::telemetry");
    assert_eq!(ask(&metrics, b"GET /metrics HTTP/1.0\r\n\r\n"), "HTTP/1.0 200 OK");
    edge.terminate();
    edge.wait_for("starting shutdown");
    let (code, rest) = edge.end();
    assert!(rest.contains("shutdown complete"), "{rest}");
    assert_eq!(code, Some(0));
}

#[test]
fn what_is_lost_while_stopping_is_counted_and_the_exit_code_tells() {
    // Nothing listens where the exporter sends to, at an address that nobody else uses.
    let endpoint = TcpListener::bind("127.2.0.3:0").unwrap().local_addr().unwrap().to_string();
    let mut edge = Edge::start(&queued(&endpoint), &["--shutdown-timeout=1s"]);
    edge.wait_for("everything is ready");
    assert_eq!(send_a_span(&edge.address("receivers::otlp")), "HTTP/1.1 200 OK");
    edge.terminate();
    let (code, rest) = edge.end();
    assert!(rest.contains("shutdown complete, items were lost lost=1"), "{rest}");
    assert_eq!(code, Some(1));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    // The destination takes connections, and never answers.
    let destination = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = destination.local_addr().unwrap().to_string();
    let mut edge = Edge::start(&queued(&endpoint), &["--shutdown-timeout=10m"]);
    edge.wait_for("everything is ready");
    assert_eq!(send_a_span(&edge.address("receivers::otlp")), "HTTP/1.1 200 OK");
    let _connection = destination.accept().unwrap();
    edge.terminate();
    edge.wait_for("starting shutdown");
    edge.terminate();
    let (code, rest) = edge.end();
    assert!(rest.contains("a second signal came, what was held is lost"), "{rest}");
    assert_eq!(code, Some(1));
}

#[test]
fn a_port_that_is_taken_ends_it_with_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = taken.local_addr().unwrap();
    let config = config("debug: ").replacen("127.0.0.1:0", &endpoint.to_string(), 1);
    let (code, rest) = Edge::start(&config, &[]).end();
    assert!(
        rest.contains("edge: cannot start pipelines: failed to start \"otlp\" receiver: "),
        "{rest}"
    );
    assert_eq!(code, Some(1));
}
