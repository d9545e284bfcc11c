//! The exporter as a component, scraped over HTTP.

use http::{HeaderMap, HeaderValue};
use shared::auth::{Authenticator, ServerAuth, Unauthenticated};
use shared::config::{
    AuthConfig, ClientTlsConfig, CorsConfig, Endpoint, HttpServerConfig, Secret, Section,
    ServerTlsConfig, TlsConfig,
};
use shared::metadata::Attributes;
use shared::queue::QueueConfig;
use shared::service::{ComponentId, Context, Losses};
use shared::transport::connect::connect;
use shared::transport::tls::{Alpn, ClientTls};
use shared::{Consumer, clock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::prometheus::PrometheusExporter;

fn context() -> Context {
    Context {
        id: ComponentId::parse("prometheus").unwrap(),
        signal: Signal::Metrics,
        output: Signal::Metrics,
        losses: Arc::new(Losses::default()),
        instance: "backend-0".into(),
        commons: Arc::default(),
    }
}

fn at(endpoint: &str) -> HttpServerConfig {
    HttpServerConfig { endpoint: endpoint.to_owned(), ..HttpServerConfig::default() }
}

fn start(endpoint: &str) -> PrometheusExporter {
    let config = PrometheusConfig { server: at(endpoint), ..short() };
    PrometheusExporter::start(&config, &context()).unwrap()
}

/// The head and the body of the answer to a request of `path`.
async fn get(exporter: &PrometheusExporter, path: &str) -> (String, String) {
    let address = exporter.address().unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", address.port())).await.unwrap();
    // HTTP/1.0 has no chunks, so the body can be read as it is.
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[tokio::test]
async fn what_was_exported_is_scraped() {
    let exporter = start("127.0.0.1:0");
    let (head, body) = get(&exporter, "/metrics").await;
    assert!(head.starts_with("HTTP/1.0 200 OK"), "{head}");
    assert_eq!(body, "");
    let metrics = vec![metric("calls", "", counter(142.0, TIME))];
    exporter.consume(batch(vec![entry(&[("service.name", "a")], metrics)])).await.unwrap();
    let (head, body) = get(&exporter, "/metrics").await;
    let content_type =
        "content-type: text/plain; version=0.0.4; charset=utf-8; escaping=underscores";
    assert!(head.contains(content_type), "{head}");
    let expected = "# HELP calls_total \n# TYPE calls_total counter\ncalls_total{job=\"a\"} 142\n";
    assert_eq!(body, expected);
    assert!(get(&exporter, "/").await.0.starts_with("HTTP/1.0 404"));
}

#[tokio::test]
async fn a_large_page_arrives_whole() {
    let exporter = start(":0");
    let points = (0..5000_u32).map(|index| NumberDataPoint {
        attributes: attributes(&[("index", &index.to_string())]),
        ..point(f64::from(index), TIME)
    });
    let data = sum(CUMULATIVE, true, points.collect());
    exporter.consume(batch(vec![entry(&[], vec![metric("m", "", data)])])).await.unwrap();
    let (_, body) = get(&exporter, "/metrics").await;
    assert_eq!(body.lines().count(), 5002);
    assert!(body.lines().all(|line| line.starts_with("# ") || line.starts_with("m_total{index=")));
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error_that_names_it() {
    let exporter = start("127.0.0.1:0");
    let endpoint = exporter.address().unwrap().to_string();
    let config = PrometheusConfig { server: at(&endpoint), ..short() };
    let error = PrometheusExporter::start(&config, &context()).err().unwrap();
    assert!(error.to_string().starts_with(&format!("cannot listen on {endpoint}: ")), "{error}");
    exporter.shutdown(clock::now() + Duration::from_secs(1)).await;
    assert_eq!(exporter.address(), None);
}

/// The head and the body of the answer to `head`, to which the end is added.
async fn ask(exporter: &PrometheusExporter, head: &str) -> (String, Vec<u8>) {
    let address = exporter.address().unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", address.port())).await.unwrap();
    stream.write_all(format!("{head}\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let body = answer.split_off(end + 4);
    (String::from_utf8(answer).unwrap(), body)
}

#[tokio::test]
async fn a_scraper_gets_the_format_and_the_compression_that_it_asks_for() {
    let config =
        PrometheusConfig { server: at("127.0.0.1:0"), enable_open_metrics: true, ..short() };
    let exporter = PrometheusExporter::start(&config, &context()).unwrap();
    let metrics = vec![metric("calls", "", counter(142.0, TIME))];
    exporter.consume(batch(vec![entry(&[], metrics)])).await.unwrap();
    let head = "GET /metrics HTTP/1.0\r\nAccept: application/openmetrics-text;version=1.0.0\r\n\
                Accept-Encoding: gzip";
    let (head, body) = ask(&exporter, head).await;
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
    assert!(head.contains("content-encoding: gzip"), "{head}");
    let mut text = String::new();
    let mut decoder = flate2::bufread::GzDecoder::new(&body[..]);
    std::io::Read::read_to_string(&mut decoder, &mut text).unwrap();
    assert_eq!(text, "# HELP calls \n# TYPE calls counter\ncalls_total 142.0\n# EOF\n");
}

#[tokio::test]
async fn only_reading_is_allowed() {
    let exporter = start("127.0.0.1:0");
    let metrics = vec![metric("calls", "", counter(142.0, TIME))];
    exporter.consume(batch(vec![entry(&[], metrics)])).await.unwrap();
    let (head, body) = ask(&exporter, "HEAD /metrics HTTP/1.0").await;
    assert!(head.starts_with("HTTP/1.0 200 OK") && head.contains("text/plain"), "{head}");
    assert!(body.is_empty());
    let (head, _) = ask(&exporter, "DELETE /metrics HTTP/1.0").await;
    assert!(head.starts_with("HTTP/1.0 405") && head.contains("allow: GET, HEAD"), "{head}");
}

/// Lets in who says that he is Ann.
struct Ann;

#[async_trait::async_trait]
impl ServerAuth for Ann {
    async fn check(&self, headers: &HeaderMap) -> Result<Attributes, Unauthenticated> {
        match headers.get("authorization").map(HeaderValue::as_bytes) {
            Some(b"Ann") => Ok(Attributes::new()),
            _ => Err(Unauthenticated("who are you?".into())),
        }
    }
}

#[tokio::test]
async fn a_scraper_that_is_not_known_is_turned_away() {
    let context = context();
    let ann = Authenticator { client: None, server: Some(Arc::new(Ann)) };
    context.commons.add_authenticator(ComponentId::parse("basicauth").unwrap(), ann);
    let auth = Section::on(AuthConfig { authenticator: "basicauth".to_owned() });
    let server = HttpServerConfig { auth, ..at("127.0.0.1:0") };
    let config = PrometheusConfig { server, ..short() };
    let exporter = PrometheusExporter::start(&config, &context).unwrap();
    let (head, body) = ask(&exporter, "GET /metrics HTTP/1.0").await;
    assert!(head.starts_with("HTTP/1.0 401"), "{head}");
    assert_eq!(body, b"who are you?");
    let (head, _) = ask(&exporter, "GET /metrics HTTP/1.0\r\nAuthorization: Ann").await;
    assert!(head.starts_with("HTTP/1.0 200"), "{head}");
}

#[tokio::test]
async fn a_page_of_another_origin_may_read_if_it_is_allowed() {
    let cors =
        CorsConfig { allowed_origins: vec!["https://a.org".to_owned()], ..CorsConfig::default() };
    let server = HttpServerConfig { cors: Section::on(cors), ..at("127.0.0.1:0") };
    let exporter =
        PrometheusExporter::start(&PrometheusConfig { server, ..short() }, &context()).unwrap();
    let (head, _) = ask(&exporter, "GET /metrics HTTP/1.0\r\nOrigin: https://a.org").await;
    assert!(head.contains("access-control-allow-origin: https://a.org"), "{head}");
}

#[tokio::test]
async fn metrics_are_served_over_tls() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let common = TlsConfig {
        cert_pem: Secret(certificate.clone()),
        key_pem: Secret(key),
        ..TlsConfig::default()
    };
    let tls = Section::on(ServerTlsConfig { common, ..ServerTlsConfig::default() });
    let server = HttpServerConfig { tls, ..at("127.0.0.1:0") };
    let exporter =
        PrometheusExporter::start(&PrometheusConfig { server, ..short() }, &context()).unwrap();
    let metrics = vec![metric("calls", "", counter(142.0, TIME))];
    exporter.consume(batch(vec![entry(&[], metrics)])).await.unwrap();
    let trusted = TlsConfig { ca_pem: Secret(certificate), ..TlsConfig::default() };
    let client = ClientTls::new(
        &ClientTlsConfig { common: trusted, ..ClientTlsConfig::default() },
        Alpn::Http1,
    );
    let port = exporter.address().unwrap().port();
    let endpoint = Endpoint::parse(&format!("https://localhost:{port}")).unwrap();
    let mut stream = connect(&endpoint, Some(&client.unwrap())).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    // The server may end without TLS's farewell.
    drop(stream.read_to_string(&mut answer).await);
    assert!(answer.contains("calls_total 142\n"), "{answer}");
}

#[tokio::test]
async fn a_queue_in_front_is_emptied_before_the_end() {
    let config = PrometheusConfig {
        server: at("127.0.0.1:0"),
        sending_queue: Section::on(QueueConfig::default()),
        ..short()
    };
    let exporter = PrometheusExporter::start(&config, &context()).unwrap();
    let metrics = vec![metric("calls", "", counter(142.0, TIME))];
    exporter.consume(batch(vec![entry(&[], metrics)])).await.unwrap();
    exporter.chain.shutdown(clock::now() + Duration::from_secs(5)).await;
    assert!(get(&exporter, "/metrics").await.1.contains("calls_total 142\n"));
}

/// A scraper that gives up and comes again does not pile up work.
#[tokio::test]
async fn scrapes_above_the_limit_are_refused_and_others_go_on() {
    let exporter = start("127.0.0.1:0");
    // More than the buffers of a connection hold, so that it is under way until it is read.
    let long = "x".repeat(1 << 20);
    let points = (0..24).map(|index| NumberDataPoint {
        attributes: attributes(&[("long", &long), ("index", &index.to_string())]),
        ..point(1.0, TIME)
    });
    let data = sum(CUMULATIVE, true, points.collect());
    exporter.consume(batch(vec![entry(&[], vec![metric("m", "", data)])])).await.unwrap();
    let port = exporter.address().unwrap().port();
    let mut unread = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.unwrap();
        // Its answer has begun.
        stream.read_u8().await.unwrap();
        unread.push(stream);
    }
    let (head, _) = ask(&exporter, "GET /metrics HTTP/1.0").await;
    assert!(head.starts_with("HTTP/1.0 503"), "{head}");
    let mut body = Vec::new();
    unread.pop().unwrap().read_to_end(&mut body).await.unwrap();
    assert!(body.len() > 24 << 20);
    let (head, _) = ask(&exporter, "HEAD /metrics HTTP/1.0").await;
    assert!(head.starts_with("HTTP/1.0 200"), "{head}");
}
