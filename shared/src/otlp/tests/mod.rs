//! Receiver and exporters against each other, over real sockets.

mod auth;
mod grpc;
mod hostile;
mod http;
mod http_exporter;
mod intake;
mod proxy;
mod tls;
mod unix;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::OtlpReceiverConfig;
use crate::batch::Batch;
use crate::clock;
use crate::config::testing::section;
use crate::consumer::{Consumer, Next, Rejected};
use crate::service::{ComponentId, Context, Receiver, ReceiverConfig};
use crate::wire::{Signal, Writer};

type Outcome = fn(Batch) -> Result<(), Rejected>;

/// An address where nobody listens but who is told to: of these tests alone, so that no listener
/// that takes any port gets it meanwhile.
fn nobody_listens() -> SocketAddr {
    std::net::TcpListener::bind("127.2.0.4:0").unwrap().local_addr().unwrap()
}

/// Permits of a gate that is open.
const OPEN: usize = 1_000_000;

/// Keeps what it is given, and answers as it is told.
struct Recording {
    batches: Mutex<Vec<Batch>>,
    outcome: Mutex<Outcome>,
    /// One permit for each batch that may pass.
    gate: Semaphore,
    /// One permit for each batch that has arrived.
    arrived: Semaphore,
}

impl Recording {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            batches: Mutex::default(),
            outcome: Mutex::new(|_| Ok(())),
            gate: Semaphore::new(OPEN),
            arrived: Semaphore::new(0),
        })
    }

    fn answer(&self, outcome: Outcome) {
        *self.outcome.lock().unwrap() = outcome;
    }

    fn close_gate(&self) {
        self.gate.forget_permits(OPEN);
    }

    fn taken(&self) -> Vec<Batch> {
        std::mem::take(&mut self.batches.lock().unwrap())
    }
}

#[async_trait]
impl Consumer for Recording {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        self.arrived.add_permits(1);
        self.gate.acquire().await.unwrap().forget();
        self.batches.lock().unwrap().push(batch.clone());
        let outcome = *self.outcome.lock().unwrap();
        outcome(batch)
    }
}

fn context() -> Context {
    Context {
        id: ComponentId::parse("otlp/test").unwrap(),
        signal: Signal::Traces,
        output: Signal::Traces,
        losses: Arc::default(),
        instance: "test".into(),
        commons: Arc::default(),
    }
}

/// A receiver that serves.
struct Served {
    receiver: Box<dyn Receiver>,
    recording: Arc<Recording>,
}

impl Served {
    fn address(&self) -> SocketAddr {
        self.receiver.addresses()[0]
    }

    fn endpoint(&self) -> String {
        self.address().to_string()
    }
}

/// Starts a receiver of traces and metrics with these protocols.
async fn serve(protocols: Value) -> Served {
    let json = json!({ "protocols": protocols });
    let (config, problems, _) = section::<OtlpReceiverConfig>(&json, ReceiverConfig::validate);
    assert!(problems.is_empty(), "{problems:?}");
    let recording = Recording::new();
    let next: Next = Arc::<Recording>::clone(&recording);
    let outputs = BTreeMap::from([(Signal::Traces, Next::clone(&next)), (Signal::Metrics, next)]);
    let receiver = config.start(&context(), outputs).await.unwrap();
    Served { receiver, recording }
}

/// A request with spans of these names.
fn traces(names: &[&str]) -> Batch {
    let mut writer = Writer::new();
    writer.message(1, |entry| {
        entry.message(2, |scope| {
            for name in names {
                scope.message(2, |span| {
                    span.bytes(1, &[7; 16]);
                    span.bytes(5, name.as_bytes());
                });
            }
        });
    });
    Batch::parse(Signal::Traces, writer.into_vec().into()).unwrap()
}

/// Bytes that call themselves a request of traces.
fn bytes(bytes: impl Into<Bytes>) -> Batch {
    Batch::empty(Signal::Traces).part(bytes.into(), 1)
}

#[test]
fn one_protocol_at_least_must_be_on() {
    let problems = |json: Value| section::<OtlpReceiverConfig>(&json, ReceiverConfig::validate).1;
    let none = ["a: must specify at least one protocol when using the OTLP receiver"];
    assert_eq!(problems(json!(null)), none);
    assert_eq!(problems(json!({ "protocols": null })), none);
    assert_eq!(problems(json!({ "protocols": { "grpc": null } })), Vec::<String>::new());
    assert_eq!(problems(json!({ "protocols": { "http": {} } })), Vec::<String>::new());
    let five = problems(json!({ "protocols": {
        "grpc": { "endpoint": "localhost", "max_recv_msg_size_mib": 5000, "tls": {} },
        "http": { "endpoint": "localhost:x" },
    } }));
    assert_eq!(five.len(), 5, "{five:?}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let served = serve(json!({ "grpc": { "endpoint": "127.0.0.1:0" } })).await;
    let json = json!({ "protocols": { "grpc": { "endpoint": served.endpoint() } } });
    let (config, _, _) = section::<OtlpReceiverConfig>(&json, ReceiverConfig::validate);
    let error = config.start(&context(), BTreeMap::new()).await.err().unwrap().to_string();
    assert!(error.starts_with(&format!("cannot listen on {}: ", served.endpoint())), "{error}");
}

/// How long a test waits for what must happen.
const SOON: Duration = Duration::from_secs(20);
