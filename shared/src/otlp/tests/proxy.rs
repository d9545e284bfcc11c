//! Exporters over HTTP by a proxy.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::tls::{authority, identity};
use super::*;
use crate::consumer::RejectedKind;
use crate::otlp::OtlpHttpConfig;
use crate::queue::Sender;
use crate::service::ExporterConfig;
use crate::transport::http::client::HttpClient;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// A proxy that answers one request; a tunnel is one, if it says so. Ends with the request's head.
async fn proxy(answer: &'static str) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.read_u8().await.unwrap());
        }
        client.write_all(answer.as_bytes()).await.unwrap();
        let head = String::from_utf8(head).unwrap();
        if answer == OK
            && let Some(rest) = head.strip_prefix("CONNECT ")
        {
            let target = rest.split(' ').next().unwrap();
            let mut server = TcpStream::connect(target).await.unwrap();
            drop(tokio::spawn(async move {
                // Ends with an error when the client goes away.
                drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
            }));
        }
        head
    });
    (address, serving)
}

/// Sends a batch to `url` with these settings.
async fn send(url: &str, settings: &Value) -> Result<(), Rejected> {
    let mut settings = settings.clone();
    settings["traces_endpoint"] = json!(url);
    let (config, problems, _) = section::<OtlpHttpConfig>(&settings, ExporterConfig::validate);
    assert!(problems.is_empty(), "{problems:?}");
    let client = HttpClient::new(&config.client, url, config.encoding, &context().commons).unwrap();
    client.send(traces(&["a"])).await.map(|_| ())
}

#[tokio::test]
async fn with_tls_a_batch_goes_through_a_tunnel() {
    let ours = authority("one");
    let tls = identity(&ours, "127.0.0.1");
    let served = serve(json!({ "http": { "endpoint": "127.0.0.1:0", "tls": tls } })).await;
    let (address, asked) = proxy(OK).await;
    let settings = json!({
        "proxy_url": format!("http://ann:s%40crt@{address}"), "tls": { "ca_pem": ours.pem() },
    });
    send(&format!("https://{}/v1/traces", served.endpoint()), &settings).await.unwrap();
    assert_eq!(served.recording.taken(), [traces(&["a"])]);
    let head = asked.await.unwrap();
    assert!(head.starts_with(&format!("CONNECT {} HTTP/1.1\r\n", served.endpoint())), "{head}");
    assert!(head.contains("\r\nProxy-Authorization: Basic YW5uOnNAY3J0\r\n"), "{head}");
}

#[tokio::test]
async fn without_tls_the_proxy_is_sent_the_whole_url() {
    let (address, asked) = proxy(OK).await;
    let settings = json!({ "proxy_url": format!("http://ann:s%40crt@{address}") });
    // The proxy looks the name up, and nobody else.
    send("http://collector.invalid:4318/v1/traces", &settings).await.unwrap();
    let head = asked.await.unwrap();
    let line = "POST http://collector.invalid:4318/v1/traces HTTP/1.1\r\n";
    assert!(head.starts_with(line), "{head}");
    assert!(head.contains("\r\nproxy-authorization: Basic YW5uOnNAY3J0\r\n"), "{head}");
}

#[tokio::test]
async fn a_proxy_that_does_not_help_can_be_asked_again() {
    let (refusing, _) = proxy("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await;
    let (strange, _) = proxy("SSH-2.0-OpenSSH_9.2\r\n\r\n").await;
    for (address, reason) in [
        (nobody_listens(), "cannot connect to the proxy"),
        (refusing, "the proxy answered with HTTP status 407"),
        (strange, "the proxy does not speak HTTP"),
    ] {
        let settings = json!({ "proxy_url": format!("http://{address}") });
        let rejected = send("https://127.0.0.1:1/v1/traces", &settings).await.unwrap_err();
        assert_eq!(rejected.kind, RejectedKind::Retryable);
        assert_eq!(rejected.reason, reason);
    }
}

#[test]
fn proxies_and_levels_that_cannot_be_are_named() {
    let problems = |more: Value| {
        let mut json = json!({ "endpoint": "http://collector:4318" });
        json.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        section::<OtlpHttpConfig>(&json, ExporterConfig::validate).1
    };
    assert_eq!(
        problems(json!({ "proxy_url": "socks5://ann:secret@proxy:1080" })),
        ["a::proxy_url: must be http://…: other proxies are not spoken to"]
    );
    let level = |compression: &str, level: i32| {
        problems(json!({ "compression": compression, "compression_params": { "level": level } }))
    };
    for (compression, known) in [("gzip", 9), ("deflate", 1), ("zstd", 19), ("gzip", -1)] {
        assert_eq!(level(compression, known), [""; 0], "{compression} {known}");
    }
    let at = "a::compression_params::level: ";
    assert_eq!(level("gzip", 10), [format!("{at}must be from -1 to 9")]);
    assert_eq!(level("zlib", -2), [format!("{at}must be from -1 to 9")]);
    assert_eq!(level("zstd", 23), [format!("{at}must be from -1 to 22")]);
    assert_eq!(level("snappy", 1), [format!("{at}only gzip, zlib and zstd have levels")]);
}
