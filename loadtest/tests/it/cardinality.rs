//! A service that puts ids into its span names, beside services that do not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use loadtest::testbed::cluster::{client, until};
use loadtest::testbed::page::{Page, Sample, whole};
use loadtest::testbed::process::{GRPC, SPAN_METRICS};
use shared::Batch;
use shared::config::Compression;
use shared::queue::Sender;
use shared::wire::{Signal, Writer};
use tokio::time::Instant;

use crate::common::{keeping_all, start, stop};

/// How many names are offered, and what the bounds are.
struct Flood {
    /// Distinct span names, one span each.
    names: u64,
    /// `aggregation_cardinality_limit`: series of a resource in each metric.
    series: u64,
    /// `max_series_bytes`.
    bytes: u64,
}

/// With the bounds that a backend has by itself.
const WHOLE: Flood = Flood { names: 1_000_000, series: 10_000, bytes: 128 << 20 };
/// A twentieth of it all.
const SMALL: Flood = Flood { names: 50_000, series: 500, bytes: (128 << 20) / 20 };

/// Names that come in one request.
const REQUEST: u64 = 1000;
/// Clients that send at once.
const SENDERS: u64 = 4;
/// Services with a few names, and how many spans of each name come in one request.
const CALM: [(&str, &[(&str, u64)]); 3] = [
    ("cart", &[("GET /cart", 7), ("POST /cart/items", 2)]),
    ("pay", &[("charge", 3)]),
    ("mail", &[("send", 1), ("bounce", 1)]),
];

/// Request number `index`: names that no other request has, and the same of the calm services.
fn request(index: u64) -> Batch {
    let mut writer = Writer::new();
    let first = index * REQUEST;
    let names = (first..first + REQUEST).map(|id| format!("GET /users/{id:07}/orders/{id:x}"));
    write_service(&mut writer, "noisy", first, names);
    for (service, names) in CALM {
        let spans = names.iter().flat_map(|(name, count)| (0..*count).map(|_| (*name).to_owned()));
        write_service(&mut writer, service, first, spans);
    }
    Batch::parse(Signal::Traces, writer.into_vec().into()).unwrap()
}

fn write_service(
    writer: &mut Writer,
    service: &str,
    first: u64,
    names: impl Iterator<Item = String>,
) {
    const START_NS: u64 = 1_700_000_000_000_000_000;
    writer.message(1, |entry| {
        entry.message(1, |resource| {
            resource.string_attribute(1, b"service.name", service.as_bytes());
        });
        entry.message(2, |scope| {
            for (id, name) in (first + 1..).zip(names) {
                scope.message(2, |span| {
                    span.bytes(1, &u128::from(id).to_be_bytes());
                    span.bytes(2, &id.to_be_bytes());
                    span.bytes(5, name.as_bytes());
                    span.varint(6, 2);
                    span.fixed64(7, START_NS);
                    span.fixed64(8, START_NS + 3_000_000);
                });
            }
        });
    });
}

