//! The exporter against backends that record what they get and fail on demand.

mod grpc;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Mutex;

use metrics_exporter_prometheus::PrometheusBuilder;
use shared::RejectedKind;
use shared::config::Section;
use shared::queue::{QueueConfig, RetryConfig};
use shared::service::{ComponentId, ExporterConfig, Losses};
use shared::wire::{Signal, Span, Writer, export};
use tokio::sync::{Notify, mpsc};

use super::backend::{Direct, Measured, Queued};
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
    Fail,
    Forbid,
    /// Takes it without one of its spans.
    TakeInPart,
    /// Waits until the backend is released, then takes it.
    Hang,
}

/// Records what it takes, and takes everything when it is told nothing.
#[derive(Default)]
struct Fake {
    /// What to do with the next requests; the last is repeated if `forever`.
    acts: Mutex<VecDeque<Act>>,
    forever: Mutex<Option<Act>>,
    attempts: Mutex<Vec<Batch>>,
    taken: Mutex<Vec<Batch>>,
    release: Notify,
}

#[async_trait]
impl Sender for Fake {
    async fn send(&self, batch: Batch) -> Result<Delivered, Rejected> {
        self.attempts.lock().unwrap().push(batch.clone());
        let act = self.acts.lock().unwrap().pop_front().or(*self.forever.lock().unwrap());
        match act {
            Some(Act::Fail) => return Err(Rejected::retryable(batch, "away")),
            Some(Act::Forbid) => return Err(Rejected::permanent(batch, "bad")),
            Some(Act::Hang) => self.release.notified().await,
            Some(Act::TakeInPart) | None => {}
        }
        self.taken.lock().unwrap().push(batch);
        let rejected_items = usize::from(matches!(act, Some(Act::TakeInPart)));
        Ok(Delivered { rejected_items, message: String::new() })
    }
}

impl Fake {
    fn will(&self, act: Act) {
        self.acts.lock().unwrap().push_back(act);
    }

    fn will_always(&self, act: Act) {
        *self.forever.lock().unwrap() = Some(act);
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

fn context() -> Context {
    Context {
        id: ComponentId::parse("loadbalancing").unwrap(),
        signal: Signal::Traces,
        output: Signal::Traces,
        losses: Arc::new(Losses::default()),
        instance: "test".into(),
        commons: Arc::default(),
    }
}

/// Whether backends have a queue of their own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Queues {
    None,
    One(usize),
}

struct Rig {
    exporter: Exporter,
    tell: mpsc::Sender<Vec<String>>,
    backends: Arc<BTreeMap<String, Arc<Fake>>>,
    ctx: Context,
}

/// Retries every 100 ms.
fn retry() -> RetryConfig {
    RetryConfig {
        initial_interval: Duration::from_millis(100),
        randomization_factor: 0.0,
        multiplier: 1.0,
        ..RetryConfig::default()
    }
}

impl Rig {
    /// An exporter that may be told of the backends `a`, `b`, `c` and `d`.
    fn new(queues: Queues, retry: RetryConfig) -> Self {
        let (tell, told) = mpsc::channel(1);
        let backends = ["a", "b", "c", "d"].map(|name| (name.to_owned(), Arc::default()));
        let backends: Arc<BTreeMap<String, Arc<Fake>>> = Arc::new(backends.into());
        let (ctx, known) = (context(), Arc::clone(&backends));
        let child = ctx.clone();
        let connect = |reroute: Reroute| -> Connect {
            Box::new(move |endpoint| {
                let measured = Measured::new(endpoint, Arc::clone(&known[endpoint]) as _);
                let Queues::One(queue_size) = queues else {
                    return Ok(Arc::new(Direct::new(measured, Duration::from_secs(5))));
                };
                let settings = ChainSettings {
                    timeout: Duration::ZERO,
                    retry: RetryConfig::default(),
                    queue: Section::on(QueueConfig { queue_size, ..QueueConfig::default() }),
                    destination: None,
                };
                let queue = |sender| chain(&child, settings, sender);
                Ok(Arc::new(Queued::new(measured, reroute.clone(), queue)))
            })
        };
        let (key, ring) = (RoutingKey::parse(Signal::Traces, "", &[]).unwrap(), RingHash::Xxh3);
        let balancer = LoadBalancer::start(&ctx, key, ring, Box::new(Told(told)), connect);
        let settings = ChainSettings {
            timeout: Duration::ZERO,
            retry,
            queue: Section::none(),
            destination: None,
        };
        Self { exporter: Exporter::new(&ctx, settings, balancer), tell, backends, ctx }
    }

    /// One with these backends.
    async fn with(queues: Queues, endpoints: &str) -> Self {
        let rig = Self::new(queues, retry());
        rig.tell(endpoints).await;
        rig
    }

