//! Span metrics: counting spans in few series, and in so many that each lookup waits for memory.

use std::sync::Arc;

use async_trait::async_trait;
use criterion::Criterion;
use shared::connector::span_metrics::{DimensionConfig, SpanMetricsConfig};
use shared::service::{ComponentId, ConnectorConfig, Context};
use shared::wire::Writer;
use shared::{Batch, Consumer, Rejected, Signal};
use tokio::runtime::{Builder, Runtime};

use super::{IS_TRIAL, bench_memcpy, bench_requests, by_span, requests};

pub(super) fn bench(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_time().build().expect("it needs no I/O");
    let _entered = runtime.enter();

    let connector = connector(&["http.request.method", "http.response.status_code", "http.route"]);
    let generated = requests(if IS_TRIAL { 512 } else { 10_000 });
    let mut group = by_span(criterion, "observe", &generated);
    bench_requests(&mut group, "span metrics", &generated, |request| {
        consume(&runtime, &*connector, request);
    });
    bench_memcpy(&mut group, &generated);
    group.finish();

    let spans = if IS_TRIAL { 512 } else { 100_000 };
    let few = requests_of_series(10, spans);
    let mut group = by_span(criterion, "series lookup", &few);
    for series in [10, spans] {
        let connector = self::connector(&["shard"]);
        let requests = requests_of_series(series, spans);
        bench_requests(&mut group, &format!("{series} series"), &requests, |request| {
            consume(&runtime, &*connector, request);
        });
    }
    bench_memcpy(&mut group, &few);
    group.finish();
}

struct Nowhere;

#[async_trait]
impl Consumer for Nowhere {
    async fn consume(&self, _batch: Batch) -> Result<(), Rejected> {
        Ok(())
    }
}

fn consume(runtime: &Runtime, connector: &dyn Consumer, request: &Batch) {
    runtime.block_on(connector.consume(request.clone())).expect("it takes everything");
}

fn connector(dimensions: &[&str]) -> Arc<dyn Consumer> {
    let dimension =
        |name: &&str| DimensionConfig { name: (*name).to_owned(), ..DimensionConfig::default() };
    let config = SpanMetricsConfig {
        dimensions: dimensions.iter().map(dimension).collect(),
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

/// Small spans, each of another series of one resource than those around it.
fn requests_of_series(series: usize, spans: usize) -> Vec<Batch> {
    let numbers: Vec<usize> = (0..spans).map(|number| number * 7919 % series).collect();
    let request = |numbers: &[usize]| {
        let mut request = Writer::new();
        request.message(1, |entry| {
            entry.message(1, |resource| resource.string_attribute(1, b"service.name", b"shop"));
            entry.message(2, |scope| {
                for number in numbers {
                    scope.message(2, |span| write_span(span, *number));
                }
            });
        });
        Batch::parse(Signal::Traces, request.into_vec().into()).expect("a request was written")
    };
    numbers.chunks(512).map(request).collect()
}

fn write_span(span: &mut Writer, series: usize) {
    span.bytes(1, &[1; 16]);
    span.bytes(2, &[2; 8]);
    span.bytes(5, b"GET /cart");
    span.varint(6, 2);
    span.fixed64(7, 1_700_000_000_000_000_000);
    span.fixed64(8, 1_700_000_000_005_000_000);
    span.string_attribute(9, b"shard", series.to_string().as_bytes());
}
