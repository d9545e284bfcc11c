//! gRPC: client and receiver.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use super::*;
use crate::consumer::{Reached, RejectedKind};
use crate::otlp::OtlpGrpcConfig;
use crate::queue::{Delivered, Sender};
use crate::service::ExporterConfig;
use crate::transport::grpc::client::GrpcClient;

async fn serve_grpc() -> Served {
    serve(json!({ "grpc": { "endpoint": "127.0.0.1:0" } })).await
}

/// A client with these settings besides plain text.
fn client(endpoint: &str, settings: Value) -> Arc<dyn Sender> {
    Arc::new(grpc_client(endpoint, settings))
}

#[tokio::test]
async fn a_batch_crosses_unchanged_with_every_compression() {
    let served = serve_grpc().await;
    let large = traces(&vec!["a span whose name fills more than one frame"; 10_000]);
    for compression in ["none", "gzip", "zstd", "snappy"] {
        let client = client(&served.endpoint(), json!({ "compression": compression }));
        for batch in [traces(&["a"]), large.clone()] {
            assert_eq!(client.send(batch.clone()).await.unwrap(), Delivered::default());
            assert_eq!(served.recording.taken(), [batch], "{compression}");
        }
    }
}

#[tokio::test]
async fn many_requests_share_a_connection() {
    let served = serve_grpc().await;
    let client = client(&served.endpoint(), json!({}));
    served.recording.close_gate();
    let sends: Vec<_> = (0..50)
        .map(|_| {
            let client = Arc::clone(&client);
            tokio::spawn(async move { client.send(traces(&["a"])).await })
        })
        .collect();
    // All are under way at once before any is answered.
    served.recording.arrived.acquire_many(50).await.unwrap().forget();
    served.recording.gate.add_permits(50);
    for send in sends {
        send.await.unwrap().unwrap();
    }
}

/// The client itself, which can do more than send.
fn grpc_client(endpoint: &str, mut settings: Value) -> GrpcClient {
    settings["endpoint"] = json!(endpoint);
    settings["tls"] = json!({ "insecure": true });
    let (config, problems, _) = section::<OtlpGrpcConfig>(&settings, ExporterConfig::validate);
    assert!(problems.is_empty(), "{problems:?}");
    config.client(endpoint, &context().commons).unwrap()
}

