//! Every routing key in every signal: an edge in front of three backends played by sinks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use loadtest::ledger::Detail;
use loadtest::sink::Sink;
use loadtest::testbed::address;
use loadtest::testbed::cluster::client;
use loadtest::testbed::process::{GRPC, Launch, Process, Tier};
use shared::config::Compression;
use shared::membership::{Ring, RingHash};
use shared::wire::{AnyValue, Attributes, LogRecord, Metric, Span, Writer, resources};
use shared::{Batch, Signal};
use tempfile::TempDir;

use crate::common::binaries;

/// Items of each signal that are sent, and how many go into one request.
const ITEMS: u64 = 600;
const IN_ONE_REQUEST: u64 = 40;

/// Values of each field that keys are made of. Where keys go depends on the sinks' addresses, which
/// differ from run to run: with this many, one of three gets none once in 10¹¹ runs.
const TRACES: usize = 67;
const SERVICES: usize = 71;
const NAMES: usize = 73;
const TENANTS: usize = 79;

/// A span, a log record or a data point; its fields follow from its number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Item {
    number: u64,
    /// First byte of the trace id; 0 where there is none.
    trace: u8,
    service: String,
    /// The name of the span or of the point's metric.
    name: String,
    tenant: String,
}

impl Item {
    fn of(signal: Signal, number: u64) -> Self {
        // Each key comes twice, in different requests.
        let nth = usize::try_from(number % (ITEMS / 2)).unwrap();
        let trace = if signal == Signal::Metrics { 0 } else { nth % TRACES + 1 };
        Self {
            number,
            trace: u8::try_from(trace).unwrap(),
            service: format!("service-{}", nth / 4 % SERVICES),
            // Two points each, for different tenants.
            name: format!("name-{}", nth / 2 % NAMES),
            tenant: format!("tenant-{}", nth % TENANTS),
        }
    }

    fn put(&self, signal: Signal, record: &mut Writer) {
        match signal {
            Signal::Traces => {
                record.bytes(1, &[self.trace; 16]);
                record.bytes(5, self.name.as_bytes());
                record.fixed64(7, self.number);
                record.string_attribute(9, b"tenant", self.tenant.as_bytes());
            }
            Signal::Logs => {
                record.fixed64(1, self.number);
                record.message(5, |body| body.bytes(1, self.name.as_bytes()));
                record.string_attribute(6, b"tenant", self.tenant.as_bytes());
                record.bytes(9, &[self.trace; 16]);
            }
            Signal::Metrics => {
                record.fixed64(3, self.number);
                record.string_attribute(7, b"tenant", self.tenant.as_bytes());
            }
        }
    }
}

/// The items of these numbers, those of a service in one resource entry.
fn request(signal: Signal, numbers: std::ops::Range<u64>) -> Batch {
    let items: Vec<Item> = numbers.map(|number| Item::of(signal, number)).collect();
    let mut writer = Writer::new();
    for of_service in items.chunk_by(|a, b| a.service == b.service) {
        writer.message(1, |entry| {
            let service = of_service[0].service.as_bytes();
            entry.message(1, |resource| resource.string_attribute(1, b"service.name", service));
            entry.message(2, |scope| match signal {
                Signal::Traces | Signal::Logs => {
                    for item in of_service {
                        scope.message(2, |record| item.put(signal, record));
                    }
                }
                Signal::Metrics => {
                    for points in of_service.chunk_by(|a, b| a.name == b.name) {
                        scope.message(2, |metric| put_metric(points, metric));
                    }
                }
            });
        });
    }
    Batch::parse(signal, writer.into_vec().into()).unwrap()
}

/// One metric with these points.
fn put_metric(points: &[Item], metric: &mut Writer) {
    metric.bytes(1, points[0].name.as_bytes());
    metric.message(7, |sum| {
        sum.varint(2, 2);
        for item in points {
            sum.message(1, |point| item.put(Signal::Metrics, point));
        }
    });
}

