//! What span metrics cost in memory, counted by the allocator. The only test of its binary, since
//! all threads count.

use std::alloc::System;
use std::sync::Arc;

use async_trait::async_trait;
use shared::connector::span_metrics::{DimensionConfig, SpanMetricsConfig};
use shared::service::{ComponentId, ConnectorConfig, Context};
use shared::wire::Writer;
use shared::{Batch, Consumer, Rejected, Signal};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const SERIES: usize = 20_000;

struct Nowhere;

#[async_trait]
impl Consumer for Nowhere {
    async fn consume(&self, _batch: Batch) -> Result<(), Rejected> {
        Ok(())
    }
}

/// One span for each series, with four attributes that are dimensions and four that are not.
fn spans() -> Batch {
    let mut request = Writer::new();
    request.message(1, |entry| {
        entry.message(1, |resource| resource.string_attribute(1, b"service.name", b"checkout"));
        entry.message(2, |scope| {
            for series in 0..SERIES {
                scope.message(2, |span| {
                    span.bytes(1, &[1; 16]);
                    span.bytes(2, &[2; 8]);
                    span.bytes(5, format!("GET /cart/{}", series / 10).as_bytes());
                    span.varint(6, 2);
                    span.fixed64(7, 1_700_000_000_000_000_000);
                    span.fixed64(8, 1_700_000_000_005_000_000);
                    span.string_attribute(9, b"url.path", b"/cart");
                    span.string_attribute(9, b"http.request.method", b"GET");
                    span.string_attribute(9, b"user_agent.original", b"curl");
                    span.int_attribute(9, b"http.response.status_code", 200);
                    span.string_attribute(9, b"server.address", b"shop.example");
                    span.string_attribute(9, b"http.route", b"/cart/{id}");
                    span.string_attribute(9, b"client.address", b"10.0.0.1");
                    let shard = (series % 10).to_string();
                    span.string_attribute(9, b"shard", shard.as_bytes());
                });
            }
        });
    });
    Batch::parse(Signal::Traces, request.into_vec().into()).expect("it was written as a request")
}

fn connector() -> Arc<dyn Consumer> {
    let names = ["http.request.method", "http.response.status_code", "http.route", "shard"];
    let dimension =
        |name: &str| DimensionConfig { name: name.to_owned(), ..DimensionConfig::default() };
    let config = SpanMetricsConfig {
        dimensions: names.map(dimension).into(),
        aggregation_cardinality_limit: 0,
        ..SpanMetricsConfig::default()
    };
    let ctx = Context {
        id: ComponentId::parse("span_metrics").expect("a plain id"),
        signal: Signal::Traces,
        output: Signal::Metrics,
        losses: Arc::default(),
        instance: "backend-0".into(),
        commons: Arc::default(),
    };
    config.build(&ctx, Arc::new(Nowhere)).expect("nothing is bound")
}

#[tokio::test]
async fn a_series_takes_300_bytes_and_a_span_of_one_allocates_nothing() {
    let spans = spans();
    let connector = connector();
    let region = Region::new(COUNTED);
    connector.consume(spans.clone()).await.expect("it takes all");
    let change = region.change();
    let each = (change.bytes_allocated - change.bytes_deallocated) / SERIES;
    assert!((100..=300).contains(&each), "{each} bytes for each series with 17 buckets");

    let region = Region::new(COUNTED);
    connector.consume(spans).await.expect("it takes all");
    let allocations = region.change().allocations;
    assert!(allocations < 20, "{allocations} for a batch of {SERIES} spans");
}
