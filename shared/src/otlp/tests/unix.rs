//! Both protocols over Unix sockets.

use ::http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;

use super::*;

/// The answer of whoever listens at `path`, over HTTP/2.
async fn send(path: &std::path::Path, content_type: &str, uri: &str, body: Vec<u8>) -> Bytes {
    let stream = TokioIo::new(UnixStream::connect(path).await.unwrap());
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::post(format!("http://localhost{uri}"))
        .header(header::CONTENT_TYPE, content_type)
        .body(Full::new(Bytes::from(body)))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let body = response.into_body().collect().await.unwrap();
    connection.abort();
    body.to_bytes()
}

#[tokio::test]
async fn both_protocols_are_spoken_over_unix_sockets() {
    let directory = tempfile::tempdir().unwrap();
    let (grpc, http) = (directory.path().join("grpc.sock"), directory.path().join("http.sock"));
    // A file of a process that was killed is no obstacle.
    drop(std::os::unix::net::UnixListener::bind(&grpc).unwrap());
    let served = serve(json!({
        "grpc": { "endpoint": grpc, "transport": "unix" },
        "http": { "endpoint": http, "transport": "unix" },
    }))
    .await;
    assert!(served.receiver.addresses().is_empty(), "no port is open");

    let batch = traces(&["a"]);
    let mut message = vec![0];
    message.extend(u32::try_from(batch.bytes().len()).unwrap().to_be_bytes());
    message.extend(batch.bytes());
    let method = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    assert_eq!(send(&grpc, "application/grpc", method, message).await, [0; 5].as_slice());
    let body = batch.bytes().to_vec();
    assert!(send(&http, "application/x-protobuf", "/v1/traces", body).await.is_empty());
    assert_eq!(served.recording.taken(), [batch.clone(), batch]);

    served.receiver.shutdown(clock::now() + SOON).await;
    assert!(!grpc.exists() && !http.exists(), "no file is left");
}

#[test]
fn a_path_must_fit_into_a_sockets_address() {
    let problems = |endpoint: &str| {
        let json =
            json!({ "protocols": { "grpc": { "endpoint": endpoint, "transport": "unix" } } });
        section::<OtlpReceiverConfig>(&json, ReceiverConfig::validate).1
    };
    assert!(problems("/run/otlp.sock").is_empty());
    assert_eq!(problems(""), ["a::protocols::grpc::endpoint: expected the path of a socket"]);
    let long = problems(&"x".repeat(108));
    assert!(long[0].ends_with("a socket's path has at most 107 bytes, not 108"), "{long:?}");
}