/// The items of a request.
fn items(batch: &Batch) -> Vec<Item> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let string = |value: Option<AnyValue<'_>>| text(value.unwrap().as_string().unwrap());
    let mut items = Vec::new();
    for entry in resources(batch.bytes()) {
        let service = string(entry.resource().attribute(b"service.name"));
        for record in entry.scopes().flat_map(shared::wire::ScopeEntry::records) {
            let item = |number, trace, name: &[u8], attributes: Attributes<'_>| Item {
                number,
                trace,
                service: service.clone(),
                name: text(name),
                tenant: string(attributes.get(b"tenant")),
            };
            match batch.signal() {
                Signal::Traces => {
                    let span = Span::read(record);
                    items.push(item(span.start_ns, span.trace_id[0], span.name, span.attributes()));
                }
                Signal::Logs => {
                    let log = LogRecord::read(record);
                    let name = log.body().as_string().unwrap();
                    items.push(item(log.time_ns, log.trace_id[0], name, log.attributes()));
                }
                Signal::Metrics => {
                    let metric = Metric::read(record);
                    for point in metric.points().map(shared::wire::metric::NumberDataPoint::read) {
                        items.push(item(point.time_ns, 0, metric.name, point.attributes()));
                    }
                }
            }
        }
    }
    items
}

/// An edge that routes some signals, each by an exporter of its own, to three sinks.
struct Bench {
    edge: Process,
    sinks: [Sink; 3],
    signals: Vec<Signal>,
    _logs: TempDir,
}

impl Bench {
    /// `settings` are of each exporter, beside its resolver.
    async fn start(signals: &[Signal], settings: &str) -> Self {
        let sink = async || {
            let address = SocketAddr::from((address::unique(), 0));
            Sink::start(address, Detail::Requests).await.unwrap()
        };
        let sinks = [sink().await, sink().await, sink().await];
        let logs = tempfile::tempdir().unwrap();
        let launch = Launch::sample(Tier::Edge, 0, address::unique());
        let launch =
            Self::settings(&sinks, signals, settings).into_iter().fold(launch, Launch::set);
        let edge = launch.start(&binaries().await, logs.path()).await.unwrap();
        Self { edge, sinks, signals: signals.to_vec(), _logs: logs }
    }

    /// What is laid over the sample configuration.
    fn settings(sinks: &[Sink; 3], signals: &[Signal], settings: &str) -> Vec<String> {
        let endpoints = sinks.each_ref().map(|sink| format!("'{}'", sink.address())).join(", ");
        let mut all = vec!["exporters=".to_owned(), "service::pipelines=".to_owned()];
        for signal in signals {
            all.push(format!(
                "exporters::loadbalancing/{signal}={{protocol: {{otlp: {{tls: {{insecure: true}}}}}}, \
                 resolver: {{static: {{hostnames: [{endpoints}]}}}}, {settings}}}"
            ));
            all.push(format!(
                "service::pipelines::{signal}={{receivers: [otlp], \
                 exporters: [loadbalancing/{signal}]}}"
            ));
        }
        all
    }

    /// Sends all items of all signals; every request must be acknowledged.
    async fn send(&self) {
        let client = client(self.edge.at(GRPC), Compression::None).unwrap();
        for start in (0..ITEMS).step_by(usize::try_from(IN_ONE_REQUEST).unwrap()) {
            for signal in &self.signals {
                let batch = request(*signal, start..start + IN_ONE_REQUEST);
                assert_eq!(batch.items() as u64, IN_ONE_REQUEST);
                client.send(batch).await.unwrap();
            }
        }
    }

    /// The sink of each key. Every item must have arrived once, whole, and those of a key in all
    /// signals at one sink.
    fn owners(&self, key: impl Fn(&Item) -> String) -> BTreeMap<String, usize> {
        let mut owners = BTreeMap::new();
        for signal in &self.signals {
            let mut arrived = Vec::new();
            for (number, sink) in self.sinks.iter().enumerate() {
                let batches = sink.ledger().batches();
                for item in batches.iter().filter(|batch| batch.signal() == *signal).flat_map(items)
                {
                    let owner = *owners.entry(key(&item)).or_insert(number);
                    assert_eq!(owner, number, "{signal}: {item:?}");
                    arrived.push(item);
                }
            }
            arrived.sort();
            let sent: Vec<_> = (0..ITEMS).map(|number| Item::of(*signal, number)).collect();
            assert_eq!(arrived, sent, "{signal}");
        }
        owners
    }

    async fn stop(self) {
        self.edge.terminate().unwrap();
        let status = self.edge.wait(std::time::Duration::from_secs(60)).await.unwrap();
        assert!(status.success(), "{status}");
    }
}

/// How many keys there are.
fn distinct(key: impl Fn(&Item) -> String) -> usize {
    let keys = (0..ITEMS).map(|number| key(&Item::of(Signal::Metrics, number)));
    keys.collect::<BTreeSet<_>>().len()
}