/// Sends all requests, by several clients at once.
async fn offer(client: Arc<dyn Sender>, requests: u64) {
    let next = Arc::new(AtomicU64::new(0));
    let senders = (0..SENDERS).map(|_| {
        let (client, next) = (Arc::clone(&client), Arc::clone(&next));
        tokio::spawn(async move {
            loop {
                let index = next.fetch_add(1, Relaxed);
                if index >= requests {
                    return;
                }
                client.send(request(index)).await.unwrap();
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }
}

/// The calm services' series of a metric: values by service and name.
fn calm(page: &Page, metric: &str) -> BTreeMap<(String, String), u64> {
    let series = page.series(metric).filter(|sample| sample.label("service_name") != "noisy");
    let key = |sample: &Sample| {
        (sample.label("service_name").to_owned(), sample.label("span_name").to_owned())
    };
    series
        .filter(|sample| !is_overflow(sample))
        .map(|sample| (key(sample), whole(sample.value)))
        .collect()
}

fn is_overflow(sample: &Sample) -> bool {
    sample.label("otel_metric_overflow") == "true"
}

/// Names are offered to a backend with everything else as in the sample. With `RUN_SLOW_TESTS=1`
/// it is a million of them against the default bounds, and `--nocapture` shows the figures.
#[tokio::test]
async fn a_million_span_names_overflow_and_the_other_services_stay_exact() {
    let slow = std::env::var_os("RUN_SLOW_TESTS").is_some();
    let flood = if slow { WHOLE } else { SMALL };
    let mut shape = keeping_all(0, 1);
    let connector = "connectors::spanmetrics";
    shape.backend_settings.extend([
        format!("{connector}::aggregation_cardinality_limit={}", flood.series),
        format!("{connector}::max_series_bytes={}", flood.bytes),
        // So that memory is that of metrics: nothing comes to the sampler.
        "receivers::otlp/idle={protocols: {grpc: {endpoint: '127.0.0.1:0'}}}".to_owned(),
        "service::pipelines::traces/sampling::receivers=[otlp/idle]".to_owned(),
    ]);
    let cluster = start(shape).await;
    let backend = &cluster.backends[0];
    let before = backend.usage().unwrap().rss;
    let begun = Instant::now();
    let requests = flood.names / REQUEST;
    offer(client(backend.at(GRPC), Compression::None).unwrap(), requests).await;
    let took = begun.elapsed();

    let noisy = |page: &Page, metric: &'static str| {
        page.sum_where(metric, |sample| sample.label("job") == "noisy")
    };
    let calls = "traces_span_metrics_calls";
    let of_each_request = CALM.iter().flat_map(|(_, names)| *names).map(|(_, count)| count);
    let calm_spans = requests * of_each_request.sum::<u64>();
    until("all spans are in the metrics", async || {
        let page = Page::fetch(backend.at(SPAN_METRICS)).await?;
        let all_calm: u64 = calm(&page, calls).values().sum();
        Ok(noisy(&page, calls) == flood.names && all_calm == calm_spans)
    })
    .await
    .unwrap();
    let page = Page::fetch(backend.at(SPAN_METRICS)).await.unwrap();
    let durations = "traces_span_metrics_duration_milliseconds_count";
    for metric in [calls, durations] {
        // What has no series of its own is counted in the one for the rest.
        let own = page.series(metric).filter(|sample| sample.label("service_name") == "noisy");
        assert_eq!(own.count() as u64, flood.series, "{metric}");
        let overflow = page.sum_where(metric, |s| is_overflow(s) && s.label("job") == "noisy");
        assert_eq!(overflow, flood.names - flood.series, "{metric}");
        assert_eq!(noisy(&page, metric), flood.names, "{metric}");
        // Nobody else pays for it.
        let expected: BTreeMap<_, _> = CALM
            .iter()
            .flat_map(|(service, names)| names.iter().map(move |name| (service, name)))
            .map(|(service, (name, count))| {
                (((*service).to_owned(), (*name).to_owned()), count * requests)
            })
            .collect();
        assert_eq!(calm(&page, metric), expected, "{metric}");
        let others = page.sum_where(metric, |s| is_overflow(s) && s.label("job") != "noisy");
        assert_eq!(others, 0, "{metric}");
    }

    let telemetry = backend.telemetry().await.unwrap();
    let held = telemetry.sum("otelcol_connector_spanmetrics_series_memory");
    assert!(held > 0 && held <= flood.bytes, "{held} bytes of {}", flood.bytes);
    let offender = telemetry
        .sum_where("otelcol_connector_spanmetrics_service_overflowed_observations", |sample| {
            sample.label("service") == "noisy"
        });
    let overflowed = telemetry.sum("otelcol_connector_spanmetrics_overflowed_observations");
    assert_eq!((offender, overflowed > 0), (overflowed, true));
    let usage = backend.usage().unwrap();
    let grown = usage.peak_rss.saturating_sub(before);
    println!(
        "{} names offered in {took:?}: {held} bytes of series, at most {grown} more bytes resident",
        flood.names
    );
    // Beside the series there are the pages that show them, and requests on their way.
    assert!(grown <= flood.bytes + (64 << 20), "{grown} more bytes resident");
    stop(cluster).await;
}
