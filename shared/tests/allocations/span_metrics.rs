//! What span metrics cost in memory.

use std::sync::Arc;

use allocation_counter::measure;
use async_trait::async_trait;
use shared::connector::span_metrics::{DimensionConfig, SpanMetricsConfig};
use shared::service::{ComponentId, ConnectorConfig, Context};
use shared::wire::Writer;
use shared::{Batch, Consumer, Rejected, Signal};
use tokio::runtime::Runtime;

use super::allocations_of;

const SERIES: usize = 20_000;

struct Nowhere;

#[async_trait]
impl Consumer for Nowhere {
    async fn consume(&self, _batch: Batch) -> Result<(), Rejected> {
        Ok(())
    }
}

/// Spans of so many series by turns, with four attributes that are dimensions and four that are not.
fn spans(count: usize, series: usize) -> Batch {
    let mut request = Writer::new();
    request.message(1, |entry| {
        entry.message(1, |resource| resource.string_attribute(1, b"service.name", b"checkout"));
        entry.message(2, |scope| {
            for series in (0..series).cycle().take(count) {
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

/// A connector, and the thread it works on.
fn connector() -> (Arc<dyn Consumer>, Runtime) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("no I/O is needed");
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
    let connector = {
        let _entered = runtime.enter();
        config.build(&ctx, Arc::new(Nowhere)).expect("nothing is bound")
    };
    (connector, runtime)
}

#[test]
fn a_series_takes_300_bytes() {
    let spans = spans(SERIES, SERIES);
    let (connector, runtime) = connector();
    // What the connector lets go of must not be counted against what it keeps.
    let batch = spans.clone();
    let taken = measure(|| runtime.block_on(connector.consume(batch)).expect("it takes all"));
    drop(spans);
    let each = usize::try_from(taken.bytes_current).expect("it keeps them") / SERIES;
    assert!((100..=300).contains(&each), "{each} bytes for each series with 17 buckets");
}

#[test]
fn a_span_of_a_known_series_costs_no_allocation() {
    let (connector, runtime) = connector();
    let allocations = |count| {
        let spans = spans(count, 50);
        allocations_of(|| runtime.block_on(connector.consume(spans)).expect("it takes all"))
    };
    assert!(allocations(50) > 50, "each series costs some");
    let (few, many) = (allocations(100), allocations(1000));
    assert_eq!(few, many, "for 100 and for 1,000 spans");
    assert!(few < 20, "{few} for a request");
}
