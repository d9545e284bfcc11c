//! HTTP: what the receiver answers.

use ::http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::json;

use super::*;
use crate::config::Compression;
use crate::transport::compression::{Coding, compress, compress_as};

const PROTOBUF: &str = "application/x-protobuf";

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

async fn serve_http() -> Served {
    serve(json!({ "http": { "endpoint": "127.0.0.1:0", "max_request_body_size": 1000 } })).await
}

fn post(path: &str, content_type: &str) -> ::http::request::Builder {
    let builder = Request::builder().method(Method::POST).uri(path).header(header::HOST, "test");
    builder.header(header::CONTENT_TYPE, content_type)
}

async fn send(
    served: &Served,
    request: ::http::request::Builder,
    body: impl Into<Bytes>,
) -> Answer {
    let tcp = tokio::net::TcpStream::connect(served.address()).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = request.body(Full::new(body.into())).unwrap();
    let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    connection.abort();
    Answer { status: parts.status.as_u16(), headers: parts.headers, body }
}

#[tokio::test]
async fn a_batch_is_taken_with_every_compression() {
    let served = serve_http().await;
    let batch = traces(&["a", "b"]);
    for name in Coding::NAMES.into_iter().chain(["identity", "", "GZIP"]) {
        let request = post("/v1/traces", PROTOBUF).header(header::CONTENT_ENCODING, name);
        let body = compress_as(&name.to_ascii_lowercase(), batch.bytes());
        let answer = send(&served, request, body).await;
        assert_eq!((answer.status, &answer.body[..]), (200, &b""[..]), "{name}");
        assert_eq!(answer.header(header::CONTENT_TYPE), PROTOBUF);
        assert_eq!(served.recording.taken(), std::slice::from_ref(&batch), "{name}");
    }
}

#[tokio::test]
async fn what_is_no_export_is_refused_with_the_reason() {
    let served = serve_http().await;
    let gzip = |bytes: &[u8]| compress(Compression::Gzip, bytes).unwrap();
    let compressed = |name| post("/v1/traces", PROTOBUF).header(header::CONTENT_ENCODING, name);
    let get = Request::builder().uri("/v1/traces").header(header::HOST, "test");
    let cases = [
        (post("/v1/spans", PROTOBUF), vec![], 404, "404 page not found"),
        (post("/v1/logs", PROTOBUF), vec![], 404, "404 page not found"),
        (get, vec![], 405, "405 method not allowed, supported: [POST]"),
        (post("/v1/traces", "text/plain"), vec![], 415, "415 unsupported media type"),
        (post("/v1/traces", PROTOBUF), vec![0x0a, 5], 400, "truncated or corrupt"),
        (post("/v1/traces", PROTOBUF), vec![0; 1001], 413, "larger than the limit of 1000 bytes"),
        (compressed("gzip"), gzip(&[0; 1001]), 413, "larger than the limit of 1000 bytes"),
        (compressed("gzip"), b"no gzip".to_vec(), 400, "corrupt compression"),
        (compressed("br"), vec![], 400, "unsupported Content-Encoding: br"),
    ];
    for (request, body, status, text) in cases {
        let answer = send(&served, request, body).await;
        let body = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, status, "{body}");
        assert!(body.contains(text), "{status}: {body}");
        assert_eq!(answer.header(header::ALLOW), if status == 405 { "POST" } else { "" });
    }
    assert!(served.recording.taken().is_empty());
}

#[tokio::test]
async fn the_body_limit_holds_without_a_content_length() {
    let served = serve_http().await;
    let tcp = tokio::net::TcpStream::connect(served.address()).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await.unwrap();
    let connection = tokio::spawn(connection);
    let frames = (0..2).map(|_| Bytes::from_static(&[0; 600]));
    let body = Chunked(frames.collect());
    let request = post("/v1/traces", PROTOBUF).body(body).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 413);
    connection.abort();
}

/// A body of unknown length.
struct Chunked(std::collections::VecDeque<Bytes>);

impl hyper::body::Body for Chunked {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Ready(self.0.pop_front().map(|bytes| Ok(hyper::body::Frame::data(bytes))))
    }
}

#[tokio::test]
async fn a_rejection_has_status_delay_and_message() {
    let served = serve_http().await;
    let request = || post("/v1/traces", PROTOBUF);
    served.recording.answer(|batch| {
        Err(Rejected::refused(batch, "full").retry_after(Duration::from_millis(2100)))
    });
    let answer = send(&served, request(), traces(&["a"]).bytes().clone()).await;
    assert_eq!((answer.status, answer.header(header::RETRY_AFTER)), (503, "3"));
    assert_eq!(&answer.body[..], b"\x08\x0e\x12\x04full");
    served.recording.answer(|batch| Err(Rejected::permanent(batch, "no")));
    let answer = send(&served, request(), traces(&["a"]).bytes().clone()).await;
    assert_eq!((answer.status, answer.header(header::RETRY_AFTER)), (500, ""));
}

