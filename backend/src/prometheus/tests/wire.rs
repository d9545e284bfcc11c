//! The exporter as a component, scraped over HTTP.

use shared::service::{ComponentId, Context, Losses};
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

fn start(endpoint: &str) -> PrometheusExporter {
    let config = PrometheusConfig { endpoint: endpoint.to_owned(), ..short() };
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
    let config = PrometheusConfig { endpoint: endpoint.clone(), ..short() };
    let error = PrometheusExporter::start(&config, &context()).err().unwrap();
    assert!(error.to_string().starts_with(&format!("cannot listen on {endpoint}: ")), "{error}");
    exporter.shutdown(clock::now() + Duration::from_secs(1)).await;
    assert_eq!(exporter.address(), None);
}
