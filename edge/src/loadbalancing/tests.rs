//! The exporter against backends that record what they get and fail on demand.

mod allocations;
mod delivery;
mod failover;
mod grpc;
mod joining;
mod panics;
mod shutdown;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, Weak};
use std::time::Duration;

use shared::RejectedKind;
use shared::config::{Decode, Path, Problems};
use shared::consumer::Reached;
use shared::membership::{Endpoints, Resolver, RouteTable};
use shared::queue::Delivered;
use shared::service::{ComponentId, Context, ExporterConfig, Losses};
use shared::wire::{Signal, Span, Writer, export};
use tokio::sync::{Notify, mpsc};

use super::metrics::LaneMetrics;
use super::peer::{Client, Peer};
use super::routing_key::RoutingKey;
use super::way::{LaneHandle, Way};
use super::*;

/// Tells what a test sends it.
struct Told(mpsc::Receiver<Vec<String>>);

#[async_trait]
impl Resolver for Told {
    async fn changed(&mut self) -> Vec<String> {
        match self.0.recv().await {
            Some(endpoints) => endpoints,
            None => std::future::pending().await,
        }
    }
}

/// What a backend does with a request.
#[derive(Debug, Clone, Copy)]
enum Act {
    /// Answers that it cannot now.
    Refuse,
    /// Answers that it cannot for so many milliseconds.
    Throttle(u64),
    /// Answers that it never can.
    Forbid,
    /// Answers that it does not know the sender.
    Unknown,
    /// Takes it without one of its spans.
    TakeInPart,
    /// Cannot be connected to.
    Away,
    /// Waits until the backend is released, then takes it.
    Hang,
    /// Takes it after so many milliseconds.
    Slow(u64),
    /// Refuses for good whatever holds this trace.
    Poisoned(u8),
    /// Makes the client panic.
    Panic,
}

/// Records what it takes, and takes everything when it is told nothing.
#[derive(Default)]
struct Fake {
    /// What to do with the next requests.
    acts: Mutex<VecDeque<Act>>,
    /// What to do with the others.
    forever: Mutex<Option<Act>>,
    attempts: Mutex<Vec<Batch>>,
    taken: Mutex<Vec<Batch>>,
    release: Notify,
}

/// A connection to a fake.
struct Dialled(Arc<Fake>);

#[async_trait]
impl Client for Dialled {
    async fn send(&self, batches: Vec<Batch>) -> Result<Delivered, Rejected> {
        let fake = &self.0;
        let batch = Batch::concat_all(batches).unwrap();
        fake.attempts.lock().unwrap().push(batch.clone());
        let act = fake.acts.lock().unwrap().pop_front().or(*fake.forever.lock().unwrap());
        let no = |rejected: Rejected| Err(rejected.reached(Reached::Answered));
        match act {
            Some(Act::Refuse) => return no(Rejected::retryable(batch, "not now")),
            Some(Act::Throttle(delay)) => {
                let delay = Duration::from_millis(delay);
                return no(Rejected::retryable(batch, "not so fast").retry_after(delay));
            }
            Some(Act::Forbid) => return no(Rejected::permanent(batch, "bad")),
            Some(Act::Unknown) => return no(Rejected::permanent(batch, "who?").code(16)),
            Some(Act::Poisoned(trace)) if traces(&batch).contains(&trace) => {
                return no(Rejected::permanent(batch, "bad"));
            }
            Some(Act::Away) => return Err(Rejected::retryable(batch, "away")),
            Some(Act::Panic) => panic!("as it was told"),
            Some(Act::Hang) => fake.release.notified().await,
            Some(Act::Slow(delay)) => tokio::time::sleep(Duration::from_millis(delay)).await,
            Some(Act::TakeInPart | Act::Poisoned(_)) | None => {}
        }
        fake.taken.lock().unwrap().push(batch);
        let rejected_items = usize::from(matches!(act, Some(Act::TakeInPart)));
        Ok(Delivered { rejected_items, message: String::new() })
    }

    async fn probe(&self, timeout: Duration) -> Result<(), Rejected> {
        let act = *self.0.forever.lock().unwrap();
        let rejected = |reached| Err(Rejected::retryable(batch([]), "no").reached(reached));
        match act {
            Some(Act::Away | Act::Hang) => {
                tokio::time::sleep(timeout).await;
                rejected(Reached::Nobody)
            }
            Some(Act::Refuse) => rejected(Reached::Answered),
            _ => Ok(()),
        }
    }

    fn connections(&self) -> usize {
        1
    }
}

impl Fake {
    fn will(&self, act: Act) {
        self.acts.lock().unwrap().push_back(act);
    }

    fn will_always(&self, act: impl Into<Option<Act>>) {
        *self.forever.lock().unwrap() = act.into();
    }

    fn attempts(&self) -> usize {
        self.attempts.lock().unwrap().len()
    }

    /// Traces of all spans it took.
    fn traces(&self) -> Vec<u8> {
        self.taken.lock().unwrap().iter().flat_map(traces).collect()
    }
}

/// The first bytes of all trace ids, in order.
fn traces(batch: &Batch) -> Vec<u8> {
    export::resources(batch.bytes())
        .flat_map(export::ResourceEntry::scopes)
        .flat_map(export::ScopeEntry::records)
        .map(|span| Span::read(span).trace_id.first().copied().unwrap_or(0))
        .collect()
}