/// Sends everything by a routing key and expects so many keys, spread over all sinks.
async fn check(signals: &[Signal], settings: &str, keys: usize, key: impl Fn(&Item) -> String) {
    let bench = Bench::start(signals, settings).await;
    bench.send().await;
    let owners = bench.owners(key);
    assert_eq!(owners.len(), keys);
    assert_eq!(owners.values().collect::<BTreeSet<_>>().len(), 3, "{owners:?}");
    bench.stop().await;
}

#[tokio::test]
async fn spans_and_logs_of_a_trace_meet_at_the_backend_that_edge_route_names() {
    let signals = [Signal::Traces, Signal::Logs];
    let bench = Bench::start(&signals, "routing_key: traceID").await;
    bench.send().await;
    let owners = bench.owners(|item| format!("{:02x}", item.trace).repeat(16));
    assert_eq!(owners.len(), TRACES);
    let endpoints = bench.sinks.each_ref().map(|sink| sink.address().to_string());
    let ring = Ring::new(RingHash::Xxh3, endpoints.clone());
    for (trace, owner) in &owners {
        let byte = u8::from_str_radix(trace.get(..2).unwrap(), 16).unwrap();
        let expected = &ring.endpoints()[ring.owner(&[byte; 16]).unwrap()];
        assert_eq!(&endpoints[*owner], expected, "{trace}");
    }

    let (trace, owner) = owners.first_key_value().unwrap();
    let mut command = tokio::process::Command::new(&binaries().await.edge);
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/config/edge.yaml");
    command.args(["route", "--format", "json", "--trace-id", trace, "--config", sample]);
    for setting in Bench::settings(&bench.sinks, &signals, "routing_key: traceID") {
        command.args(["--set", &setting]);
    }
    let routes = command.output().await.unwrap().stdout;
    let routes: Vec<serde_json::Value> = serde_json::from_slice(&routes).unwrap();
    assert_eq!(routes.len(), 2);
    assert!(routes.iter().all(|route| route["backend"] == endpoints[*owner]), "{routes:?}");
    bench.stop().await;
}

#[tokio::test]
async fn a_service_has_one_backend_for_spans_logs_and_metrics() {
    check(&Signal::ALL, "routing_key: service", SERVICES, |item| item.service.clone()).await;
}

#[tokio::test]
async fn attributes_have_one_backend_for_spans_logs_and_metrics() {
    let settings = "routing_key: attributes, routing_attributes: [tenant]";
    check(&Signal::ALL, settings, TENANTS, |item| item.tenant.clone()).await;
}

#[tokio::test]
async fn attributes_of_resource_and_record_make_one_key() {
    let settings = "routing_key: attributes, routing_attributes: [tenant, service.name]";
    let key = |item: &Item| format!("{} {}", item.tenant, item.service);
    check(&Signal::ALL, settings, distinct(key), key).await;
}

#[tokio::test]
async fn a_resource_has_one_backend_for_logs_and_metrics() {
    let signals = [Signal::Logs, Signal::Metrics];
    check(&signals, "routing_key: resource", SERVICES, |item| item.service.clone()).await;
}

#[tokio::test]
async fn the_metrics_of_a_name_have_one_backend() {
    check(&[Signal::Metrics], "routing_key: metric", NAMES, |item| item.name.clone()).await;
}

#[tokio::test]
async fn a_time_series_has_one_backend() {
    let key = |item: &Item| format!("{} {} {}", item.service, item.name, item.tenant);
    check(&[Signal::Metrics], "routing_key: streamID", distinct(key), key).await;
}

#[tokio::test]
async fn the_collectors_ring_takes_every_key_too() {
    let ring = "ring: otelcol_v0_156";
    check(&[Signal::Traces], ring, TRACES, |item| item.trace.to_string()).await;
    let settings = format!("{ring}, routing_key: attributes, routing_attributes: [tenant]");
    check(&[Signal::Logs, Signal::Metrics], &settings, TENANTS, |item| item.tenant.clone()).await;
}

#[tokio::test]
async fn a_key_that_a_signal_lacks_stops_the_edge_from_starting() {
    let sink = async || {
        let address = SocketAddr::from((address::unique(), 0));
        Sink::start(address, Detail::Counts).await.unwrap()
    };
    let sinks = [sink().await, sink().await, sink().await];
    let logs = tempfile::tempdir().unwrap();
    let launch = Launch::sample(Tier::Edge, 0, address::unique());
    let launch = Bench::settings(&sinks, &[Signal::Traces], "routing_key: streamID")
        .into_iter()
        .fold(launch, Launch::set);
    let error = launch.start(&binaries().await, logs.path()).await.err().unwrap().to_string();
    assert!(
        error.contains("unsupported routing_key: streamID (traces support traceID, "),
        "{error}"
    );
}
