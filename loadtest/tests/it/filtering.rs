//! Filters and statements in front of span metrics, in both tiers.

use loadtest::testbed::cluster::until;
use loadtest::testbed::process::Tier;
use shared::Batch;
use shared::wire::{Signal, Writer};

use crate::common::{keeping_all, settle, start, stop};

/// Server spans of one service: health checks, and users whose ids are in the names.
fn spans(health_checks: u8, users: u8) -> Batch {
    let mut request = Writer::new();
    request.message(1, |entry| {
        entry.message(1, |resource| resource.string_attribute(1, b"service.name", b"shop"));
        entry.message(2, |scope| {
            for index in 0..health_checks + users {
                let (name, path) = match index < health_checks {
                    true => ("GET /health".to_owned(), "/health"),
                    false => (format!("GET /users/{index}"), "/users"),
                };
                scope.message(2, |span| {
                    span.bytes(1, &[index + 1; 16]);
                    span.bytes(2, &[index + 1; 8]);
                    span.bytes(5, name.as_bytes());
                    span.varint(6, 2);
                    span.fixed64(7, 1_700_000_000_000_000_000);
                    span.fixed64(8, 1_700_000_000_001_000_000);
                    span.string_attribute(9, b"url.path", path.as_bytes());
                    span.string_attribute(9, b"http.request.method", b"GET");
                    span.string_attribute(9, b"http.route", b"/users/{id}");
                });
            }
        });
    });
    Batch::parse(Signal::Traces, request.into_vec().into()).unwrap()
}

#[tokio::test]
async fn health_checks_are_dropped_and_names_made_conventional_before_they_are_counted() {
    let mut shape = keeping_all(1, 1);
    shape.edge_settings = vec![
        r#"processors::filter::trace_conditions=['span.attributes["url.path"] == "/health"']"#
            .to_owned(),
        "service::pipelines::traces::processors=[memory_limiter, filter]".to_owned(),
    ];
    shape.backend_settings.push(
        r#"processors::transform::trace_statements=['set_semconv_span_name("1.37.0") where span.kind == SPAN_KIND_SERVER']"#
            .to_owned(),
    );
    shape.backend_settings.push(
        "service::pipelines::traces/metrics::processors=[memory_limiter, transform]".to_owned(),
    );
    let cluster = start(shape).await;
    cluster.clients().unwrap().remove(0).send(spans(4, 6)).await.unwrap();
    let (_, backend) = settle(&cluster).await;
    assert_eq!(backend.received, 6);
    until("the span metrics are flushed", async || {
        Ok(cluster.span_metrics().await?.sum("traces_span_metrics_calls") >= 6)
    })
    .await
    .unwrap();

    let page = cluster.span_metrics().await.unwrap();
    let names: Vec<_> =
        page.series("traces_span_metrics_calls").map(|series| series.label("span_name")).collect();
    assert_eq!(names, ["GET /users/{id}"]);
    assert_eq!(page.sum("traces_span_metrics_calls"), 6);
    let edge = cluster.telemetry(Tier::Edge).await.unwrap();
    assert_eq!(edge.sum("otelcol_processor_filter_spans_filtered"), 4);
    stop(cluster).await;
}