#[tokio::test]
async fn connections_are_made_as_requests_need_them() {
    let served = serve_grpc().await;
    let client = grpc_client(&served.endpoint(), json!({ "connections": 3 }));
    assert_eq!(client.open_connections(), 0);
    // One after the other, they share the first.
    for _ in 0..5 {
        client.send(traces(&["a"])).await.unwrap();
    }
    assert_eq!(client.open_connections(), 1);
    served.recording.close_gate();
    let sends: Vec<_> = (0..7)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.send(traces(&["a"])).await })
        })
        .collect();
    served.recording.arrived.acquire_many(5 + 7).await.unwrap().forget();
    assert_eq!(client.open_connections(), 3);
    served.recording.gate.add_permits(7);
    for send in sends {
        send.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn several_batches_leave_as_one_request() {
    let served = serve_grpc().await;
    let (a, b) = (traces(&["a"]), traces(&["b"]));
    for compression in ["none", "zstd"] {
        let client = grpc_client(&served.endpoint(), json!({ "compression": compression }));
        client.send_all(vec![a.clone(), b.clone()]).await.unwrap();
        assert_eq!(served.recording.taken(), [a.clone().concat(b.clone())]);
    }
    served.recording.answer(|batch| Err(Rejected::refused(batch, "no room")));
    let client = grpc_client(&served.endpoint(), json!({}));
    let rejected = client.send_all(vec![a.clone(), b.clone()]).await.unwrap_err();
    assert_eq!(rejected.batch, a.concat(b));
}

#[tokio::test]
async fn a_probe_tells_who_serves() {
    let served = serve_grpc().await;
    let client = grpc_client(&served.endpoint(), json!({}));
    client.probe(SOON).await.unwrap();
    assert!(served.recording.taken().is_empty());
    served.receiver.shutdown(clock::now() + SOON).await;
    let rejected = client.probe(SOON).await.unwrap_err();
    assert_eq!(rejected.reached, Reached::Nobody, "{rejected}");
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = grpc_client(&silent.local_addr().unwrap().to_string(), json!({}));
    let rejected = client.probe(Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(rejected.reason, "the destination did not answer in time");
}

#[tokio::test]
async fn who_has_no_service_for_traces_answers_a_probe_all_the_same() {
    let json = json!({ "protocols": { "grpc": { "endpoint": "127.0.0.1:0" } } });
    let (config, _, _) = section::<OtlpReceiverConfig>(&json, ReceiverConfig::validate);
    let next: Next = Recording::new();
    let outputs = BTreeMap::from([(Signal::Logs, next)]);
    let receiver = config.start(&context(), outputs).await.unwrap();
    let client = grpc_client(&receiver.addresses()[0].to_string(), json!({}));
    let rejected = client.send(traces(&["a"])).await.unwrap_err();
    assert_eq!(rejected.code, Some(12), "UNIMPLEMENTED");
    client.probe(SOON).await.unwrap();
}

#[tokio::test]
async fn a_probe_does_not_wait_out_the_backoff() {
    let address = nobody_listens();
    let client = grpc_client(&address.to_string(), json!({}));
    for _ in 0..8 {
        client.probe(SOON).await.unwrap_err();
    }
    let _served = serve(json!({ "grpc": { "endpoint": address.to_string() } })).await;
    // After so many failures a request would fail for seconds.
    client.send(traces(&["a"])).await.unwrap_err();
    client.probe(SOON).await.unwrap();
    client.send(traces(&["a"])).await.unwrap();
}

#[tokio::test]
async fn how_far_a_failed_request_got_is_told() {
    let served = serve_grpc().await;
    let client = grpc_client(&served.endpoint(), json!({}));
    served.recording.answer(|batch| Err(Rejected::refused(batch, "no room")));
    let rejected = client.send(traces(&["a"])).await.unwrap_err();
    assert_eq!(rejected.reached, Reached::Answered);
    served.recording.close_gate();
    let begun = tokio::spawn({
        let client = client.clone();
        async move { client.send(traces(&["a"])).await }
    });
    served.recording.arrived.acquire_many(2).await.unwrap().forget();
    served.receiver.shutdown(clock::now()).await;
    assert_eq!(begun.await.unwrap().unwrap_err().reached, Reached::Unknown);
    let rejected = client.send(traces(&["a"])).await.unwrap_err();
    assert_eq!(rejected.reached, Reached::Nobody);
}

#[tokio::test]
async fn a_request_that_the_peer_did_not_look_at_goes_out_again() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = grpc_client(&listener.local_addr().unwrap().to_string(), json!({}));
    let sending = tokio::spawn(async move { client.send(traces(&["a"])).await });
    for _ in 0..2 {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let (_, mut respond) = connection.accept().await.unwrap().unwrap();
        respond.send_reset(h2::Reason::REFUSED_STREAM);
        drop(tokio::spawn(async move { while connection.accept().await.is_some() {} }));
    }
    let rejected = sending.await.unwrap().unwrap_err();
    assert_eq!((rejected.kind, rejected.reached), (RejectedKind::Retryable, Reached::Nobody));
}

#[tokio::test]
async fn a_unix_socket_is_spoken_over_and_a_missing_one_is_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("otel.sock");
    let path = path.to_str().unwrap();
    let client = grpc_client(&format!("unix://{path}"), json!({ "authority": "backend" }));
    let rejected = client.send(traces(&["a"])).await.unwrap_err();
    assert_eq!(rejected.reached, Reached::Nobody);
    assert_eq!(rejected.reason, "cannot connect to the destination: entity not found");
    let settings = json!({ "grpc": { "endpoint": path, "transport": "unix" } });
    let served = serve(settings).await;
    let client = grpc_client(&format!("unix:{path}"), json!({}));
    client.send(traces(&["a"])).await.unwrap();
    assert_eq!(served.recording.taken(), [traces(&["a"])]);
}

#[tokio::test]
async fn a_request_without_items_succeeds_and_goes_nowhere() {
    let served = serve_grpc().await;
    client(&served.endpoint(), json!({})).send(Batch::empty(Signal::Traces)).await.unwrap();
    assert!(served.recording.taken().is_empty());
}

#[tokio::test]
async fn what_can_never_succeed_is_permanent() {
    let served = serve_grpc().await;
    let plain = client(&served.endpoint(), json!({ "compression": "none" }));
    let gzip = client(&served.endpoint(), json!({ "compression": "gzip" }));
    let zstd = client(&served.endpoint(), json!({ "compression": "zstd" }));
    let zeros = vec![0; 5 * 1024 * 1024];
    let cases = [
        (&plain, bytes(zeros.clone()), 8, "larger than the limit of 4194304 bytes"),
        (&gzip, bytes(zeros.clone()), 8, "larger than the limit of 4194304 bytes"),
        (&zstd, bytes(zeros), 8, "larger than the limit of 4194304 bytes"),
        (&plain, bytes(&b"\x0a\x05"[..]), 3, "truncated"),
        (&plain, Batch::empty(Signal::Logs), 12, "unknown service or method"),
    ];
    for (client, batch, code, text) in cases {
        let rejected = client.send(batch.clone()).await.unwrap_err();
        assert_eq!((rejected.kind, rejected.code), (RejectedKind::Permanent, Some(code)));
        assert!(rejected.reason.contains(text), "{rejected}");
        assert_eq!(rejected.batch, batch);
    }
    assert!(served.recording.taken().is_empty());
}