/// One span for each of these traces; 0 stands for no trace id.
fn batch(traces: impl IntoIterator<Item = u8>) -> Batch {
    let mut writer = Writer::new();
    writer.message(1, |entry| {
        entry.message(2, |scope| {
            for trace in traces {
                scope.message(2, |span| {
                    if trace > 0 {
                        span.bytes(1, &[trace; 16]);
                    }
                    span.bytes(5, b"name");
                });
            }
        });
    });
    Batch::parse(Signal::Traces, writer.into_vec().into()).unwrap()
}

pub(super) fn context() -> Context {
    Context {
        id: ComponentId::parse("loadbalancing").unwrap(),
        signal: Signal::Traces,
        output: Signal::Traces,
        losses: Arc::new(Losses::default()),
        instance: "test".into(),
        commons: Arc::default(),
    }
}

struct Rig {
    exporter: Arc<Exporter>,
    tell: mpsc::Sender<Vec<String>>,
    backends: Arc<BTreeMap<String, Arc<Fake>>>,
    ctx: Context,
}

/// Retries every 100 ms.
const RETRY: &str = "retry_on_failure: {initial_interval: 100ms, randomization_factor: 0, \
                     multiplier: 1, max_elapsed_time: 300s}";

fn section(yaml: &str) -> LoadBalancingConfig {
    let node = shared::config::yaml::parse(yaml, 0).unwrap();
    let mut problems = Problems::default();
    let path = Path::ROOT.key("loadbalancing");
    let section = LoadBalancingConfig::decode(&node, &path, &mut problems);
    section.unwrap_or_else(|| panic!("{:?}", problems.errors()))
}

impl Rig {
    /// An exporter of this section that may be told of the backends `a`, `b`, `c`, `d` and `e`.
    fn new(yaml: &str) -> Self {
        let (tell, told) = mpsc::channel(1);
        let backends = ["a", "b", "c", "d", "e"].map(|name| (name.to_owned(), Arc::default()));
        let backends: Arc<BTreeMap<String, Arc<Fake>>> = Arc::new(backends.into());
        let (ctx, known) = (context(), Arc::clone(&backends));
        let config = section(yaml);
        let (settings, rotation) = (config.lane(), config.rotation.clone());
        let timeout = Duration::from_secs(5);
        let endpoints = Arc::new(Endpoints::follow(Box::new(Told(told))));
        let key = RoutingKey::parse(Signal::Traces, "", &[]).unwrap();
        let exporter = config.exporter(&ctx, key, endpoints, |turned, core| {
            Box::new(move |endpoint| {
                let client = Box::new(Dialled(Arc::clone(&known[endpoint])));
                let turned = Arc::clone(&turned);
                let peer = Peer::new(endpoint, client, timeout, rotation.clone(), turned);
                let metrics = LaneMetrics::of(endpoint, Signal::Traces);
                let lane = LaneHandle::start(Arc::new(peer), settings, metrics);
                Ok(Arc::new(Way::new(Arc::new(lane), Weak::clone(&core))))
            })
        });
        Self { exporter: Arc::new(exporter), tell, backends, ctx }
    }

    /// One with these backends.
    async fn with(yaml: &str, endpoints: &str) -> Self {
        let rig = Self::new(yaml);
        rig.tell(endpoints).await;
        rig
    }

    fn table(&self) -> &RouteTable<Way> {
        self.exporter.0.table()
    }

    /// Tells the endpoints and waits until they are in use.
    async fn tell(&self, endpoints: &str) {
        let endpoints: Vec<String> = endpoints.split(' ').map(str::to_owned).collect();
        self.tell.send(endpoints.clone()).await.unwrap();
        while self.table().current().ring().endpoints() != endpoints {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn backend(&self, name: &str) -> &Fake {
        &self.backends[name]
    }

    /// Sends in the background.
    fn send(&self, batch: Batch) -> tokio::task::JoinHandle<Result<(), Rejected>> {
        let exporter = Arc::clone(&self.exporter);
        tokio::spawn(async move { exporter.consume(batch).await })
    }

    /// The traces among these that `name` owns when all are in rotation.
    fn owned(&self, name: &str, traces: impl IntoIterator<Item = u8>) -> Vec<u8> {
        let routes = self.table().current();
        let owner = |trace: u8| routes.ring().owner(&[trace; 16]).unwrap();
        traces
            .into_iter()
            .filter(|trace| routes.ring().endpoints()[owner(*trace)] == name)
            .collect()
    }

    /// Traces of all spans that were taken, by whomever.
    fn taken(&self) -> Vec<u8> {
        let mut taken: Vec<u8> = self.backends.values().flat_map(|fake| fake.traces()).collect();
        taken.sort_unstable();
        taken
    }

    /// What is held for all backends.
    fn held(&self) -> usize {
        self.table().current().members().iter().map(|way| way.lane().held()).sum()
    }

    fn attempts(&self, names: &str) -> Vec<usize> {
        names.split(' ').map(|name| self.backend(name).attempts()).collect()
    }
}

/// Lets everything happen that needs no more time than this.
async fn pass(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

#[tokio::test]
async fn a_section_becomes_an_exporter_that_starts_without_dns() {
    let yaml = "protocol:\n  otlp:\nretry_on_failure: {enabled: false}\nresolver:\n  dns:\n    \
                hostname: backend.test\n    nameservers: ['127.0.0.1:1']\n";
    let exporter = section(yaml).build(&context()).unwrap();
    let rejected = exporter.consume(batch([1])).await.unwrap_err();
    assert_eq!(rejected.kind, RejectedKind::Refused);
    assert_eq!(rejected.reason, "no backend is known");
    exporter.shutdown(shared::clock::now()).await;
}
