//! Claims about what is exposed. The texts named "of the Collector" are its real output.

mod bounds;
mod exemplars;
mod merging;
mod native;
mod text;
mod wire;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics,
    Sum, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use shared::wire::export;
use shared::{Batch, Signal};

use super::PrometheusConfig;
use super::collection::{Collection, Observed};
use super::metrics::PrometheusMetrics;
use super::page::MetricsPage;
use super::scrape::{Pieces, Scrape, Step};
use super::value::Reason;

/// 2023-11-14 22:14:20.123 UTC, as in the Collector's examples.
const TIME: u64 = 1_700_000_060_123_000_000;
const START: u64 = 1_700_000_000_000_000_000;
const DELTA: i32 = 1;
const CUMULATIVE: i32 = 2;

/// A collection and the time that it is told.
struct Exposed {
    collection: Arc<Mutex<Collection>>,
    page: MetricsPage,
    now: Instant,
}

impl Exposed {
    fn new(config: &PrometheusConfig) -> Self {
        let collection = Arc::new(Mutex::new(Collection::new(Arc::new(config.clone()))));
        let metrics = PrometheusMetrics::new(&[("exporter", "prometheus")]);
        let page = MetricsPage::new(config, Arc::clone(&collection), metrics);
        Self { collection, page, now: shared::clock::now() }
    }

    fn observe(&self, entries: Vec<ResourceMetrics>) -> Observed {
        let mut observed = Observed::default();
        for entry in export::resources(batch(entries).bytes()) {
            observed.add(&self.collection.lock().unwrap().observe(entry, self.now));
        }
        observed
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    /// The answer to a scraper that takes `accept`.
    fn bytes(&self, accept: &str) -> Vec<u8> {
        let style = self.page.style(accept);
        let mut scrape = Scrape::new(Arc::clone(&self.collection), style, self.now);
        let mut bytes = Vec::new();
        loop {
            match scrape.step() {
                Step::Piece(piece) => bytes.extend(piece),
                Step::Working => {}
                Step::Done => return bytes,
            }
        }
    }

    fn text_for(&self, accept: &str) -> String {
        String::from_utf8(self.bytes(accept)).unwrap()
    }

    fn text(&self) -> String {
        self.text_for("")
    }

    /// The lines of samples.
    fn samples(&self) -> Vec<String> {
        samples(&self.text())
    }

    fn streams(&self) -> usize {
        self.collection.lock().unwrap().size().streams
    }

    fn held_bytes(&self) -> usize {
        self.collection.lock().unwrap().size().bytes
    }

    fn sweep(&self) {
        super::sweep(&self.collection, self.now);
    }
}

fn samples(text: &str) -> Vec<String> {
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

/// Without the labels of the scope, which most tests do not need.
fn short() -> PrometheusConfig {
    PrometheusConfig { without_scope_info: true, ..PrometheusConfig::default() }
}

fn batch(resource_metrics: Vec<ResourceMetrics>) -> Batch {
    let request = ExportMetricsServiceRequest { resource_metrics };
    Batch::parse(Signal::Metrics, request.encode_to_vec().into()).unwrap()
}

fn attribute(key: &str, value: Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn attributes(pairs: &[(&str, &str)]) -> Vec<KeyValue> {
    let text = |value: &str| Value::StringValue(value.to_owned());
    pairs.iter().map(|(key, value)| attribute(key, text(value))).collect()
}

fn entry(resource: &[(&str, &str)], metrics: Vec<Metric>) -> ResourceMetrics {
    ResourceMetrics {
        resource: Some(Resource { attributes: attributes(resource), ..Resource::default() }),
        scope_metrics: vec![ScopeMetrics {
            scope: Some(InstrumentationScope {
                name: "spanmetricsconnector".to_owned(),
                ..InstrumentationScope::default()
            }),
            metrics,
            ..ScopeMetrics::default()
        }],
        ..ResourceMetrics::default()
    }
}

fn metric(name: &str, unit: &str, data: Data) -> Metric {
    let (name, unit) = (name.to_owned(), unit.to_owned());
    Metric { name, unit, data: Some(data), ..Metric::default() }
}

fn point(value: f64, time_ns: u64) -> NumberDataPoint {
    NumberDataPoint {
        start_time_unix_nano: START,
        time_unix_nano: time_ns,
        value: Some(number_data_point::Value::AsDouble(value)),
        ..NumberDataPoint::default()
    }
}

fn sum(temporality: i32, is_monotonic: bool, data_points: Vec<NumberDataPoint>) -> Data {
    Data::Sum(Sum { data_points, aggregation_temporality: temporality, is_monotonic })
}

fn counter(value: f64, time_ns: u64) -> Data {
    sum(CUMULATIVE, true, vec![point(value, time_ns)])
}

fn gauge(value: f64, labels: Vec<KeyValue>) -> Data {
    Data::Gauge(Gauge {
        data_points: vec![NumberDataPoint { attributes: labels, ..point(value, TIME) }],
    })
}

fn histogram(temporality: i32, bounds: &[f64], counts: &[u64], sum: f64) -> HistogramDataPointOf {
    HistogramDataPointOf {
        temporality,
        point: HistogramDataPoint {
            start_time_unix_nano: START,
            time_unix_nano: TIME,
            count: counts.iter().sum(),
            sum: Some(sum),
            explicit_bounds: bounds.to_vec(),
            bucket_counts: counts.to_vec(),
            ..HistogramDataPoint::default()
        },
    }
}

/// A histogram's point with its temporality.
struct HistogramDataPointOf {
    temporality: i32,
    point: HistogramDataPoint,
}

impl From<HistogramDataPointOf> for Data {
    fn from(of: HistogramDataPointOf) -> Data {
        Data::Histogram(Histogram {
            data_points: vec![of.point],
            aggregation_temporality: of.temporality,
        })
    }
}

fn dropped(observed: &Observed, reason: Reason) -> u64 {
    observed.dropped[reason as usize]
}
