//! HTTP: exporter against receiver, and against servers that answer as they like.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::consumer::RejectedKind;
use crate::otlp::{Encoding, OtlpHttpConfig};
use crate::queue::{Delivered, Sender};
use crate::service::ExporterConfig;
use crate::transport::http::client::HttpClient;

fn client(url: &str, settings: &Value) -> HttpClient {
    let (config, problems, _) =
        section::<OtlpHttpConfig>(&with_endpoint(settings, url), ExporterConfig::validate);
    assert!(problems.is_empty(), "{problems:?}");
    HttpClient::new(&config.client, url, config.encoding, &context().commons).unwrap()
}

fn with_endpoint(settings: &Value, url: &str) -> Value {
    let mut settings = settings.clone();
    settings["endpoint"] = json!(url);
    settings
}

#[tokio::test]
async fn a_batch_crosses_with_every_compression_and_encoding() {
    let served = serve(json!({ "http": { "endpoint": "127.0.0.1:0" } })).await;
    let url = format!("http://{}/v1/traces", served.endpoint());
    for encoding in ["proto", "json"] {
        for compression in ["none", "gzip", "zstd", "deflate"] {
            let settings = json!({ "encoding": encoding, "compression": compression });
            let batch = traces(&["a", "b"]);
            let delivered = client(&url, &settings).send(batch.clone()).await.unwrap();
            assert_eq!(delivered, Delivered::default());
            assert_eq!(served.recording.taken(), [batch], "{encoding} {compression}");
        }
    }
}

#[tokio::test]
async fn a_refusal_and_its_delay_reach_the_client() {
    let served = serve(json!({ "http": { "endpoint": "127.0.0.1:0" } })).await;
    let url = format!("http://{}/v1/traces", served.endpoint());
    served
        .recording
        .answer(|batch| Err(Rejected::refused(batch, "full").retry_after(Duration::from_secs(3))));
    for encoding in ["proto", "json"] {
        let client = client(&url, &json!({ "encoding": encoding }));
        let rejected = client.send(traces(&["a"])).await.unwrap_err();
        assert_eq!(rejected.kind, RejectedKind::Retryable);
        assert_eq!(rejected.retry_after, Some(Duration::from_secs(3)));
        assert_eq!(rejected.reason, "the destination answered with HTTP status 503: full");
    }
}

#[tokio::test]
async fn nobody_listening_can_be_retried_and_names_no_host() {
    let free = nobody_listens();
    let client = client(&format!("http://{free}/v1/traces"), &json!({}));
    let rejected = client.send(traces(&["a"])).await.unwrap_err();
    assert_eq!(rejected.kind, RejectedKind::Retryable);
    assert_eq!(rejected.reason, "cannot connect to the destination: connection refused");
}

/// Sends one batch to a server that answers with `answer`.
async fn send_to(answer: &'static str) -> Result<Delivered, Rejected> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let read = stream.read(&mut request).await.unwrap();
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8_lossy(&request[..read]).into_owned()
    });
    let settings = json!({ "headers": { "x-tenant": "a" }, "compression": "none" });
    let outcome = client(&url, &settings).send(traces(&["a"])).await;
    let request = server.await.unwrap();
    assert!(request.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("x-tenant: a\r\n"), "{request}");
    outcome
}

#[tokio::test]
async fn a_partial_success_is_delivered_with_what_was_said() {
    let delivered = send_to(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 66\r\n\r\n\
         {\"partialSuccess\":{\"rejectedSpans\":\"2\",\"errorMessage\":\"too old\"} }",
    )
    .await
    .unwrap();
    assert_eq!(delivered, Delivered { rejected_items: 2, message: "too old".to_owned() });
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_a_success_all_the_same() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n{";
    assert_eq!(send_to(answer).await.unwrap(), Delivered::default());
}

#[tokio::test]
async fn a_connection_that_ends_without_an_answer_can_be_retried() {
    let rejected = send_to("").await.unwrap_err();
    assert_eq!(rejected.kind, RejectedKind::Retryable);
}

#[test]
fn an_endpoint_is_needed_and_must_be_a_url() {
    let problems = |json: Value| section::<OtlpHttpConfig>(&json, ExporterConfig::validate).1;
    assert_eq!(problems(json!({})), ["a: at least one endpoint must be specified"]);
    assert!(problems(json!({ "traces_endpoint": "https://host/otlp" })).is_empty());
    assert_eq!(
        problems(json!({ "endpoint": "host:4318", "encoding": "xml" })),
        [
            "a::encoding: expected one of proto, json, got a string \"xml\"",
            "a: at least one endpoint must be specified"
        ]
    );
    assert_eq!(
        problems(json!({ "endpoint": "host:4318" })),
        ["a::endpoint: \"host:4318\" is not a URL such as https://host:4318"]
    );
}

#[test]
fn a_signal_without_an_endpoint_is_named_when_it_is_used() {
    let json = json!({ "logs_endpoint": "http://host/logs" });
    let (config, _, _) = section::<OtlpHttpConfig>(&json, ExporterConfig::validate);
    let error = config.build(&context()).err().unwrap().to_string();
    assert_eq!(error, "either endpoint or traces_endpoint must be specified");
    assert_eq!(config.encoding, Encoding::Protobuf);
}