#[tokio::test]
async fn every_bomb_stops_at_the_limit_of_the_body() {
    let served = serve_http().await;
    for name in Coding::NAMES {
        for content_type in [PROTOBUF, "application/json"] {
            let request = post("/v1/traces", content_type).header(header::CONTENT_ENCODING, name);
            // Below the limit as sent, a hundred times above it inflated.
            let answer = send(&served, request, compress_as(name, &[b' '; 1001])).await;
            assert_eq!(answer.status, 413, "{name}: {:?}", answer.body);
            assert_eq!(answer.header(header::CONTENT_TYPE), content_type);
        }
    }
}

#[tokio::test]
async fn a_compression_that_is_not_listed_is_refused() {
    let served = serve(json!({ "http": {
        "endpoint": "127.0.0.1:0", "compression_algorithms": ["", "zstd"],
    } }))
    .await;
    for (name, status) in [("zstd", 200), ("gzip", 400), ("identity", 200)] {
        let request = post("/v1/traces", PROTOBUF).header(header::CONTENT_ENCODING, name);
        let answer = send(&served, request, compress_as(name, traces(&["a"]).bytes())).await;
        assert_eq!(answer.status, status, "{name}: {:?}", answer.body);
    }
}

#[tokio::test]
async fn a_browser_learns_what_it_may_send_and_sends_it() {
    let served = serve(json!({ "http": {
        "endpoint": "127.0.0.1:0",
        "cors": { "allowed_origins": ["https://*.example.com"], "max_age": 60 },
        "response_headers": { "vary": "X-Mine", "x-served-by": "edge" },
    } }))
    .await;
    let preflight = Request::builder()
        .method(Method::OPTIONS)
        .uri("/v1/traces")
        .header(header::HOST, "test")
        .header(header::ORIGIN, "https://shop.example.com")
        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST")
        .header(header::ACCESS_CONTROL_REQUEST_HEADERS, "content-type");
    let answer = send(&served, preflight, "").await;
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    assert_eq!(answer.header(header::ACCESS_CONTROL_ALLOW_HEADERS), "content-type");
    assert_eq!(answer.header(header::ACCESS_CONTROL_MAX_AGE), "60");
    assert_eq!(answer.header(header::HeaderName::from_static("x-served-by")), "edge");
    for (origin, allowed) in
        [("https://shop.example.com", "https://shop.example.com"), ("https://evil.org", "")]
    {
        let request = post("/v1/traces", PROTOBUF).header(header::ORIGIN, origin);
        let answer = send(&served, request, traces(&["a"]).bytes().clone()).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header(header::ACCESS_CONTROL_ALLOW_ORIGIN), allowed);
        assert_eq!(answer.header(header::CONTENT_TYPE), PROTOBUF);
    }
    // OPTIONS that is no preflight is a method like any other that is not POST.
    let options = Request::builder().method(Method::OPTIONS).uri("/v1/traces");
    let answer = send(&served, options.header(header::HOST, "test"), "").await;
    assert_eq!((answer.status, answer.header(header::ALLOW)), (405, "POST"));
}

#[tokio::test]
async fn empty_bodies_are_empty_requests_in_protobuf_only() {
    let served = serve_http().await;
    let answer = send(&served, post("/v1/traces", PROTOBUF), "").await;
    assert_eq!(answer.status, 200);
    let answer = send(&served, post("/v1/traces", "application/json"), "null").await;
    assert_eq!((answer.status, &answer.body[..]), (200, &b"{}"[..]));
    let answer = send(&served, post("/v1/traces", "application/json"), "").await;
    assert_eq!(answer.status, 400, "{:?}", answer.body);
    assert!(served.recording.taken().is_empty());
}

#[tokio::test]
async fn http2_is_spoken_without_tls() {
    let served = serve_http().await;
    let tcp = tokio::net::TcpStream::connect(served.address()).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(
        hyper_util::rt::TokioExecutor::new(),
        TokioIo::new(tcp),
    )
    .await
    .unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::post("http://test/v1/traces")
        .header(header::CONTENT_TYPE, PROTOBUF)
        .body(Full::new(traces(&["a"]).bytes().clone()))
        .unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
    assert_eq!(served.recording.taken(), [traces(&["a"])]);
    connection.abort();
}

#[tokio::test]
async fn paths_and_answer_headers_are_configured() {
    let served = serve(json!({ "http": {
        "endpoint": "127.0.0.1:0",
        "traces_url_path": "otlp/spans",
        "response_headers": { "x-served-by": "edge" },
    } }))
    .await;
    let body = traces(&["a"]).bytes().clone();
    let answer = send(&served, post("/otlp/spans", PROTOBUF), body).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header(header::HeaderName::from_static("x-served-by")), "edge");
}

#[tokio::test]
async fn json_is_answered_in_json() {
    let served = serve_http().await;
    let json = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{
        "traceId":"07070707070707070707070707070707","name":"a"}]}]}]}"#;
    let answer = send(&served, post("/v1/traces", "application/json; charset=utf-8"), json).await;
    assert_eq!((answer.status, &answer.body[..]), (200, &b"{}"[..]));
    assert_eq!(answer.header(header::CONTENT_TYPE), "application/json");
    assert_eq!(served.recording.taken(), [traces(&["a"])]);
    let answer = send(&served, post("/v1/traces", "application/json"), "{]").await;
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status, &body["code"]), (400, &json!(3)));
}
