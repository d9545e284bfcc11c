//! Clients that are slow, greedy or broken, over real sockets, and what becomes of them.
//!
//! The limits are tenths of seconds here, since real sockets do not follow paused time.

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::config::{GrpcServerConfig, Path, Problems};
use crate::otlp::{Intake, OtlpGrpcConfig, OtlpHttpServerConfig};
use crate::queue::Sender;
use crate::service::ExporterConfig;
use crate::telemetry::memory;
use crate::transport::budget::Budget;
use crate::transport::frames::PREFACE;
use crate::transport::frames::tests::frame;
use crate::transport::guarded::Limits;
use crate::transport::listen::{DoorMetrics, Server};
use crate::transport::{grpc, http};

const SHORT: Duration = Duration::from_millis(100);

/// All that a server waits for is waited for shortly.
const LIMITS: Limits = Limits {
    handshake: SHORT,
    opening: SHORT,
    frame: SHORT,
    message: SHORT,
    stall: SHORT,
    min_stay: Duration::ZERO,
    idle_frames: 100,
    pings: None,
};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const METHOD: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// A server of one protocol.
struct Door {
    server: Server,
    recording: Arc<Recording>,
    page: PrometheusHandle,
}

impl Door {
    async fn grpc(limits: Limits, json: Value) -> Self {
        Self::grpc_with(limits, json, Budget::of_process()).await
    }

    async fn http(limits: Limits, json: Value) -> Self {
        Self::http_with(limits, json, Budget::of_process()).await
    }