    /// Tells the endpoints and waits until they are in use.
    async fn tell(&self, endpoints: &str) {
        let endpoints: Vec<String> = endpoints.split(' ').map(str::to_owned).collect();
        self.tell.send(endpoints.clone()).await.unwrap();
        while self.exporter.balancer.table.current().ring().endpoints() != endpoints {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn backend(&self, name: &str) -> &Fake {
        &self.backends[name]
    }

    /// The traces among these that `name` owns.
    fn owned(&self, name: &str, traces: impl IntoIterator<Item = u8>) -> Vec<u8> {
        let routes = self.exporter.balancer.table.current();
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
}

#[tokio::test(start_paused = true)]
async fn every_trace_is_on_one_backend_and_nothing_is_lost() {
    let rig = Rig::with(Queues::None, "a b c").await;
    for _ in 0..3 {
        rig.exporter.consume(batch(1..=100)).await.unwrap();
        rig.exporter.consume(batch((1..=200).rev())).await.unwrap();
    }
    let mut seen = BTreeSet::new();
    for name in ["a", "b", "c"] {
        let traces: BTreeSet<u8> = rig.backend(name).traces().into_iter().collect();
        assert!(traces.len() > 40, "{name} has {}", traces.len());
        assert!(traces.is_disjoint(&seen));
        seen.extend(traces);
    }
    assert_eq!(rig.taken().len(), 900);
}

#[tokio::test(start_paused = true)]
async fn only_the_undelivered_part_is_tried_again() {
    let rig = Rig::with(Queues::None, "a b c").await;
    rig.backend("b").will(Act::Fail);
    rig.backend("b").will(Act::Fail);
    rig.exporter.consume(batch(1..=90)).await.unwrap();
    let attempts = ["a", "b", "c"].map(|name| rig.backend(name).attempts());
    assert_eq!(attempts, [1, 3, 1]);
    assert_eq!(rig.taken(), (1..=90).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_permanent_part_does_not_poison_the_others() {
    let rig = Rig::with(Queues::None, "a b c").await;
    rig.backend("a").will(Act::Forbid);
    rig.backend("b").will(Act::Fail);
    rig.exporter.consume(batch(1..=90)).await.unwrap();
    let attempts = ["a", "b", "c"].map(|name| rig.backend(name).attempts());
    assert_eq!(attempts, [1, 2, 1]);
    let dropped = rig.owned("a", 1..=90).len();
    assert_eq!(rig.taken().len(), 90 - dropped);
    assert_eq!(rig.ctx.losses.total(), dropped as u64);
}

#[tokio::test(start_paused = true)]
async fn a_permanent_part_alone_is_handed_back_and_the_others_are_delivered() {
    let rig = Rig::with(Queues::None, "a b c").await;
    rig.backend("a").will(Act::Forbid);
    let rejected = rig.exporter.consume(batch(1..=90)).await.unwrap_err();
    assert_eq!(rejected.kind, RejectedKind::Permanent);
    assert_eq!(traces(&rejected.batch), rig.owned("a", 1..=90));
    assert_eq!(rig.taken().len(), 90 - rejected.batch.items());
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_backend_did_not_take_goes_to_the_new_owners() {
    let rig = Arc::new(Rig::with(Queues::None, "a b c").await);
    rig.backend("a").will_always(Act::Fail);
    let sending = Arc::clone(&rig);
    let sending = tokio::spawn(async move { sending.exporter.consume(batch(1..=90)).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!sending.is_finished());
    rig.tell("b c").await;
    sending.await.unwrap().unwrap();
    assert_eq!(rig.taken(), (1..=90).collect::<Vec<_>>());
    assert!(rig.backend("a").traces().is_empty());
}

#[tokio::test(start_paused = true)]
async fn parts_are_sent_side_by_side() {
    let rig = Arc::new(Rig::with(Queues::None, "a b c").await);
    rig.backend("a").will(Act::Hang);
    rig.backend("b").will(Act::Hang);
    let sending = Arc::clone(&rig);
    let sending = tokio::spawn(async move { sending.exporter.consume(batch(1..=90)).await });
    tokio::time::sleep(Duration::from_millis(1)).await;
    let attempts = ["a", "b", "c"].map(|name| rig.backend(name).attempts());
    assert_eq!(attempts, [1, 1, 1]);
    assert_eq!(rig.taken(), rig.owned("c", 1..=90));
    assert!(!sending.is_finished());
    rig.backend("a").release.notify_one();
    rig.backend("b").release.notify_one();
    sending.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_hangs_is_given_up_after_its_timeout() {
    let rig = Rig::with(Queues::None, "a").await;
    rig.backend("a").will(Act::Hang);
    let began = tokio::time::Instant::now();
    rig.exporter.consume(batch([1])).await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_millis(5100));
    assert_eq!(rig.backend("a").attempts(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_batch_with_one_owner_is_sent_as_it_came() {
    let rig = Rig::with(Queues::None, "a b c").await;
    let batch = batch([7, 7, 7]);
    rig.exporter.consume(batch.clone()).await.unwrap();
    let all = rig.backends.values().flat_map(|fake| fake.taken.lock().unwrap().clone());
    let all: Vec<Batch> = all.collect();
    assert_eq!(all, std::slice::from_ref(&batch));
    assert_eq!(all[0].bytes().as_ptr(), batch.bytes().as_ptr());
}

#[tokio::test(start_paused = true)]
async fn without_a_backend_batches_are_refused_until_there_is_one() {
    let no_retry = RetryConfig { enabled: false, ..retry() };
    let rig = Rig::new(Queues::None, no_retry);
    let rejected = rig.exporter.consume(batch([1])).await.unwrap_err();
    assert_eq!(rejected.kind, RejectedKind::Refused);
    assert_eq!(rejected.retry_after, Some(NO_BACKEND_DELAY));
    rig.tell("a").await;
    rig.exporter.consume(batch([1])).await.unwrap();
    assert_eq!(rig.taken(), [1]);
}

#[tokio::test(start_paused = true)]
async fn items_that_a_backend_took_the_rest_without_are_lost_also_when_others_fail() {
    let rig = Rig::with(Queues::None, "a b c").await;
    rig.backend("a").will(Act::TakeInPart);
    rig.backend("b").will(Act::Fail);
    rig.exporter.consume(batch(1..=90)).await.unwrap();
    assert_eq!(rig.ctx.losses.total(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_queue_of_a_backend_that_left_is_routed_anew() {
    let rig = Rig::with(Queues::One(1000), "a b c").await;
    rig.backend("a").will_always(Act::Fail);
    for _ in 0..20 {
        rig.exporter.consume(batch(1..=90)).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let lacking = rig.owned("a", 1..=90).len() * 20;
    assert_eq!(rig.taken().len(), 20 * 90 - lacking);
    rig.tell("b c").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let all: Vec<u8> = (1..=90).flat_map(|trace| [trace; 20]).collect();
    assert_eq!(rig.taken(), all);
    assert_eq!(rig.ctx.losses.total(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_has_no_room_after_a_backend_left_is_counted_as_lost() {
    let rig = Rig::with(Queues::One(15), "a b").await;
    rig.backend("a").will_always(Act::Fail);
    rig.backend("b").will_always(Act::Hang);
    for _ in 0..15 {
        rig.exporter.consume(batch(1..=90)).await.unwrap();
    }
    let lost = rig.owned("a", 1..=90).len() * 15;
    rig.tell("b").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.ctx.losses.total(), lost as u64);
}

#[tokio::test(start_paused = true)]
async fn at_a_shutdown_queues_are_drained_to_their_own_backends() {
    let rig = Rig::with(Queues::One(1000), "a b c").await;
    for name in ["a", "b", "c"] {
        rig.backend(name).will(Act::Fail);
    }
    for _ in 0..20 {
        rig.exporter.consume(batch(1..=90)).await.unwrap();
    }
    rig.exporter.shutdown(clock::now() + Duration::from_secs(5)).await;
    assert_eq!(rig.taken().len(), 20 * 90);
    assert_eq!(rig.backend("a").traces().len(), rig.owned("a", 1..=90).len() * 20);
    assert_eq!(rig.ctx.losses.total(), 0);
}

#[tokio::test(start_paused = true)]
async fn attempts_are_measured_by_endpoint_and_spans_without_a_key_are_counted() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _recording = ::metrics::set_default_local_recorder(&recorder);
    let rig = Rig::with(Queues::None, "a").await;
    rig.backend("a").will(Act::Fail);
    rig.exporter.consume(batch([1, 0])).await.unwrap();
    let page = handle.render();
    for line in [
        "otelcol_loadbalancer_backend_outcome{endpoint=\"a:4317\",success=\"false\"} 1",
        "otelcol_loadbalancer_backend_outcome{endpoint=\"a:4317\",success=\"true\"} 1",
        "otelcol_loadbalancer_backend_latency_count{endpoint=\"a:4317\"} 2",
        "otelcol_loadbalancer_keyless_spans{exporter=\"loadbalancing\"} 2",
        "otelcol_exporter_sent_spans{exporter=\"loadbalancing\"} 2",
        "otelcol_exporter_send_failed_spans{exporter=\"loadbalancing\"} 0",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} is not in:\n{page}");
    }
}

#[tokio::test]
async fn a_section_becomes_an_exporter_that_starts_without_dns() {
    let yaml = "protocol:\n  otlp:\nretry_on_failure: {enabled: false}\nresolver:\n  dns:\n    \
                hostname: backend.test\n    nameservers: ['127.0.0.1:1']\n";
    let node = shared::config::yaml::parse(yaml, 0).unwrap();
    let mut problems = shared::config::Problems::default();
    let path = shared::config::Path::ROOT.key("loadbalancing");
    let config =
        <LoadBalancingConfig as shared::config::Decode>::decode(&node, &path, &mut problems);
    let exporter = config.unwrap().build(&context()).unwrap();
    let rejected = exporter.consume(batch([1])).await.unwrap_err();
    assert_eq!(rejected.kind, RejectedKind::Refused);
    assert!(rejected.reason.ends_with("no backend is known"), "{}", rejected.reason);
    exporter.shutdown(clock::now()).await;
}
