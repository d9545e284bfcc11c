//! Destinations that misbehave: first the backends of an edge, then the backends' own.

use std::collections::HashSet;
use std::net::SocketAddr;

use loadtest::audit::EdgeFlow;
use loadtest::ledger::{Detail, Mood};
use loadtest::oracle::{Policies, Policy};
use loadtest::plan::Plan;
use loadtest::sink::Sink;
use loadtest::testbed::address;
use loadtest::testbed::cluster::{client, until};
use loadtest::testbed::dns::DnsServer;
use loadtest::testbed::link::{Link, LinkState};
use loadtest::testbed::process::{GRPC, Launch, Process, Tier};
use loadtest::truth::Truth;
use shared::config::Compression;
use tempfile::TempDir;

use crate::common::{binaries, compare, flows, keeping_all, load, send, settle, start, stop};

/// An edge in front of two backends played by sinks, the second one behind a link.
struct Bench {
    edge: Process,
    sinks: [Sink; 2],
    link: Link,
    _dns: DnsServer,
    _logs: TempDir,
}

impl Bench {
    /// An attempt ends after `timeout`.
    async fn start(timeout: &str) -> Self {
        let sink = async |port| {
            let address = SocketAddr::from((address::unique(), port));
            Sink::start(address, Detail::Traces).await.unwrap()
        };
        let sinks = [sink(GRPC).await, sink(0).await];
        let link = Link::start((address::unique(), GRPC), sinks[1].address()).await.unwrap();
        let addresses = vec![sinks[0].address().ip(), link.address().ip()];
        let dns = DnsServer::start(address::unique(), "backend.test", addresses).await.unwrap();
        let logs = tempfile::tempdir().unwrap();
        let edge = Launch::sample(Tier::Edge, 0, address::unique())
            .env("TAILRACE_BACKEND", dns.name())
            .env("TAILRACE_NAMESERVERS", format!("[\"{}\"]", dns.address()))
            .set(format!("exporters::loadbalancing::protocol::otlp::timeout={timeout}"))
            .start(&binaries().await, logs.path())
            .await
            .unwrap();
        until("the edge sees both backends", async || {
            let page = edge.telemetry().await?;
            Ok(page.sum("otelcol_loadbalancer_num_backends") == 2)
        })
        .await
        .unwrap();
        Self { edge, sinks, link, _dns: dns, _logs: logs }
    }

    /// Sends a plan; `meanwhile` runs beside it.
    async fn send(&self, seed: u64, meanwhile: impl Future<Output = ()>) -> Truth {
        let target = client(self.edge.at(GRPC), Compression::None).unwrap();
        let sending = send(load(vec![target]), Plan::new(seed, 300), Policies::default());
        tokio::join!(sending, meanwhile).0
    }

    /// Waits until the edge failed to deliver to a backend, then lets `recover` mend it.
    async fn after_a_failure(&self, recover: impl FnOnce()) {
        until("the edge notices", async || {
            let page = self.edge.telemetry().await?;
            let outcome = "otelcol_loadbalancer_backend_outcome";
            Ok(page.sum_where(outcome, |sample| sample.label("success") == "false") > 0)
        })
        .await
        .unwrap();
        recover();
    }

    /// Every span must have arrived; each trace at one backend.
    async fn check_at_home(self, truth: &Truth) {
        self.check_flow(truth).await;
        let [first, second] = self.sinks.each_ref().map(|sink| sink.ledger().traces());
        for trace in &truth.traces {
            let found = match (first.get(&trace.id), second.get(&trace.id)) {
                (Some(found), None) | (None, Some(found)) => found,
                (None, None) => panic!("a trace is lost"),
                (Some(_), Some(_)) => panic!("a trace is at both backends"),
            };
            assert_eq!(found.spans.len(), trace.spans as usize);
            assert_eq!(found.fingerprint, trace.fingerprint);
        }
        self.stop().await;
    }