    async fn grpc_with(limits: Limits, mut json: Value, budget: Budget) -> Self {
        json["endpoint"] = json!("127.0.0.1:0");
        let (config, problems, _) =
            section::<GrpcServerConfig>(&json, |_, _: &Path<'_>, _: &mut Problems| {});
        assert!(problems.is_empty(), "{problems:?}");
        let (recording, page, intake, metrics) = insides("grpc");
        let budget = Arc::new(budget);
        let serving = grpc::server::serve_within(limits, &config, intake, budget, metrics);
        let server = serving.await.unwrap();
        Self { server, recording, page }
    }

    async fn http_with(limits: Limits, mut json: Value, budget: Budget) -> Self {
        json["endpoint"] = json!("127.0.0.1:0");
        let (config, problems, _) =
            section::<OtlpHttpServerConfig>(&json, |_, _: &Path<'_>, _: &mut Problems| {});
        assert!(problems.is_empty(), "{problems:?}");
        let (recording, page, intake, metrics) = insides("http");
        let budget = Arc::new(budget);
        let serving = http::server::serve_within(limits, &config, intake, budget, metrics);
        let server = serving.await.unwrap();
        Self { server, recording, page }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.server.address().unwrap()).await.unwrap()
    }

    /// Behind the opening of HTTP/2.
    async fn connect_http2(&self) -> TcpStream {
        let mut tcp = self.connect().await;
        tcp.write_all(PREFACE).await.unwrap();
        tcp.write_all(&frame(SETTINGS, 0, 0, 0)).await.unwrap();
        tcp
    }

    /// A well-behaved client.
    fn client(&self) -> Arc<dyn Sender> {
        let endpoint = self.server.address().unwrap().to_string();
        let plain = json!({ "insecure": true });
        let json = json!({ "endpoint": endpoint, "tls": plain, "compression": "none" });
        let (config, problems, _) = section::<OtlpGrpcConfig>(&json, ExporterConfig::validate);
        assert!(problems.is_empty(), "{problems:?}");
        Arc::new(config.client(&endpoint, &context().commons).unwrap())
    }

    /// Waits until this many connections were cut for `reason`.
    async fn has_cut(&self, reason: &str, count: u64) {
        let line = format!("reason=\"{reason}\"}} {count}");
        let cut = |line: &str| line.starts_with("otelcol_receiver_connections_cut");
        let wait = async {
            while !self.page.render().lines().any(|l| cut(l) && l.ends_with(&line)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(SOON, wait).await;
        assert!(waited.is_ok(), "{line}\n{}", self.page.render());
    }
}

fn insides(transport: &'static str) -> (Arc<Recording>, PrometheusHandle, Intake, DoorMetrics) {
    let recorder = PrometheusBuilder::new().build_recorder();
    let page = recorder.handle();
    let recording = Recording::new();
    let next: Next = Arc::<Recording>::clone(&recording);
    let outputs = BTreeMap::from([(Signal::Traces, next)]);
    let (intake, metrics) = metrics::with_local_recorder(&recorder, || {
        let intake = Intake::new(&context().id, transport, &outputs);
        (intake, DoorMetrics::new("otlp/test", transport))
    });
    (recording, page, intake, metrics)
}

/// Everything up to the end of the connection, which must come.
async fn read_to_end(tcp: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(SOON, tcp.read_to_end(&mut answer)).await;
    // A reset is an end as well.
    match read.expect("the connection is closed") {
        Ok(_) | Err(_) => answer,
    }
}

/// Kind and payload of all frames in `bytes`.
fn frames(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut frames = Vec::new();
    while let Some((head, rest)) = bytes.split_at_checked(9) {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        frames.push((head[3], payload));
        bytes = rest;
    }
    frames
}

/// Code and text of the goodbye among these frames.
fn goodbye(bytes: &[u8]) -> (u32, String) {
    let frames = frames(bytes);
    let (_, payload) = frames.iter().rev().find(|(kind, _)| *kind == GOAWAY).expect("a goodbye");
    let code = u32::from_be_bytes(payload[4..8].try_into().unwrap());
    (code, String::from_utf8_lossy(&payload[8..]).into_owned())
}

/// The header block of an export of traces.
fn headers() -> Vec<u8> {
    // Of the static table: POST, http, :path, :authority, content-type; nothing is remembered.
    let mut block = vec![0x83, 0x86];
    for (name, value) in
        [(&[0x04][..], METHOD), (&[0x01], "test"), (&[0x0f, 0x10], "application/grpc")]
    {
        block.extend(name);
        block.push(u8::try_from(value.len()).unwrap());
        block.extend(value.bytes());
    }
    block
}

fn with_payload(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame(kind, flags, stream, payload.len());
    let start = bytes.len() - payload.len();
    bytes[start..].copy_from_slice(payload);
    bytes
}

fn message() -> Vec<u8> {
    let batch = traces(&["a"]);
    let mut message = vec![0];
    message.extend(u32::try_from(batch.bytes().len()).unwrap().to_be_bytes());
    message.extend(batch.bytes());
    message
}

/// Writes until the other side has had enough.
async fn flood(tcp: &mut TcpStream, mut next: impl FnMut() -> Vec<u8>) {
    let flood = async { while tcp.write_all(&next()).await.is_ok() {} };
    tokio::time::timeout(SOON, flood).await.expect("the flood is ended");
}

#[tokio::test]
async fn a_client_that_says_nothing_is_cut() {
    for door in [Door::grpc(LIMITS, json!({})).await, Door::http(LIMITS, json!({})).await] {
        let mut tcp = door.connect().await;
        read_to_end(&mut tcp).await;
        door.has_cut("slow_start", 1).await;
    }
}

#[tokio::test]
async fn a_trickled_opening_is_cut_however_steadily_it_comes() {
    for door in [Door::grpc(LIMITS, json!({})).await, Door::http(LIMITS, json!({})).await] {
        let mut tcp = door.connect().await;
        let mut bytes = PREFACE.iter();
        let trickle = async {
            while let Some(byte) = bytes.next()
                && tcp.write_all(&[*byte]).await.is_ok()
            {
                tokio::time::sleep(SHORT / 5).await;
            }
        };
        trickle.await;
        assert!(bytes.next().is_some() || tcp.read_u8().await.is_err());
        door.has_cut("slow_start", 1).await;
    }
}

#[tokio::test]
async fn a_preface_without_settings_is_cut() {
    for door in [Door::grpc(LIMITS, json!({})).await, Door::http(LIMITS, json!({})).await] {
        let mut tcp = door.connect().await;
        tcp.write_all(PREFACE).await.unwrap();
        read_to_end(&mut tcp).await;
        door.has_cut("slow_start", 1).await;
    }
}

#[tokio::test]
async fn a_tls_handshake_that_does_not_come_is_cut() {
    let key = rcgen::KeyPair::generate().unwrap();
    let cert =
        rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let tls = json!({ "cert_pem": cert.pem(), "key_pem": key.serialize_pem() });
    let door = Door::grpc(LIMITS, json!({ "tls": tls })).await;
    let mut tcp = door.connect().await;
    // The head of a record that never comes.
    tcp.write_all(&[0x16, 3, 1, 2, 0]).await.unwrap();
    read_to_end(&mut tcp).await;
    door.has_cut("slow_start", 1).await;
}

#[tokio::test]
async fn headers_that_do_not_end_are_cut_over_http2() {
    let http = json!({ "read_header_timeout": "100ms" });
    for door in [Door::grpc(LIMITS, json!({})).await, Door::http(LIMITS, http).await] {
        let mut tcp = door.connect_http2().await;
        tcp.write_all(&with_payload(HEADERS, END_STREAM, 1, &headers())).await.unwrap();
        let (mut read, mut write) = tcp.split();
        let trickle = async {
            while write.write_all(&frame(CONTINUATION, 0, 1, 0)).await.is_ok() {
                tokio::time::sleep(SHORT / 3).await;
            }
        };
        let mut answer = Vec::new();
        tokio::select! {
            () = trickle => {}
            _ = read.read_to_end(&mut answer) => {}
        }
        door.has_cut("slow_request", 1).await;
    }
}

#[tokio::test]
async fn headers_that_do_not_end_are_cut_over_http1() {
    let door = Door::http(LIMITS, json!({ "read_header_timeout": "100ms" })).await;
    let mut tcp = door.connect().await;
    tcp.write_all(b"POST /v1/traces HTTP/1.1\r\nhost: test\r\nx-more: ").await.unwrap();
    read_to_end(&mut tcp).await;
    door.has_cut("slow_request", 1).await;
}

#[tokio::test]
async fn a_message_that_does_not_end_is_answered_and_its_connection_serves_on() {
    let door = Door::grpc(LIMITS, json!({})).await;
    let mut tcp = door.connect_http2().await;
    tcp.write_all(&with_payload(HEADERS, END_HEADERS, 1, &headers())).await.unwrap();
    tcp.write_all(&with_payload(DATA, 0, 1, &message()[..7])).await.unwrap();
    let mut answer = Vec::new();
    while !frames(&answer).iter().any(|(kind, _)| *kind == HEADERS) {
        assert!(tcp.read_buf(&mut answer).await.unwrap() > 0);
    }
    door_refused(&door, "timeout").await;
    tcp.write_all(&with_payload(HEADERS, END_HEADERS, 3, &headers())).await.unwrap();
    tcp.write_all(&with_payload(DATA, END_STREAM, 3, &message())).await.unwrap();
    door.recording.arrived.acquire().await.unwrap().forget();
}

/// Waits until a request was refused for `reason`.
async fn door_refused(door: &Door, reason: &str) {
    let none = format!("reason=\"{reason}\"}} 0");
    let refused = |line: &str| line.starts_with("otelcol_receiver_refused_requests");
    let wait = async {
        while door.page.render().lines().any(|line| refused(line) && line.ends_with(&none)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(SOON, wait).await;
    assert!(waited.is_ok(), "{none}");
}

#[tokio::test]
async fn a_body_that_does_not_end_is_answered() {
    let door = Door::http(LIMITS, json!({ "read_timeout": "100ms" })).await;
    let mut tcp = door.connect().await;
    let head = "POST /v1/traces HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\
                content-type: application/x-protobuf\r\n\r\nhalf";
    tcp.write_all(head.as_bytes()).await.unwrap();
    let answer = read_to_end(&mut tcp).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("did not arrive in time"), "{answer}");
    door_refused(&door, "timeout").await;
}

#[tokio::test]
async fn a_client_that_takes_no_answers_is_cut() {
    let padding = "x".repeat(8000);
    let door = Door::http(
        LIMITS,
        json!({ "write_timeout": "100ms", "response_headers": { "x-padding": padding } }),
    )
    .await;
    let mut tcp = door.connect().await;
    let request = b"POST /nowhere HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n\r\n";
    flood(&mut tcp, || request.repeat(100)).await;
    door.has_cut("stalled", 1).await;
}

#[tokio::test]
async fn rapid_resets_end_the_connection_and_no_other() {
    let door = Door::grpc(LIMITS, json!({ "max_concurrent_streams": 10 })).await;
    let good = door.client();
    good.send(traces(&["a"])).await.unwrap();
    let mut tcp = door.connect_http2().await;
    let mut stream = 1;
    flood(&mut tcp, || {
        let mut bytes = with_payload(HEADERS, END_HEADERS, stream, &headers());
        bytes.extend(with_payload(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
        stream += 2;
        bytes
    })
    .await;
    assert!(stream < 100_000, "{stream}");
    good.send(traces(&["b"])).await.unwrap();
}

#[tokio::test]
async fn resets_with_time_in_between_are_bounded_too() {
    let door = Door::grpc(LIMITS, json!({})).await;
    // The library bounds those that it has not looked at; these it has.
    let mut tcp = door.connect_http2().await;
    for stream in (1..).step_by(2).take(3000) {
        let mut bytes = with_payload(HEADERS, END_HEADERS, stream, &headers());
        let begun = tcp.write_all(&bytes).await;
        tokio::task::yield_now().await;
        bytes = with_payload(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
        if begun.is_err() || tcp.write_all(&bytes).await.is_err() {
            break;
        }
    }
    read_to_end(&mut tcp).await;
}

#[tokio::test]
async fn a_block_of_headers_without_end_ends_the_connection() {
    let door = Door::grpc(Limits { frame: SOON, ..LIMITS }, json!({})).await;
    let mut tcp = door.connect_http2().await;
    tcp.write_all(&with_payload(HEADERS, 0, 1, &headers())).await.unwrap();
    let mut sent = 0_usize;
    flood(&mut tcp, || {
        sent += 1;
        frame(CONTINUATION, 0, 1, 1000)
    })
    .await;
    door.has_cut("protocol", 1).await;
    door.client().send(traces(&["a"])).await.unwrap();
}

#[tokio::test]
async fn too_many_headers_are_refused_and_not_kept() {
    let door = Door::grpc(LIMITS, json!({})).await;
    let mut tcp = door.connect_http2().await;
    // One header of 1000 bytes that the table remembers, then its one-byte name a hundred times:
    // a kilobyte that means a hundred of them.
    let mut block = headers();
    block.extend([0x40, 1, b'x', 0x7f, 0xe9, 0x06]);
    block.resize(block.len() + 1000, b'y');
    block.resize(block.len() + 100, 0xbe);
    tcp.write_all(&with_payload(HEADERS, END_HEADERS | END_STREAM, 1, &block)).await.unwrap();
    let mut answer = Vec::new();
    let refused = |bytes: &[u8]| {
        frames(bytes).iter().any(|(kind, _)| matches!(*kind, HEADERS | RST_STREAM | GOAWAY))
    };
    while !refused(&answer) {
        assert!(tcp.read_buf(&mut answer).await.unwrap() > 0);
    }
    assert!(door.recording.taken().is_empty());
    door.client().send(traces(&["a"])).await.unwrap();
}

#[tokio::test]
async fn idle_frames_without_end_end_the_connection() {
    let limits = Limits { idle_frames: 10, ..LIMITS };
    for (kind, length) in [(PING, 8), (SETTINGS, 0), (2, 5)] {
        let door = Door::grpc(limits, json!({ "max_concurrent_streams": 1 })).await;
        let mut tcp = door.connect_http2().await;
        let stream = u32::from(kind == 2);
        tcp.write_all(&frame(kind, 0, stream, length).repeat(50)).await.unwrap();
        let answer = read_to_end(&mut tcp).await;
        assert_eq!(goodbye(&answer), (11, "too_many_idle_frames".to_owned()), "{kind}");
        door.has_cut("too_many_idle_frames", 1).await;
    }
}

#[tokio::test]
async fn pings_against_the_policy_end_the_connection_with_the_usual_word() {
    // As soon as there is one, five minutes are its default, which 0 stands for as well.
    for policy in [json!({ "min_time": "1h" }), json!({}), json!({ "min_time": "0s" })] {
        let keepalive = json!({ "keepalive": { "enforcement_policy": policy } });
        let door = Door::grpc(LIMITS, keepalive).await;
        let mut tcp = door.connect_http2().await;
        tcp.write_all(&frame(PING, 0, 0, 8).repeat(4)).await.unwrap();
        let answer = read_to_end(&mut tcp).await;
        assert_eq!(goodbye(&answer), (11, "too_many_pings".to_owned()), "{policy}");
        door.has_cut("too_many_pings", 1).await;
    }
    // Without a policy as many are answered.
    let door = Door::grpc(LIMITS, json!({})).await;
    let mut tcp = door.connect_http2().await;
    tcp.write_all(&frame(PING, 0, 0, 8).repeat(4)).await.unwrap();
    let mut answer = Vec::new();
    while frames(&answer).iter().filter(|(kind, _)| *kind == PING).count() < 4 {
        assert!(tcp.read_buf(&mut answer).await.unwrap() > 0);
    }
}

#[tokio::test]
async fn requests_above_the_limit_of_a_connection_are_refused() {
    let door = Door::grpc(LIMITS, json!({ "max_concurrent_streams": 2 })).await;
    door.recording.close_gate();
    let mut tcp = door.connect_http2().await;
    // The limit binds once the client has said that it knows it.
    let mut answer = Vec::new();
    while !frames(&answer).iter().any(|(kind, _)| *kind == SETTINGS) {
        tcp.read_buf(&mut answer).await.unwrap();
    }
    tcp.write_all(&frame(SETTINGS, 1, 0, 0)).await.unwrap();
    for stream in [1, 3, 5] {
        tcp.write_all(&with_payload(HEADERS, END_HEADERS, stream, &headers())).await.unwrap();
        tcp.write_all(&with_payload(DATA, END_STREAM, stream, &message())).await.unwrap();
    }
    let refused = |bytes: &[u8]| {
        frames(bytes).iter().any(|(kind, code)| (*kind, *code) == (RST_STREAM, &[0, 0, 0, 7][..]))
    };
    while !refused(&answer) {
        assert!(tcp.read_buf(&mut answer).await.unwrap() > 0);
    }
    door.recording.arrived.acquire_many(2).await.unwrap().forget();
    assert!(door.recording.arrived.try_acquire().is_err(), "the third did not come in");
}

#[tokio::test]
async fn silent_connections_give_way_to_a_client_that_sends() {
    let patient = Limits { opening: SOON, ..LIMITS };
    let door = Door::grpc(patient, json!({ "max_connections": 3 })).await;
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(door.connect().await);
    }
    let first = door.client();
    first.send(traces(&["a"])).await.unwrap();
    read_to_end(&mut silent[0]).await;
    door.has_cut("quiet", 1).await;
    // One more, which pushes out the second: the client has just sent.
    let good = door.client();
    good.send(traces(&["b"])).await.unwrap();
    read_to_end(&mut silent[1]).await;
    good.send(traces(&["c"])).await.unwrap();
    door.has_cut("quiet", 2).await;
}

#[tokio::test]
async fn when_all_work_the_new_one_is_turned_away() {
    let door = Door::grpc(LIMITS, json!({ "max_connections": 1 })).await;
    door.recording.close_gate();
    let good = door.client();
    let sending = tokio::spawn(async move { good.send(traces(&["a"])).await });
    door.recording.arrived.acquire().await.unwrap().forget();
    let mut second = door.connect().await;
    assert!(read_to_end(&mut second).await.is_empty());
    door.has_cut("full", 1).await;
    door.recording.gate.add_permits(1);
    sending.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_idle_connection_is_told_to_go() {
    let idle = json!({ "keepalive": { "server_parameters": { "max_connection_idle": "50ms" } } });
    let door = Door::grpc(LIMITS, idle).await;
    let mut tcp = door.connect_http2().await;
    let answer = read_to_end(&mut tcp).await;
    assert_eq!(goodbye(&answer).0, 0, "no error");
}

#[tokio::test]
async fn stopping_does_not_wait_for_a_client_that_does_not_answer() {
    let door = Door::grpc(Limits { frame: SOON, ..LIMITS }, json!({})).await;
    let mut half_open = door.connect_http2().await;
    half_open.read_u8().await.unwrap();
    let stopping = door.server.shutdown(clock::now() + 10 * SOON);
    tokio::time::timeout(SOON, stopping).await.expect("it ends long before the deadline");
}

/// Receives a few requests at a time; the slow give way when they have had their time.
fn small(min_stay: Duration) -> Budget {
    Budget::new(3 * memory::REQUEST_UPKEEP, min_stay)
}

#[tokio::test]
async fn slow_messages_give_way_when_too_much_is_received() {
    let limits = Limits { message: SOON, ..LIMITS };
    let door = Door::grpc_with(limits, json!({}), small(Duration::ZERO)).await;
    let mut tcp = door.connect_http2().await;
    for stream in [1, 3, 5] {
        tcp.write_all(&with_payload(HEADERS, END_HEADERS, stream, &headers())).await.unwrap();
    }
    // Until the server has said that it wants them, or at least seen them.
    tcp.write_all(&frame(PING, 0, 0, 8)).await.unwrap();
    let mut answer = Vec::new();
    while !frames(&answer).iter().any(|(kind, _)| *kind == PING) {
        assert!(tcp.read_buf(&mut answer).await.unwrap() > 0);
    }
    door.client().send(traces(&["a"])).await.unwrap();
    door_refused(&door, "over_budget").await;
    while !frames(&answer).iter().any(|(kind, _)| *kind == HEADERS) {
        assert!(tcp.read_buf(&mut answer).await.unwrap() > 0);
    }
}

#[tokio::test]
async fn what_does_not_fit_is_to_be_sent_again_later() {
    let span = "x".repeat(4 * memory::REQUEST_UPKEEP);
    let limits = Limits { message: SOON, ..LIMITS };
    let door = Door::grpc_with(limits, json!({}), small(SOON)).await;
    let mut slow = door.connect_http2().await;
    slow.write_all(&with_payload(HEADERS, END_HEADERS, 1, &headers())).await.unwrap();
    slow.read_u8().await.unwrap();
    let rejected = door.client().send(traces(&[&span])).await.unwrap_err();
    assert_eq!(rejected.kind, crate::RejectedKind::Retryable);
    assert_eq!(rejected.retry_after, Some(Duration::from_secs(1)));
    door.client().send(traces(&["a"])).await.unwrap();

    let door = Door::http_with(limits, json!({}), small(SOON)).await;
    let mut slow = door.connect().await;
    let head = "POST /v1/traces HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\n\
                content-length: 9\r\ncontent-type: application/x-protobuf\r\n\r\n";
    slow.write_all(head.as_bytes()).await.unwrap();
    // It is being received once the server has asked for its body.
    slow.read_u8().await.unwrap();
    let mut tcp = door.connect().await;
    let body = traces(&[&span]);
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\
         content-length: {}\r\ncontent-type: application/x-protobuf\r\n\r\n",
        body.bytes().len()
    );
    tcp.write_all(head.as_bytes()).await.unwrap();
    tcp.write_all(body.bytes()).await.unwrap();
    let answer = read_to_end(&mut tcp).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
    door_refused(&door, "over_budget").await;
}

#[test]
fn buffer_sizes_without_effect_are_warned_about() {
    let json = json!({ "protocols": { "grpc": {
        "endpoint": "localhost:0", "read_buffer_size": 1024, "write_buffer_size": 1024,
    } } });
    let (_, problems, warnings) = section::<OtlpReceiverConfig>(&json, ReceiverConfig::validate);
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(warnings.len(), 2, "{warnings:?}");
}