#[tokio::test]
async fn the_limit_is_configured_in_mib() {
    let served =
        serve(json!({ "grpc": { "endpoint": "127.0.0.1:0", "max_recv_msg_size_mib": 6 } })).await;
    let span = "x".repeat(5 * 1024 * 1024);
    client(&served.endpoint(), json!({})).send(traces(&[&span])).await.unwrap();
    assert_eq!(served.recording.taken().len(), 1);
}

#[tokio::test]
async fn a_refusal_and_its_delay_reach_the_client() {
    let served = serve_grpc().await;
    let client = client(&served.endpoint(), json!({}));
    served.recording.answer(|batch| {
        Err(Rejected::refused(batch, "sending queue is full").retry_after(Duration::from_secs(3)))
    });
    let rejected = client.send(traces(&["a"])).await.unwrap_err();
    assert_eq!(rejected.kind, RejectedKind::Retryable);
    assert_eq!(rejected.retry_after, Some(Duration::from_secs(3)));
    assert_eq!(rejected.reason, "sending queue is full");
    served.recording.answer(|batch| Err(Rejected::permanent(batch, "no").code(7)));
    let rejected = client.send(traces(&["a"])).await.unwrap_err();
    assert_eq!((rejected.kind, rejected.code), (RejectedKind::Permanent, Some(7)));
}

#[tokio::test]
async fn nobody_listening_can_be_retried_and_names_no_host() {
    let client = client(&nobody_listens().to_string(), json!({}));
    for _ in 0..2 {
        let rejected = client.send(traces(&["a"])).await.unwrap_err();
        assert_eq!(rejected.kind, RejectedKind::Retryable);
        assert_eq!(rejected.reason, "cannot connect to the destination: connection refused");
    }
}

#[tokio::test]
async fn a_client_that_waits_for_ready_outlives_a_restart() {
    let endpoint = nobody_listens().to_string();
    let served = serve(json!({ "grpc": { "endpoint": endpoint } })).await;
    let client = client(&endpoint, json!({ "wait_for_ready": true }));
    client.send(traces(&["a"])).await.unwrap();
    served.receiver.shutdown(clock::now() + SOON).await;
    let waiting = tokio::spawn({
        let client = Arc::clone(&client);
        async move { client.send(traces(&["b"])).await }
    });
    let served = serve(json!({ "grpc": { "endpoint": endpoint } })).await;
    tokio::time::timeout(SOON, waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(served.recording.taken(), [traces(&["b"])]);
}

#[tokio::test]
async fn stopping_answers_what_was_begun_and_takes_nothing_new() {
    let served = serve_grpc().await;
    let client = client(&served.endpoint(), json!({}));
    served.recording.close_gate();
    let begun = tokio::spawn({
        let client = Arc::clone(&client);
        async move { client.send(traces(&["a"])).await }
    });
    served.recording.arrived.acquire().await.unwrap().forget();
    let address = served.address();
    let stopping = tokio::spawn(served.receiver.shutdown(clock::now() + SOON));
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let late = self::client(&address.to_string(), json!({})).send(traces(&["b"])).await;
    let late = late.unwrap_err();
    assert_eq!(late.kind, RejectedKind::Retryable);
    served.recording.gate.add_permits(1);
    begun.await.unwrap().unwrap();
    stopping.await.unwrap();
    assert_eq!(served.recording.taken(), [traces(&["a"])]);
}

#[tokio::test]
async fn at_the_deadline_what_is_left_is_cut_off() {
    let served = serve_grpc().await;
    let client = client(&served.endpoint(), json!({}));
    served.recording.close_gate();
    let begun = tokio::spawn(async move { client.send(traces(&["a"])).await });
    served.recording.arrived.acquire().await.unwrap().forget();
    served.receiver.shutdown(clock::now()).await;
    let rejected = begun.await.unwrap().unwrap_err();
    assert_eq!(rejected.kind, RejectedKind::Retryable);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_says_nothing_is_closed() {
    let served = serve_grpc().await;
    let mut silent = tokio::net::TcpStream::connect(served.address()).await.unwrap();
    let mut answer = Vec::new();
    // The server's settings may come; then it hangs up.
    tokio::time::timeout(Duration::from_secs(60), silent.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn an_aged_connection_is_replaced_without_an_error() {
    let served = serve(json!({ "grpc": {
        "endpoint": "127.0.0.1:0",
        "keepalive": { "server_parameters": { "max_connection_age": "20ms" } },
    } }))
    .await;
    let client = client(&served.endpoint(), json!({}));
    let until = clock::now() + Duration::from_millis(300);
    let senders: Vec<_> = (0..10)
        .map(|_| {
            let client = Arc::clone(&client);
            tokio::spawn(async move {
                let mut sent = 0;
                while clock::now() < until {
                    client.send(traces(&["a"])).await.unwrap();
                    sent += 1;
                }
                sent
            })
        })
        .collect();
    let mut sent = 0;
    for sender in senders {
        sent += sender.await.unwrap();
    }
    assert_eq!(served.recording.taken().len(), sent);
}