    /// Every span must have arrived, at either backend: one that gives no answer is passed over,
    /// so that spans of a trace that come meanwhile go to the other, and what it took without
    /// answering in time is sent again.
    async fn check_somewhere(self, truth: &Truth) {
        self.check_flow(truth).await;
        let ledgers = self.sinks.each_ref().map(|sink| sink.ledger().traces());
        for trace in &truth.traces {
            let found = ledgers.iter().filter_map(|ledger| ledger.get(&trace.id));
            let spans: HashSet<_> = found.flat_map(|received| &received.spans).collect();
            assert_eq!(spans.len(), trace.spans as usize);
        }
        self.stop().await;
    }

    async fn check_flow(&self, truth: &Truth) {
        let page = self.edge.telemetry().await.unwrap();
        let edge = EdgeFlow::of(&page);
        assert!(edge.accepted >= truth.spans, "{edge:?}");
        assert_eq!(edge.failed, 0, "{edge:?}");
    }

    async fn stop(self) {
        self.edge.terminate().unwrap();
        let status = self.edge.wait(std::time::Duration::from_secs(60)).await.unwrap();
        assert!(status.success(), "{status}");
    }
}

#[tokio::test]
async fn a_backend_that_refuses_gets_its_spans_later() {
    // No pause of a busy machine is to end attempts at the other, which would be passed over then.
    let bench = Bench::start("30s").await;
    bench.sinks[0].ledger().set(Mood::Refuse);
    let mended = bench.after_a_failure(|| bench.sinks[0].ledger().set(Mood::Accept));
    let truth = bench.send(31, mended).await;
    assert!(bench.sinks[0].ledger().rejected() > 0);
    bench.check_at_home(&truth).await;
}

#[tokio::test]
async fn a_backend_that_stalls_does_not_hold_up_the_others_for_ever() {
    let bench = Bench::start("500ms").await;
    bench.sinks[0].ledger().set(Mood::Stall);
    let mended = bench.after_a_failure(|| bench.sinks[0].ledger().set(Mood::Accept));
    let truth = bench.send(32, mended).await;
    bench.check_somewhere(&truth).await;
}

#[tokio::test]
async fn a_connection_that_is_reset_is_made_again() {
    let bench = Bench::start("500ms").await;
    bench.link.set(LinkState::Resetting);
    let mended = bench.after_a_failure(|| bench.link.set(LinkState::Up));
    let truth = bench.send(33, mended).await;
    bench.check_somewhere(&truth).await;
}

#[tokio::test]
async fn a_destination_that_refuses_gets_every_kept_trace_later() {
    let mut shape = keeping_all(1, 1);
    shape
        .backend_settings
        .push("exporters::otlp::retry_on_failure::initial_interval=100ms".to_owned());
    let cluster = start(shape).await;
    cluster.sink.ledger().set(Mood::Refuse);
    let keep_all = Policies::new(vec![Policy::AlwaysSample]);
    let plan = Plan::new(34, 300);
    let truth = send(load(cluster.clients().unwrap()), plan, keep_all.clone()).await;
    let ledger = cluster.sink.ledger();
    until("the destination refuses", async || Ok(ledger.rejected() > 0)).await.unwrap();
    // Counters follow within 50 ms, and kept spans may be on their way before that.
    until("every span is accounted for", async || {
        let (_, backend) = flows(&cluster).await;
        assert_eq!(backend.exported, 0);
        Ok(backend.received == truth.spans && backend.is_conserved())
    })
    .await
    .unwrap();
    ledger.set(Mood::Accept);
    let (_, backend) = settle(&cluster).await;
    assert_eq!((backend.exported, backend.failed), (truth.spans, 0));
    let traces = compare(&cluster, &truth, &keep_all);
    assert!(traces.is_exact(), "{traces:?}");
    stop(cluster).await;
}

#[tokio::test]
async fn what_a_destination_rejects_for_good_is_counted_and_not_sent_again() {
    let cluster = start(keeping_all(1, 1)).await;
    cluster.sink.ledger().set(Mood::Reject);
    let plan = Plan::new(35, 50);
    let truth = send(load(cluster.clients().unwrap()), plan, Policies::default()).await;
    let (_, backend) = settle(&cluster).await;
    assert_eq!((backend.exported, backend.failed), (0, truth.spans));
    assert!(backend.is_conserved(), "{backend:?}");
    stop(cluster).await;
}
