//! What clients send: over both protocols, in both encodings, and what no client should.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use loadtest::generate::Generator;
use loadtest::oracle::{Policies, Policy};
use loadtest::plan::Plan;
use loadtest::testbed::cluster::{Cluster, client};
use loadtest::testbed::http::exchange;
use loadtest::testbed::process::{GRPC, HTTP};
use shared::config::Compression;
use shared::{Batch, RejectedKind, Signal, wire};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};

use crate::common::{compare, flows, keeping_all, load, send, settle, start, stop};

fn post(kind: &str, encoding: Option<&str>, body: impl Into<Bytes>) -> http::Request<Bytes> {
    let mut request = http::Request::post("/v1/traces").header("content-type", kind);
    if let Some(encoding) = encoding {
        request = request.header("content-encoding", encoding);
    }
    request.body(body.into()).unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Posts everything that `generator` has, as `encode` has it.
async fn post_all(
    address: SocketAddr,
    mut generator: Generator,
    encode: impl Fn(&Batch) -> http::Request<Bytes>,
) -> loadtest::truth::Truth {
    while let Some(batch) = generator.next_request() {
        let (status, body) = exchange(address, encode(&batch)).await.unwrap();
        assert_eq!(status, 200, "{body}");
    }
    generator.into_truth()
}

fn keep_all() -> Policies {
    Policies::new(vec![Policy::AlwaysSample])
}

#[tokio::test]
async fn protobuf_over_http_reaches_the_destination_byte_for_byte() {
    let cluster = start(keeping_all(1, 2)).await;
    let generator = Generator::new(Plan::new(61, 200), keep_all().into());
    let truth = post_all(cluster.edges[0].at(HTTP), generator, |batch| {
        post("application/x-protobuf", Some("gzip"), gzip(batch.bytes()))
    })
    .await;
    settle(&cluster).await;
    let traces = compare(&cluster, &truth, &keep_all());
    assert!(traces.is_exact() && traces.duplicates == 0, "{traces:?}");
    stop(cluster).await;
}

#[tokio::test]
async fn json_over_http_reaches_the_destination_whole() {
    let cluster = start(keeping_all(1, 2)).await;
    let generator = Generator::new(Plan::new(62, 200), keep_all().into());
    let truth = post_all(cluster.edges[0].at(HTTP), generator, |batch| {
        let mut json = Vec::new();
        wire::json::encode(Signal::Traces, batch.bytes(), &mut json).unwrap();
        post("application/json", None, json)
    })
    .await;
    let (_, backend) = settle(&cluster).await;
    assert_eq!(backend.exported, truth.spans);
    let received = cluster.sink.ledger().traces();
    for trace in &truth.traces {
        assert_eq!(received[&trace.id].spans.len(), trace.spans as usize);
    }
    stop(cluster).await;
}

#[tokio::test]
async fn compressed_requests_are_as_good() {
    let cluster = start(keeping_all(1, 2)).await;
    for (seed, compression) in [(63, Compression::Gzip), (64, Compression::Zstd)] {
        let target = client(cluster.edges[0].at(GRPC), compression).unwrap();
        let truth = send(load(vec![target]), Plan::new(seed, 200), keep_all()).await;
        settle(&cluster).await;
        let mut received = cluster.sink.ledger().traces();
        received.retain(|id, _| truth.traces.iter().any(|trace| trace.id == *id));
        let traces = loadtest::audit::Traces::compare(&truth, &keep_all(), &received);
        assert!(traces.is_exact(), "{traces:?}");
    }
    stop(cluster).await;
}

/// Posts what is no good; the status must be this one, and the edge must live on.
async fn check_refused(cluster: &Cluster, request: http::Request<Bytes>, expected: u16) {
    let (status, body) = exchange(cluster.edges[0].at(HTTP), request).await.unwrap();
    assert_eq!(status, expected, "{body}");
}

/// The status line of the answer to a request that only announces a body of this length.
async fn announce_body(address: SocketAddr, length: usize) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: edge\r\ncontent-type: application/x-protobuf\r\n\
         content-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut line = String::new();
    tokio::io::BufReader::new(stream).read_line(&mut line).await.unwrap();
    line.trim_end().to_owned()
}

#[tokio::test]
async fn bad_requests_are_refused_and_good_ones_still_taken() {
    let cluster = start(keeping_all(1, 1)).await;
    let (protobuf, json) = ("application/x-protobuf", "application/json");
    let garbage = &b"\xff\xff\xff\xff no request"[..];
    check_refused(&cluster, post(protobuf, None, garbage), 400).await;
    check_refused(&cluster, post(json, None, "{\"resourceSpans\": 7"), 400).await;
    check_refused(&cluster, post(protobuf, Some("gzip"), garbage), 400).await;
    check_refused(&cluster, post("text/plain", None, garbage), 415).await;
    // A small body that would fill the memory.
    let bomb = gzip(&vec![0; 64 * 1024 * 1024]);
    assert!(bomb.len() < 1024 * 1024);
    check_refused(&cluster, post(protobuf, Some("gzip"), bomb), 413).await;
    let announced = announce_body(cluster.edges[0].at(HTTP), 64 * 1024 * 1024).await;
    assert_eq!(announced, "HTTP/1.1 413 Payload Too Large");
    let usage = cluster.edges[0].usage().unwrap();
    assert!(usage.peak_rss < 200 * 1024 * 1024, "{usage:?}");

    let plan = Plan::new(65, 50);
    let truth = send(load(cluster.clients().unwrap()), plan, keep_all()).await;
    settle(&cluster).await;
    let (edge, _) = flows(&cluster).await;
    assert_eq!(edge.accepted, truth.spans);
    let traces = compare(&cluster, &truth, &keep_all());
    assert!(traces.is_exact(), "{traces:?}");
    stop(cluster).await;
}

#[tokio::test]
async fn an_oversized_message_is_not_to_be_sent_again() {
    let cluster = start(keeping_all(1, 1)).await;
    let mut plan = Plan::new(66, u64::MAX);
    plan.spans_per_request = 40_000;
    let request = Generator::new(plan, keep_all().into()).next_request().unwrap();
    assert!(request.bytes().len() > 16 * 1024 * 1024);
    for compression in [Compression::None, Compression::Gzip] {
        let target = client(cluster.edges[0].at(GRPC), compression).unwrap();
        let rejected = target.send(request.clone()).await.unwrap_err();
        assert_eq!(rejected.kind, RejectedKind::Permanent, "{rejected}");
        assert_eq!(rejected.code, Some(8), "RESOURCE_EXHAUSTED: {rejected}");
    }
    stop(cluster).await;
}

/// The `grpc-status` of an answer to `message`, sent as it is.
async fn grpc_status(address: SocketAddr, message: &[u8]) -> String {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend(message);
    let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    let request = http::Request::post(format!("http://{address}{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(Bytes::from(framed)))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.headers().get("grpc-status").cloned();
    let body = response.into_body().collect().await.unwrap();
    let status = status.or_else(|| body.trailers()?.get("grpc-status").cloned()).unwrap();
    connection.abort();
    status.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn bad_bytes_over_grpc_are_an_invalid_argument() {
    let cluster = start(keeping_all(1, 1)).await;
    let edge = cluster.edges[0].at(GRPC);
    assert_eq!(grpc_status(edge, b"\xff\xff\xff").await, "3");
    assert_eq!(grpc_status(edge, b"").await, "0", "an empty request is a good one");
    let page = cluster.edges[0].telemetry().await.unwrap();
    assert_eq!(page.sum("otelcol_receiver_refused_requests"), 1);
    stop(cluster).await;
}
