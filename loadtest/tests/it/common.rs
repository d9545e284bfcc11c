//! What the tests share.

use std::sync::Arc;
use std::time::Duration;

use loadtest::audit::{BackendFlow, EdgeFlow, Traces};
use loadtest::generate::Generator;
use loadtest::oracle::Policies;
use loadtest::plan::Plan;
use loadtest::send::{Counts, Load, Outcome};
use loadtest::testbed::binaries::Binaries;
use loadtest::testbed::cluster::{Cluster, Shape, until};
use loadtest::testbed::process::Tier;
use loadtest::truth::Truth;
use shared::queue::{Delivered, Sender};
use shared::{Batch, Rejected, RejectedKind};
use tokio_util::sync::CancellationToken;

/// Keeps every trace.
pub(crate) const KEEP_ALL: &str =
    "processors::tail_sampling::policies=[{name: all, type: always_sample}]";

/// The binaries, built by the first test that asks.
pub(crate) async fn binaries() -> Binaries {
    static FOUND: tokio::sync::OnceCell<Binaries> = tokio::sync::OnceCell::const_new();
    FOUND.get_or_init(async || Binaries::ensure(|| ()).await.unwrap()).await.clone()
}

/// A running cluster of this shape.
pub(crate) async fn start(shape: Shape) -> Cluster {
    Cluster::start(shape, binaries().await).await.unwrap()
}

/// A shape whose backends keep every trace.
pub(crate) fn keeping_all(edges: usize, backends: usize) -> Shape {
    Shape { backend_settings: vec![KEEP_ALL.to_owned()], ..Shape::unique(edges, backends) }
}

/// What is needed to send to these targets.
pub(crate) fn load(targets: Vec<Arc<dyn Sender>>) -> Load {
    Load { targets, concurrency: 8, rate: None, patience: Duration::from_secs(60) }
}

/// Sends a whole plan; every span must be acknowledged.
pub(crate) async fn send(load: Load, plan: Plan, policies: Policies) -> Truth {
    let (outcome, counts) = try_send(load, plan, policies).await;
    assert_eq!(counts.last_failure(), None);
    assert_eq!(counts.sent(), outcome.source.truth().spans);
    outcome.source.into_truth()
}

/// Sends a whole plan.
pub(crate) async fn try_send(
    load: Load,
    plan: Plan,
    policies: Policies,
) -> (Outcome<Generator>, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    let generator = Generator::new(plan, Arc::new(policies));
    let outcome = load.run(generator, Arc::clone(&counts), CancellationToken::new()).await;
    (outcome, counts)
}

/// Waits until the backends hold nothing and the destination has what they kept.
///
/// Tail sampling's own counters follow 50 ms behind, so they must have caught up with what the
/// receivers accepted before they tell anything.
pub(crate) async fn settle(cluster: &Cluster) -> (EdgeFlow, BackendFlow) {
    until("everything is judged and exported", async || {
        let (_, backend) = flows(cluster).await;
        Ok(backend.received >= backend.accepted
            && backend.held == 0
            && backend.exported + backend.failed >= backend.forwarded)
    })
    .await
    .unwrap();
    flows(cluster).await
}

/// What both tiers have done so far.
pub(crate) async fn flows(cluster: &Cluster) -> (EdgeFlow, BackendFlow) {
    (
        EdgeFlow::of(&cluster.telemetry(Tier::Edge).await.unwrap()),
        BackendFlow::of(&cluster.telemetry(Tier::Backend).await.unwrap()),
    )
}

/// How what arrived compares with what `policies` keep.
pub(crate) fn compare(cluster: &Cluster, truth: &Truth, policies: &Policies) -> Traces {
    Traces::compare(truth, policies, &cluster.sink.ledger().traces())
}

/// Stops the cluster; every process must end with exit code 0.
pub(crate) async fn stop(cluster: Cluster) {
    for (name, status) in cluster.stop().await.unwrap() {
        assert!(status.success(), "{name}: {status}");
    }
}

/// A client that turns to the next of its targets when one does not take a batch, as a client
/// behind a load balancer does.
pub(crate) struct Failover {
    targets: Vec<Arc<dyn Sender>>,
    current: std::sync::atomic::AtomicUsize,
}

impl Failover {
    /// A client of all of these.
    pub(crate) fn over(targets: Vec<Arc<dyn Sender>>) -> Arc<dyn Sender> {
        Arc::new(Self { targets, current: 0.into() })
    }
}

#[async_trait::async_trait]
impl Sender for Failover {
    async fn send(&self, batch: Batch) -> Result<Delivered, Rejected> {
        use std::sync::atomic::Ordering::Relaxed;
        let current = self.current.load(Relaxed);
        let outcome = self.targets[current].send(batch).await;
        if outcome.as_ref().is_err_and(|rejected| rejected.kind != RejectedKind::Permanent) {
            self.current.store((current + 1) % self.targets.len(), Relaxed);
        }
        outcome
    }
}
